"""A room (a module or package) imports only rooms listed before it; no import cycles; __init__.py files are empty."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from conftest import ROOT

ROOMS = [  # the order in the README; a room is a module or a package
    *("shared.errors", "shared.files", "shared.tables", "shared.audio", "shared.search"),
    *("shared.data", "shared.features", "shared.recordings", "shared.evaluation", "shared.runs", "shared.report"),
    "shared.listening",
    "shared.commands",
    *("classification.models", "classification.rundir", "classification.recipes"),
    *("classification.inference", "classification.export", "classification.training"),
    "classification.tuning",
    *("classification.train", "classification.tune", "classification.predict", "classification.convert"),
    *(
        "generation.recipes",
        "generation.flow_recipes",
        "generation.registry",
        "generation.rundir",
        "generation.model_card",
        "generation.scaling",
    ),
    "generation.stft",
    "generation.vocoder_options",
    *("generation.models", "generation.objectives", "generation.vocoders"),
    *(
        "generation.sampling",
        "generation.listening",
        "generation.diversity",
        "generation.training",
        "generation.vocoder_training",
        "generation.evaluation",
    ),
    *("generation.sample_options", "generation.editing", "generation.making"),
    *(
        "generation.train_flow",
        "generation.train_cgan",
        "generation.train_vae",
        "generation.train_wgan_gp",
        "generation.train_vocoder",
    ),
    *("generation.sample", "generation.evaluate", "generation.cas", "generation.augmentation", "generation.card"),
    "generation.app",
]
PACKAGES = ("shared", "classification", "generation")


def modules() -> dict[str, Path]:
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in files}


def imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The project's modules that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                yield from (module for module in (inner, node.module) if module in known)


def room_of(module: str) -> str:
    return next(room for room in ROOMS if module == room or module.startswith(f"{room}."))


ARROWS = {module: sorted(set(imported(path, modules()))) for module, path in modules().items()}


@pytest.mark.parametrize("module", [name for name in modules() if not name.endswith("__init__")])
def test_a_room_imports_only_rooms_before_it(module: str) -> None:
    own = ROOMS.index(room_of(module))
    upward = [other for other in ARROWS[module] if ROOMS.index(room_of(other)) > own]
    assert not upward, f"{module} imports {', '.join(upward)}, which come after it"


def test_there_is_no_import_cycle() -> None:
    list(TopologicalSorter(ARROWS).static_order())  # raises CycleError, which names the cycle


def test_init_files_are_empty() -> None:
    assert not [name for name, path in modules().items() if name.endswith("__init__") and path.read_text().strip()]


def test_an_upward_import_is_found(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("def f():\n    from shared.report import page\n    import shared.errors\n")
    found = set(imported(tmp_path / "module.py", modules()))
    assert found == {"shared.report.page", "shared.errors"}
    assert ROOMS.index(room_of("shared.report.page")) > ROOMS.index(room_of("shared.runs.run"))
