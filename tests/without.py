"""Run a script as if some packages were not installed: python tests/without.py torch,torchaudio SCRIPT [ARGUMENTS]"""

import runpy
import sys

blocked = set(sys.argv[1].split(","))


class Hiding:
    """An import finder that does not find the blocked packages."""

    def __init__(self, finder: object) -> None:
        self.finder = finder

    def find_spec(self, name: str, path: object = None, target: object = None):
        return None if name.split(".")[0] in blocked else self.finder.find_spec(name, path, target)

    def __getattr__(self, name: str):
        return getattr(self.finder, name)


sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
