"""A short form of tests/chaos.py."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import chaos
import pytest

pytestmark = pytest.mark.slow


@pytest.mark.long
def test_a_run_killed_at_random_moments_ends_with_the_same_results(sounds: Path, tmp_path: Path) -> None:
    equal = chaos.kill_and_resume(sounds, tmp_path, kills=8)
    assert len([name for name in equal if name.endswith(".wav")]) > 10


def test_processes_that_compute_one_cache_at_once(sounds: Path, tmp_path: Path) -> None:
    assert chaos.build_at_once(sounds, tmp_path / "cache", processes=3) == 50


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB in memory."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("this user may not mount a disk")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_is_named_and_the_run_resumes(sounds: Path, small_disk: Path) -> None:
    assert str(small_disk) in chaos.fill_disk(sounds, small_disk)
