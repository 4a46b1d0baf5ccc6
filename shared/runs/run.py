"""Run: one folder a training run, in one shape, written so that the same command goes on where it stopped.

config.json (options, versions, git revision, data fingerprint), history.jsonl (a line an epoch), events/ (TensorBoard),
checkpoints/, metrics.json (written last: the run is finished). No framework is imported here.
"""

import importlib.metadata
import json
import math
import os
import platform
import resource
import shlex
import shutil
import subprocess
import sys
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from shared.errors import UserError
from shared.files import IN_CHECKOUT, PROJECT_ROOT, read_json, text_hash, write_json, write_text

CONSOLE_COMMAND = "frequency-quest"
# What may differ between the command that began a run and the one that goes on with it: where and how, not what.
NOT_IDENTITY = {"data_dir", "out_dir", "cache_dir", "n_jobs", "device", "max_skip", "dry_run", "overwrite"}
_VERSIONED = ("numpy", "scipy", "librosa", "soundfile", "soxr", "scikit-learn", "tensorflow", "keras", "torch")
_VERSIONED += ("torchaudio", "accelerate")


def plain(value: Any) -> Any:
    """Options as JSON takes them: paths become text, tuples lists."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def fingerprint(manifest: pd.DataFrame, hashes: Iterable[str]) -> str:
    """One hash over every clip's bytes, label and group; where the folder lies does not matter."""
    rows = zip(hashes, manifest.label, manifest.path.map(lambda p: p.name), strict=True)
    return text_hash("\n".join(sorted(" ".join(row) for row in rows)))


def describe(options: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """The whole of config.json."""
    return {
        "command": _own_command(),
        "options": plain(options),
        "data": plain(data),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in _VERSIONED},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "git": _git_revision(),
    }


