"""--recipe FILE.toml: every training entry reads it; what it cannot use is refused in one line."""

from pathlib import Path

import pytest

from classification.recipes import RECIPES, TrainOptions
from generation.evaluation.training_options import AugmentationOptions, CasOptions
from generation.registry import KINDS
from generation.vocoder_options import VocoderTrainingOptions
from shared.errors import UserError
from shared.runs.options import CommonOptions, assemble, flat, parse
from shared.runs.recipe_files import read_recipe, write_recipe
from shared.runs.run import Run, describe

TRAIN = "classification/train.py"
SCRIPTS = [TRAIN, *(f"generation/{name}.py" for name in ("train_flow", "train_cgan", "train_wgan_gp", "train_vae"))]
SCRIPTS += ["generation/train_vocoder.py", "generation/cas.py", "generation/augmentation.py"]
OPTIONS = {TrainOptions: None, VocoderTrainingOptions: None}  # -> the options that --model changes
OPTIONS |= {kind.options: kind.variants if kind.choice == "model" else None for kind in KINDS.values()}


def parsed(monkeypatch: pytest.MonkeyPatch, *arguments: object, options: type = TrainOptions, **how) -> CommonOptions:
    monkeypatch.setattr("sys.argv", ["train", *map(str, arguments)])
    return parse(options, how.pop("recipes", RECIPES), **how)


@pytest.fixture
def recipe(tmp_path: Path):
    """Write a recipe file."""

    def write(text: str, name: str = "mine.toml") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_a_file_changes_the_recipe_it_starts_from_and_flags_override_it(recipe, monkeypatch) -> None:
    lines = ("learning-rate = 1", "weight_decay = 0.1", "widths = [8, 16]", 'crop = "None"', "time-shift = false")
    path = recipe("\n".join(('recipe = "strong"', *lines)))
    options = flat(parsed(monkeypatch, "--recipe", path, "--weight-decay", 0.2))
    expected = RECIPES["strong"] | {"learning_rate": 1.0, "weight_decay": 0.2, "widths": (8, 16), "crop": None}
    expected |= {"time_shift": False, "recipe": "mine.toml"}
    assert {name: options[name] for name in expected} == expected
    assert type(options["learning_rate"]) is float


def test_a_file_without_a_recipe_starts_from_plain(recipe, monkeypatch) -> None:
    options = parsed(monkeypatch, "--recipe", recipe("epochs = 3"))
    assert flat(options) == flat(assemble(TrainOptions, {"recipe": "mine.toml", "epochs": 3}))


def test_a_model_in_a_file_brings_its_own_defaults(recipe, monkeypatch) -> None:
    kind = KINDS["vae"]
    how = {"options": kind.options, "recipes": {"plain": {}}, "models": kind.variants}
    path = recipe('model = "cvae"\nlatent = 7')
    assert (options := parsed(monkeypatch, "--recipe", path, **how)).latent == 7 and options.features == "amplitude"
    assert parsed(monkeypatch, "--recipe", path, "--model", "conv1d", **how).features == "waveform"


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options.__name__)
def test_the_options_of_every_entry_are_read_from_a_file(options, recipe, monkeypatch) -> None:
    path = recipe("epochs = 3\nbatch-size = 5")
    how = {"options": options, "recipes": {"plain": {}}, "models": OPTIONS[options]}
    read = parsed(monkeypatch, "--recipe", path, **how)
    assert (read.epochs, read.batch_size, read.recipe) == (3, 5, "mine.toml")


