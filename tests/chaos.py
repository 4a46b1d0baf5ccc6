"""Kills run_all.sh --smoke at random moments, fills the disk, and computes one cache from several processes at once.

    python tests/chaos.py --kills 30

A run that was killed again and again must end with the same bytes as one that was not: weights, predictions,
submissions, sounds, and the metrics without times and memory.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ("time/", "memory/")  # metrics that differ from run to run
SAME_BYTES = (".wav", ".csv", ".safetensors")


def start(sounds: Path, folder: Path) -> subprocess.Popen:
    """Start the main job with its own cache, in a process group of its own that can be killed as a whole."""
    command = ["bash", str(ROOT / "run_all.sh"), "--smoke", "--data-dir", str(sounds), "--out-dir", str(folder / "run")]
    environment = os.environ | {"FREQUENCY_QUEST_CACHE": str(folder / "cache")}
    with (folder / "log").open("a") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


def finish(process: subprocess.Popen, folder: Path) -> None:
    assert process.wait(timeout=1200) == 0, (folder / "log").read_text()[-5000:]


def without_measured(metrics: dict) -> dict:
    """Metrics without seconds and memory, also in the tables of several trainings."""
    kept = {key: value for key, value in metrics.items() if not key.startswith(MEASURED)}
    return {key: without_measured(value) if isinstance(value, dict) else value for key, value in kept.items()}


def results(run: Path) -> dict[str, object]:
    """File name -> its content, of everything that a resumed run must reproduce."""
    found: dict[str, object] = {}
    for path in sorted(run.rglob("*")):
        name = str(path.relative_to(run))
        if path.suffix in SAME_BYTES:
            found[name] = path.read_bytes()
        elif path.name == "metrics.json":
            found[name] = without_measured(json.loads(path.read_text()))
        elif path.name == "history.jsonl":
            found[name] = [without_measured(json.loads(line)) for line in path.read_text().splitlines()]
    return found


def kill_and_resume(sounds: Path, folder: Path, *, kills: int, seed: int = 0) -> dict[str, object]:
    """Run the main job once as it is, and once killed at random moments; return the results, which must be equal."""
    whole, killed = folder / "whole", folder / "killed"
    whole.mkdir()
    killed.mkdir()
    began = time.monotonic()
    finish(start(sounds, whole), whole)
    seconds = time.monotonic() - began
    moments = random.Random(seed)
    longest = min(0.3, 3 / kills + 0.05)  # so that the moments lie in all stages
    for number in range(kills):
        process = start(sounds, killed)
        try:
            process.wait(timeout=moments.uniform(0.02, longest) * seconds)
            print(f"kill {number + 1} of {kills}: the run had ended", flush=True)
            break
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            stage = (killed / "log").read_text(errors="replace").strip().splitlines()[-1:]
            print(f"kill {number + 1} of {kills}: {' '.join(stage)[:100]}", flush=True)
    finish(start(sounds, killed), killed)
    expected, got = results(whole / "run"), results(killed / "run")
    assert expected.keys() == got.keys(), expected.keys() ^ got.keys()
    different = [name for name, content in expected.items() if got[name] != content]
    assert not different, different
    return expected


def build_at_once(sounds: Path, folder: Path, *, processes: int = 4) -> int:
    """Compute one cache from several processes at once; return the number of its clips, each of which is there once."""
    command = [sys.executable, "shared/commands.py", "cache", "--data-dir", str(sounds), "--cache-dir", str(folder)]
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    said = [process.communicate(timeout=600)[0] for process in running]
    assert all(process.returncode == 0 for process in running), said
    assert len(set(said)) == 1, said
    verify = [sys.executable, "shared/commands.py", "cache", "verify", "--cache-dir", str(folder)]
    assert "intact" in subprocess.run(verify, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    shards = [json.loads(line)["clips"] for index in folder.glob("*/index.jsonl") for line in index.open()]
    clips = [clip for shard in shards for clip in shard]
    assert len(clips) == len(set(clips)), "a clip was computed twice"
    return len(clips)


def fill_disk(sounds: Path, disk: Path) -> str:
    """Train on a disk that is full after some writes; return the message. Afterwards the run resumes and ends.

    Args:
        disk: a folder on a small disk of its own.
    """
    command = [sys.executable, "classification/train.py", "--framework", "torch", "--data-dir", str(sounds)]
    command += ["--epochs", "3", "--no-refit", "--out-dir", str(disk / "run"), "--cache-dir", str(disk / "cache")]

    def train() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)

    filler = disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(disk).free - (1 << 20)))  # leaves a megabyte
    failed = train()
    assert failed.returncode == 2 and "disk full: " in failed.stderr and "Traceback" not in failed.stderr, failed.stderr
    filler.unlink()
    done = train()
    assert done.returncode == 0, done.stderr
    return failed.stderr.strip().splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--data-dir", type=Path, help="sounds; by default a small synthetic set")
    parser.add_argument("--small-disk", type=Path, help="a folder on a disk of 40 to 200 MB that may be filled")
    options = parser.parse_args()
    from shared.data.demo_data import make_demo_data

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = {"recordings": 4, "slices": 2, "test_recordings": 1, "test_slices": 2}
        sounds = options.data_dir or make_demo_data(folder / "sounds", seed=1, **size)
        print(f"{build_at_once(sounds, folder / 'cache')} clips, each once, by four processes at once", flush=True)
        if options.small_disk:
            print(fill_disk(sounds, options.small_disk), flush=True)
        equal = kill_and_resume(sounds, folder, kills=options.kills)
        print(f"{options.kills} kills: {len(equal)} files are equal")


if __name__ == "__main__":
    main()