def _own_command() -> str:
    """The command line that began this process, with the script's path below the checkout."""
    if sys.argv[0].startswith(CONSOLE_COMMAND):  # "frequency-quest VERB", as shared/commands.py leaves it
        return f"{sys.argv[0]} {shlex.join(sys.argv[1:])}"
    script = Path(sys.argv[0]).resolve()
    inside = script.is_relative_to(PROJECT_ROOT)
    return shlex.join(["python", str(script.relative_to(PROJECT_ROOT)) if inside else script.name, *sys.argv[1:]])


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    if not IN_CHECKOUT:  # an installed package is of no repository, wherever its environment lies
        return None
    command = ["git", "-C", str(PROJECT_ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def peak_memory_mib() -> float:
    """The most memory this process has held so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


class Run:
    """An open run folder, locked against a second writer.

    Args:
        out_dir: the folder; made if missing, resumed if it holds the same configuration.
        config: what ``describe`` returned.
        overwrite: throw away the run that stands there and begin anew.
        extendable: options that may grow on a resumed run (a GAN's epochs).

    Raises:
        UserError: the folder holds another configuration, something that is no run, or is in use.
    """

    def __init__(
        self,
        out_dir: Path,
        config: dict[str, Any],
        *,
        overwrite: bool = False,
        extendable: frozenset[str] = frozenset(),
    ) -> None:
        self.dir, self.config = Path(out_dir), config
        self._writer = None
        self._history: list[dict[str, float]] | None = None
        if self.dir.is_file():
            raise UserError(f"--out-dir {self.dir}: is a file, not a folder")
        self._refuse_foreign_folder()
        self.dir.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.dir / ".lock", timeout=0)
        try:
            self._lock.acquire()
        except Timeout:
            raise UserError(f"--out-dir {self.dir}: another process is writing to this run; wait for it") from None
        if overwrite and self.exists:
            self._clear()
        if self.exists:
            self._check_same(extendable)
        else:
            write_json(self.dir / "config.json", config)

    @property
    def exists(self) -> bool:
        return (self.dir / "config.json").is_file()

    @property
    def finished(self) -> bool:
        return (self.dir / "metrics.json").is_file()

    @property
    def checkpoints(self) -> Path:
        return self.dir / "checkpoints"

    def _refuse_foreign_folder(self) -> None:
        if self.dir.is_dir() and not self.exists and any(p.name != ".lock" for p in self.dir.iterdir()):
            raise UserError(f"--out-dir {self.dir}: holds files but no run (no config.json); choose an empty folder")

    def _clear(self) -> None:
        for path in self.dir.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != ".lock":
                path.unlink()

    def _check_same(self, extendable: frozenset[str]) -> None:
        old = read_json(self.dir / "config.json")
        before, now = old["options"], self.config["options"]
        grown = False
        for key in sorted((before.keys() | now.keys()) - NOT_IDENTITY):
            if before.get(key) == now.get(key):
                continue
            if key in extendable and now[key] > before[key]:
                grown = True
                continue
            flag = "--" + key.replace("_", "-")
            raise UserError(
                f"--out-dir {self.dir}: holds a run with {flag} {before.get(key)}, not {now.get(key)}; "
                "choose another folder, or --overwrite to begin it anew"
            )
        if old["data"]["fingerprint"] != self.config["data"]["fingerprint"]:
            raise UserError(
                f"--out-dir {self.dir}: holds a run on other data ({old['data']['root']}, "
                f"{old['data']['clips']} clips); choose another folder, or --overwrite to begin it anew"
            )
        test = old["data"].get("test_fingerprint")
        if test is not None and test != self.config["data"].get("test_fingerprint"):
            raise UserError(
                f"--out-dir {self.dir}: the test set has changed since this run; predict it by itself (predict "
                "--sample-submission CSV), choose another folder, or --overwrite to begin the run anew"
            )
        if grown:
            (self.dir / "metrics.json").unlink(missing_ok=True)
            write_json(self.dir / "config.json", self.config)

    def history(self) -> list[dict[str, float]]:
        """One dict an epoch: {"epoch": 0, "group/name": value, ...}; an earlier command's lines are read once."""
        if self._history is None:
            path = self.dir / "history.jsonl"
            self._history = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
        return self._history

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Record one epoch (counted from 0). Lines of this or a later epoch, left by a killed run, are replaced.

        Raises:
            UserError: a figure that is not finite.
        """
        record = {"epoch": epoch} | {key: float(value) for key, value in metrics.items()}
        for key, value in record.items():
            if not math.isfinite(value):
                raise UserError(f"{key} is {value} after epoch {epoch + 1}: training diverged; lower --learning-rate")
        self._history = [*(line for line in self.history() if line["epoch"] < epoch), record]
        write_text(self.dir / "history.jsonl", "".join(json.dumps(line) + "\n" for line in self._history))
        self._log_events(epoch, record)

    def _log_events(self, epoch: int, record: Mapping[str, float]) -> None:
        # tensorboard imports TensorFlow when it can; this marker, its own, makes it use its stub instead.
        sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        if self._writer is None:
            self._writer = EventFileWriter(str(self.dir / "events"))
        values = [Summary.Value(tag=k, simple_value=v) for k, v in record.items() if k != "epoch"]
        self._writer.add_event(Event(step=epoch, summary=Summary(value=values)))
        self._writer.flush()

    def write_rejects(self, rejects: Mapping[Path, str]) -> None:
        """rejects.csv (path, reason), and what was left out on the console."""
        if not rejects:
            return
        table = pd.DataFrame({"path": [str(p) for p in rejects], "reason": list(rejects.values())})
        write_text(self.dir / "rejects.csv", table.to_csv(index=False))
        print(f"skipped {len(rejects)} file(s) that cannot be used (all in {self.dir / 'rejects.csv'}):")
        for path, reason in list(rejects.items())[:5]:
            print(f"  {path}: {reason}")

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """Write metrics.json: from now on the run is done."""
        write_json(self.dir / "metrics.json", plain(metrics))
        self.close()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._lock.release()
