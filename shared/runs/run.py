"""Run: the folder of a training, written so that the same command resumes it.

It holds config.json (options, versions, git revision, data fingerprint), history.jsonl (one line per epoch), events/
(for TensorBoard), checkpoints/ and metrics.json, which is written last and marks the run as finished. This module
imports no framework.
"""

import contextlib
import json
import math
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterable, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
from filelock import FileLock, Timeout

from shared.errors import DivergedError, UserError
from shared.files import IN_CHECKOUT, PROJECT_ROOT, read_json, text_hash, write_json, write_text
from shared.runs import ranks
from shared.runs.events import Events
from shared.runs.options import NOT_IDENTITY

_VERSIONED = ("numpy", "scipy", "librosa", "soundfile", "soxr", "scikit-learn", "tensorflow", "keras", "torch")
_VERSIONED += ("torchaudio", "accelerate")


def plain(value: Any) -> Any:
    """Options in JSON's types: paths become text, tuples become lists."""
    return json.loads(json.dumps(value, default=os.fspath))


def fingerprint(manifest: pd.DataFrame, hashes: Iterable[bytes]) -> str:
    """One hash of all clips' bytes, labels and file names. It does not depend on the folder's path."""
    rows = zip(hashes, manifest.label, map(os.path.basename, manifest.path), strict=True)
    return text_hash("\n".join(sorted(f"{content.decode()} {label} {name}" for content, label, name in rows)))