@pytest.mark.parametrize("options", [CasOptions, AugmentationOptions])
def test_trainings_on_generated_sounds_read_a_file(options, recipe, monkeypatch, tmp_path) -> None:
    read = parsed(monkeypatch, "--recipe", recipe("mixup = 0.7"), "--samples", tmp_path, options=options)
    assert read.augment.mixup == 0.7


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_entry_refuses_a_missing_file(script: str, refused, tmp_path: Path) -> None:
    line = refused(script, "--recipe", tmp_path / "none.toml")
    assert line.startswith(
        f"error: --recipe {tmp_path / 'none.toml'}: no such file; give a recipe file or one of plain"
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("learning-rat = 3", "learning-rat: unknown option; did you mean learning_rate?"),
        ("xyzzy = 3", "xyzzy: unknown option; the command's --help lists its options"),
        ("[optimiser]\nlearning-rate = 1.0", "optimiser: unknown option"),
        ("mixup = 0.1\nmix-up = 0.2", "mix-up: unknown option; did you mean mixup?"),
        ("val-share = 0.1\nval_share = 0.2", "val_share: stands there twice, with - and with _; keep one"),
        ('recipe = "best"', 'recipe = "best": unknown recipe; choose one of plain, flatten, digits, strong'),
        ('recipe = ["plain"]', 'recipe = ["plain"]: unknown recipe'),
        ('learning-rate = "0.1"', 'learning-rate = "0.1": wrong value; see its flag in --help'),
        ("learning-rate = nan", "learning-rate = NaN: wrong value"),
        ("epochs = 2.5", "epochs = 2.5: wrong value"),
        ("epochs = true", "epochs = true: wrong value"),
        ("time-shift = 1", "time-shift = 1: wrong value"),
        ("widths = 4", "widths = 4: wrong value"),
        ('widths = ["4"]', 'widths = ["4"]: wrong value'),
        ("crop = [1.0]", "crop = [1.0]: wrong value"),
        ("data-dir = 3", "data-dir = 3: wrong value"),
        ('framework = "jax"', 'framework = "jax": wrong value'),
        ('device = "--help"', 'device = "--help": wrong value'),
        ("epochs 3", "is not TOML (Expected '=' after a key"),
        ("epochs = 3\nepochs = 4", "is not TOML (Cannot overwrite a value"),
    ],
)
def test_an_unusable_file_is_refused_in_one_line(text: str, says: str, recipe, refused) -> None:
    path = recipe(text)
    assert refused(TRAIN, "--recipe", path).startswith(f"error: --recipe {path}: {says}")


def test_impossible_values_bytes_and_folders_are_refused(recipe, refused, tmp_path: Path) -> None:
    path = recipe("epochs = 0")
    assert refused(TRAIN, "--recipe", path) == (
        f"error: --epochs 0: must be 1 or more (some options come from --recipe {path})"
    )
    path.write_bytes(b"\xff\xfe\x00")
    assert "mine.toml: is not TOML ('utf-8' codec" in refused(TRAIN, "--recipe", path)
    (tmp_path / "folder.toml").mkdir()
    assert "folder.toml: cannot be read (Is a directory)" in refused(TRAIN, "--recipe", tmp_path / "folder.toml")


def test_a_run_resumes_when_its_file_is_moved_but_not_when_it_changes(recipe, monkeypatch, tmp_path: Path) -> None:
    def start(path: Path) -> Run:
        run = Run(tmp_path / "run", describe(flat(parsed(monkeypatch, "--recipe", path)), {"fingerprint": "0"}))
        run.close()
        return run

    run = start(recipe("learning-rate = 0.5"))
    assert run.config["options"]["learning_rate"] == 0.5 and run.config["options"]["recipe"] == "mine.toml"
    start(recipe("learning_rate = 0.5", "renamed.toml"))
    with pytest.raises(UserError, match=r"its run has --learning-rate 0\.5, not 0\.25"):
        start(recipe("learning-rate = 0.25"))


def test_a_written_file_is_read_back(tmp_path: Path) -> None:
    values = {"learning_rate": 1e-5, "widths": (4, 8), "crop": None, "time_shift": True, "features": 'a "b" ü'}
    known = {"learning_rate": float, "widths": tuple[int, ...], "crop": float | None, "time_shift": bool}
    write_recipe(tmp_path / "a.toml", "strong", values, comment="two\nlines")
    assert read_recipe(tmp_path / "a.toml", known | {"features": str}, RECIPES) == ("strong", values)
