"""The trainings of one command: each fold and seed, a grouped split beside a random one, the final refit."""

import dataclasses
import itertools
from typing import Literal

from classification.recipes import TrainOptions


@dataclasses.dataclass(frozen=True)
class Part:
    """One training of a command.

    Attributes:
        name: its folder below --out-dir; "" for the only part, which uses --out-dir itself.
        role: "evaluated" gives the run its figures; "grouped" repeats a random split's training on a grouped split;
            "refit" trains the kept model on all clips.
        options: the options of this part alone.
        fold: the fold held out for testing; None without a cross-validation.
        split_seed: the seed that makes the folds, the same for all parts.
    """

    name: str
    role: Literal["evaluated", "grouped", "refit"]
    options: TrainOptions
    fold: int | None
    split_seed: int


def plan(options: TrainOptions) -> list[Part]:
    """The parts of a command, in the order of training.

    A run that holds nothing out is a single part: there is nothing to evaluate, and a refit would repeat it.
    """
    single = dataclasses.replace(options, seeds=1, refit=False, export=())
    roles = {"evaluated": options.split} | ({"grouped": "grouped"} if options.split == "random" else {})
    seeds = range(options.seed, options.seed + options.seeds)
    folds = range(options.folds) if options.folds > 1 else [None]
    parts = []
    for (role, how), seed, fold in itertools.product(roles.items(), seeds, folds):
        names = [role] if role == "grouped" else []
        names += [f"seed-{seed}"] if options.seeds > 1 else []
        names += [f"fold-{fold}"] if options.folds > 1 else []
        chosen = dataclasses.replace(single, seed=seed, split=how)
        parts.append(Part("-".join(names) or role, role, chosen, fold, options.seed))
    held_out = options.folds > 1 or options.split == "official" or options.test_share > 0 or options.val_share > 0
    if options.refit and held_out:
        val_share = options.val_share if options.optimiser.schedule == "plateau" else 0.0
        everything = dataclasses.replace(single, folds=1, split="grouped", test_share=0.0, val_share=val_share)
        parts.append(Part("refit", "refit", everything, None, options.seed))
    return [dataclasses.replace(parts[0], name="")] if len(parts) == 1 else parts
