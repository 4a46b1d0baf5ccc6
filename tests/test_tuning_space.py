"""The options that tune searches, for every recipe."""

from pathlib import Path

import pytest

from classification.recipes import RECIPES, TrainOptions
from classification.tuning.options import TuneOptions
from classification.tuning.space import as_params, as_values, distributions, recipe_of, search_space, training
from shared.runs.options import assemble, flat, types
from shared.search import Between, OneOf, declared


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name != "blend"])  # which tune refuses
def test_all_declared_values_are_possible_from_every_recipe(recipe: str) -> None:
    backbone = {"backbone_path": Path("model.onnx"), "backbone_sr": 16000} if recipe == "transfer" else {}
    options = assemble(TuneOptions, {"recipe": recipe} | RECIPES[recipe] | backbone)
    space, start = search_space(options), flat(options)
    assert {"learning_rate", "dropout", "mixup"} <= space.keys()
    assert as_values(as_params(start, space), space) == {name: start[name] for name in space}
    for name, values in space.items():
        for value in values.examples:
            training(options, **{name: value}).check()
            assert as_values(as_params(start | {name: value}, space), space)[name] == value
        assert distributions(space)[name].to_internal_repr(as_params(start, space)[name]) is not None
    if start["pooling"] == "flatten":
        assert "crop" not in space  # a crop would be refused


def test_every_declaration_is_found_and_holds_its_default() -> None:
    default = flat(TrainOptions())
    for name, values in declared(types(TrainOptions)).items():
        if isinstance(values, Between):
            assert values.low < values.high and values.low <= default[name] <= values.high
        else:
            assert isinstance(values, OneOf) and default[name] in values.examples and len(values.examples) > 1


def test_a_recipe_of_a_file_is_written_out_in_full() -> None:
    options = assemble(TuneOptions, RECIPES["strong"] | {"recipe": "mine.toml", "fraction": 0.5, "seed": 3})
    start, values = recipe_of(training(options))
    assert start == "plain" and values == RECIPES["strong"]
