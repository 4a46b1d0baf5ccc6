"""Run an entry script in a launch; after a training, each process writes a hash of what it trained.

    accelerate launch --multi_gpu --num_processes 2 tests/launched.py FOLDER classification/train.py --framework torch

FOLDER/<rank>.txt gets a line for each training: the hash of all networks' and optimisers' tensors.
"""

import functools
import hashlib
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch.utils._pytree import tree_leaves

from shared.runs import loop, ranks


def hashing(fit: Callable[..., None], file: Path) -> Callable[..., None]:
    @functools.wraps(fit)
    def hashed(objective: Any, *arguments: Any, **how: Any) -> None:
        fit(objective, *arguments, **how)
        digest = hashlib.sha256()
        for leaf in tree_leaves(objective.state_dict()):
            digest.update(leaf.cpu().numpy().tobytes() if hasattr(leaf, "cpu") else repr(leaf).encode())
        with file.open("a") as lines:
            lines.write(f"{digest.hexdigest()}\n")

    return hashed


if __name__ == "__main__":
    _, folder, *sys.argv = sys.argv
    loop.fit = hashing(loop.fit, Path(folder) / f"{ranks.rank()}.txt")
    runpy.run_path(sys.argv[0], run_name="__main__")
