"""What ``generate`` does: load the generator, make sounds of each class, write them with a figure."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from classification.inference.classifier import Classifier
from classification.rundir import read_run
from generation.editing import Edit, weights
from generation.listening import write_reference
from generation.rundir import DESCRIPTION, write_origin
from generation.sample_options import SampleOptions
from generation.sampling import Sampler
from shared.audio import write_wav
from shared.errors import UserError
from shared.files import read_json, safe_name
from shared.report.plots import plot_features

SHOWN = 20  # sounds of a class in its figure, at most: more would be too small to see, and slow to draw
BATCH = 16  # sounds that pass through the vocoder together


def make(options: SampleOptions) -> None:
    """Make the sounds that the options describe, beside real clips that passed through the same vocoder.

    Raises:
        UserError: no generator, an unknown class, or an option that this generator does not have.
    """
    options = dataclasses.replace(options, model_dir=options.model_dir or newest_flow())
    how = {"vocoder": options.vocoder, **options.vocoder_details}
    sampler = Sampler.load(options.model_dir, device=options.device, **how)
    run = options.best_of_classifier
    labels = write_sounds(sampler, run and load_classifier(run, options.device), options)
    write_reference(
        sampler, options.model_dir, options.out_dir, [label for label in labels if label in sampler.classes]
    )
    made = f"{options.count} sound{'s'[: options.count > 1]}"
    of = labels[0] if len(labels) == 1 else f"each class ({', '.join(labels)})"
    print(f"{made} of {of} -> {options.out_dir}")


def write_sounds(sampler: Sampler, classifier: Classifier | None, options: SampleOptions) -> Sequence[str]:
    """Write the sounds and figures of each class to --out-dir, with samples.json, and return the classes.

    Args:
        sampler: the generator of --model-dir, with the vocoder of the options.
        classifier: of --best-of-classifier; None without it.

    Raises:
        UserError: as ``make``; nothing has been written then.
    """
    labels = options.label or tuple(sampler.classes)
    mixtures = {label: weights(label, sampler.classes) for label in labels}
    sampler.ordinals([label for label in labels if mixtures[label] is None])  # refuses an unknown class first
    tune(sampler, options, [label for label in labels if mixtures[label] is not None])
    edit = options.variation_of and Edit.of(sampler, options.variation_of, strength=options.strength, gap=options.gap)
    unknown = [label for label in labels if classifier and label not in classifier.classes]
    if unknown:
        run = options.best_of_classifier
        raise UserError(f"--best-of-classifier {run}: does not know the class {unknown[0]}; give another classifier")
    chosen = {"best_of": options.best_of, "best_of_classifier": str(options.best_of_classifier)} if classifier else {}
    chosen |= {"vocoder": sampler.vocoder.name, "options": vars(options)}
    write_origin(options.out_dir, options.model_dir, sampler.classes, **chosen)
    with tqdm(total=options.count * len(labels), desc="generating", unit="sound", disable=None) as bar:
        for label in labels:
            bar.set_postfix_str(label)
            S = features(sampler, label, mixtures[label], edit, options)
            kept = []
            for start in range(0, len(S), options.best_of * BATCH):
                part = S[start : start + options.best_of * BATCH]
                y = torch.cat([sampler.vocoder(some) for some in part.split(BATCH)]).cpu().numpy()
                best = range(len(y)) if classifier is None else most_probable(classifier, y, label, sampler, options)
                kept += [part[i] for i in best]
                y = edit.insert(y[best], sampler.vocoder.spec.sr) if edit else y[best]
                for i, sound in enumerate(y, start // options.best_of):
                    write_wav(options.out_dir / f"{safe_name(label)}_{i:02d}.wav", sound, sampler.vocoder.spec.sr)
                bar.update(len(y))
            plot_features(
                options.out_dir / f"{safe_name(label)}.png",
                {f"{label} {i}": row.cpu().numpy() for i, row in enumerate(kept[:SHOWN])},
                sampler.vocoder.spec,
                title=f"generated {label}, seed {options.seed}",
            )
    return labels


def newest_flow() -> Path:
    """The newest run of train_flow.py below runs/.

    Raises:
        UserError: there is none.
    """
    found = [path for path in Path("runs").glob("**/" + DESCRIPTION) if read_json(path).get("model") == "flow"]
    if not found:
        raise UserError("--model-dir: no flow generator below runs/; run generation/train_flow.py, or name a run")
    run = max(found, key=lambda path: path.stat().st_mtime).parent
    print(f"--model-dir {run}")
    return run


def tune(sampler: Sampler, options: SampleOptions, mixed: list[str]) -> None:
    """Set --guidance and --steps of a flow generator; refuse them, and mixtures of classes, for another one.

    None restores the training's values, as the generator may have made other sounds before.
    """
    given = {name: getattr(options, name) for name in ("guidance", "steps") if getattr(options, name) is not None}
    flow = hasattr(sampler.generator, "guidance")
    wrong = [f"--{name} {value}" for name, value in given.items()] + [f"--label {label}" for label in mixed]
    if wrong and not flow:
        raise UserError(f"{wrong[0]}: only a flow generator takes it; leave it out, or train one with train_flow.py")
    for name in ("guidance", "steps") if flow else ():
        setattr(sampler.generator, name, given.get(name, sampler.generator.arguments[name]))


def features(sampler: Sampler, label: str, mixture: Tensor | None, edit: Edit | None, options: SampleOptions) -> Tensor:
    """The features (count * best_of, M, T) of new sounds of a class or of a mixture of classes."""
    count = options.count * options.best_of
    y = None if mixture is None else mixture.expand(count, -1)
    names = [label if mixture is None else sampler.classes[0]] * count
    return sampler.arrays(names, seed=options.seed, y=y, given=edit and edit.arguments(sampler))


def load_classifier(run: Path, device: str) -> Classifier:
    """The classifier of --best-of-classifier.

    Raises:
        UserError: it cannot be loaded, or runs in another framework.
    """
    if read_run(run, flag="--best-of-classifier")[0]["options"]["framework"] != "torch":  # one framework per process
        raise UserError(f"--best-of-classifier {run}: was trained with Keras; give a run of --framework torch")
    return Classifier.load(run, device=device)


def most_probable(
    classifier: Classifier, y: np.ndarray, label: str, sampler: Sampler, options: SampleOptions
) -> np.ndarray:
    """Of every --best-of sounds of y (B, N), the index of the one that the classifier finds most probable."""
    predictions = classifier.predict_batch(y, sampler.vocoder.spec.sr)
    p = np.array([prediction.probabilities[list(classifier.classes).index(label)] for prediction in predictions])
    each = p.reshape(-1, options.best_of)
    return each.argmax(axis=1) + np.arange(len(each)) * options.best_of