def describe(options: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """The content of config.json."""
    versions = {name: next((d.version for d in distributions(name=name)), None) for name in _VERSIONED}
    return {
        "command": _own_command(),
        "options": plain(options),
        "data": plain(data),
        "versions": {"python": platform.python_version()} | versions,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "git": _git_revision(),
    }


def _own_command() -> str:
    """The command line of this process, with the script's path relative to the checkout."""
    launch = f"accelerate launch --multi_gpu --num_processes {ranks.count()}" if ranks.count() > 1 else ""
    if sys.argv[0].startswith("frequency-quest"):  # shared/commands.py sets it to "frequency-quest VERB"
        program = sys.argv[0].replace("frequency-quest", f"{launch} -m shared.commands") if launch else sys.argv[0]
        return f"{program} {shlex.join(sys.argv[1:])}"
    script = Path(sys.argv[0]).resolve()
    inside = script.is_relative_to(PROJECT_ROOT)
    arguments = [str(script.relative_to(PROJECT_ROOT)) if inside else script.name, *sys.argv[1:]]
    return f"{launch or 'python'} {shlex.join(arguments)}"


def _git_revision() -> str | None:
    command = ["git", "-C", str(PROJECT_ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    if IN_CHECKOUT:  # an installed package may lie inside another project's repository
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    return None


def peak_memory_mib() -> float:
    """The peak memory of this process so far, in MiB."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 2**20
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def read_history(folder: Path) -> list[dict[str, float]]:
    """The lines of a run's history.jsonl, without damaged ones, which are counted on stderr."""
    history, damaged = [], 0
    path = folder / "history.jsonl"
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            record = json.loads(line)
            record["epoch"] + 0
            history.append(record)
        except (ValueError, TypeError, KeyError):
            damaged += 1
    if damaged:
        print(f"{path}: {damaged} damaged line(s) are left out", file=sys.stderr)
    return history


class Run:
    """An open run folder, locked so that only one process writes to it.

    Args:
        out_dir: the folder; created if missing, resumed if its run has the same configuration.
        config: the result of ``describe``.
        overwrite: delete the run in the folder and start again.
        extendable: options that may grow when the run is resumed, such as a generator's epochs.

    Raises:
        UserError: the folder holds a run with other options, or files but no run, or another process writes to it.
    """

    def __init__(
        self, out_dir: Path, config: dict[str, Any], *, overwrite: bool = False, extendable: Collection[str] = ()
    ) -> None:
        self.dir, self.config = Path(out_dir), config
        self.checkpoints, config_file = self.dir / "checkpoints", self.dir / "config.json"
        identity = {key: value for key, value in config["options"].items() if key not in NOT_IDENTITY - {"recipe"}}
        self.events = Events(self.dir / "events", identity)
        if self.dir.is_file():
            raise UserError(f"--out-dir {self.dir}: is a file; choose a folder")
        if self.dir.is_dir() and not config_file.is_file() and any(p.name != ".lock" for p in self.dir.iterdir()):
            raise UserError(f"--out-dir {self.dir}: holds files but no run (no config.json); choose an empty folder")
        self.dir.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.dir / ".lock", timeout=0)
        try:
            self._lock.acquire()
        except Timeout:
            raise UserError(f"--out-dir {self.dir}: another process is writing here; wait until it ends") from None
        if overwrite and config_file.is_file():
            self._clear()
        if config_file.is_file():
            self._check_same(extendable)
        else:
            write_json(config_file, config)
        self._history = read_history(self.dir)

    @property
    def finished(self) -> bool:
        return (self.dir / "metrics.json").is_file()

    def _clear(self) -> None:
        for path in self.dir.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != ".lock":
                path.unlink()

    def _check_same(self, extendable: Collection[str]) -> None:
        old = read_json(self.dir / "config.json", options=dict, data=dict)
        before, now = old["options"], self.config["options"]
        changed = {key for key in (before.keys() | now.keys()) - NOT_IDENTITY if before.get(key) != now.get(key)}
        grown = {key for key in changed.intersection(extendable) if now[key] > before[key]}
        problems = [
            f"its run has --{key.replace('_', '-')} {before.get(key)}, not {now.get(key)}"
            for key in sorted(changed - grown)
        ]
        if old["data"].get("fingerprint") != self.config["data"]["fingerprint"]:
            problems.append(f"its run has other data ({old['data'].get('root')}, {old['data'].get('clips')} clips)")
        if old["data"].get("backbone") != self.config["data"].get("backbone"):
            problems.append("its run has another model as --backbone-path")
        if old["data"].get("test_fingerprint") not in (None, self.config["data"].get("test_fingerprint")):
            problems.append("the test set has changed; predict it with predict --sample-submission CSV")
        if problems:
            remedy = "choose another folder, or start again with --overwrite"
            raise UserError(f"--out-dir {self.dir}: {problems[0]}; {remedy}")
        if grown:
            (self.dir / "metrics.json").unlink(missing_ok=True)
            write_json(self.dir / "config.json", self.config)

    def history(self) -> list[dict[str, float]]:
        """One dict per epoch, {"epoch": 0, "group/name": value, ...}, including the epochs before a resume."""
        return self._history

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Record an epoch (counted from 0). Records of it or later epochs, left by an interrupted run, are deleted.

        Raises:
            DivergedError: a metric is not finite.
        """
        record = {"epoch": epoch} | {key: float(value) for key, value in metrics.items()}
        for key, value in record.items():
            if not math.isfinite(value):
                raise DivergedError(
                    f"{key} is {value} after epoch {epoch + 1}: training diverged; lower --learning-rate"
                )
        self._history = [*(line for line in self._history if line["epoch"] < epoch), record]
        write_text(self.dir / "history.jsonl", "".join(json.dumps(line) + "\n" for line in self._history))
        self.events.scalars(epoch, {key: value for key, value in record.items() if key != "epoch"})

    def write_rejects(self, rejects: Mapping[Path | str, str]) -> None:
        """Write rejects.csv (path, reason) and print the first skipped files."""
        if not rejects:
            return
        table = pd.DataFrame(rejects.items(), columns=["path", "reason"])
        write_text(self.dir / "rejects.csv", table.to_csv(index=False))
        print(f"skipped {len(rejects)} file(s) that cannot be used (full list: {self.dir / 'rejects.csv'}):")
        for path, reason in list(rejects.items())[:5]:
            print(f"  {path}: {reason}")

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """Write the figures that are new to TensorBoard's events, and metrics.json, which marks the run as finished."""
        last = self._history[-1] if self._history else {"epoch": 0}
        new = {key: metrics[key] for key in metrics.keys() - last.keys() if "/" in key}
        new = {key: value for key, value in sorted(new.items()) if isinstance(value, int | float)}
        self.events.scalars(last["epoch"], new)
        self.events.ended()
        write_json(self.dir / "metrics.json", plain(metrics))
        self.close()

    def close(self) -> None:
        self.events.close()
        self._lock.release()


class UnwrittenRun(Run):
    """The run folder in all processes of a launch but the first, which writes it: they only read its checkpoint."""

    def __init__(self, out_dir: Path, config: dict[str, Any]) -> None:
        self.dir, self.config, self._history = Path(out_dir), config, []
        self.checkpoints = self.dir / "checkpoints"

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Leave it to the first process, like everything that follows."""

    def write_rejects(self, rejects: Mapping[Path, str]) -> None: ...

    def finish(self, metrics: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...
