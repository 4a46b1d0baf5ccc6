"""A Dask cluster computes the same cache as this machine alone; what is wrong with a cluster is one clear line."""

import operator
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import dask
import pytest
from distributed import LocalCluster

from shared.errors import UserError
from shared.features.cache import FeatureCache, _write_remotely, current_versions
from shared.features.cluster import Cluster, connect
from shared.features.spec import PRESETS

COMMANDS, SPEC = "shared/commands.py", PRESETS["classifier"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Two workers; a job that kills both is given up."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as running,
    ):
        yield running


@pytest.fixture
def connected(cluster: LocalCluster) -> Iterator[Cluster]:
    with connect(cluster.scheduler_address, 1) as opened:
        yield opened


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.npy")}


@pytest.mark.slow
def test_a_cluster_writes_the_same_cache(
    cluster, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(sounds / "train" / "train", tmp_path / "sounds")
    (tmp_path / "sounds" / "text.wav").write_text("no sound")
    monkeypatch.chdir(tmp_path)  # the workers stand in another folder
    paths = [*sorted(Path("sounds").glob("*/*")), Path("sounds/text.wav"), Path("sounds/missing.wav")]
    alone, caches = FeatureCache(SPEC, Path("alone")), {}
    expected = alone.build(paths, n_jobs=2)
    for scheduler in (cluster.scheduler_address, "local"):
        caches[scheduler] = FeatureCache(SPEC, Path(scheduler.replace("/", "_")), scheduler=scheduler)
        found = caches[scheduler].build(paths, n_jobs=2)
        assert list(found.kept) == list(expected.kept) == list(range(40))
        assert list(found.hashes) == list(expected.hashes)
        assert found.rejects == expected.rejects and len(found.rejects) == 2
    assert all(shards(cache.dir) == shards(alone.dir) for cache in caches.values())
    assert len(shards(alone.dir)) == 2


def test_a_complete_cache_needs_no_cluster(sounds: Path, tmp_path: Path) -> None:
    paths = sorted(sounds.glob("test/test/*"))
    FeatureCache(SPEC, tmp_path).build(paths)
    assert len(FeatureCache(SPEC, tmp_path, scheduler="127.0.0.1:9").build(paths).kept) == len(paths)


@pytest.mark.slow
def test_another_worker_takes_over_from_one_that_died(connected: Cluster) -> None:
    pids = list(connected.client.run(os.getpid).values())
    results = connected.run(operator.mul, [(i, 2) for i in range(20)])
    first = next(results)
    os.kill(pids[0], signal.SIGKILL)
    assert sorted([first, *results]) == list(range(0, 40, 2))


@pytest.mark.slow
def test_a_job_that_kills_workers_is_given_up(connected: Cluster) -> None:
    with pytest.raises(UserError, match="killed several workers"):
        list(connected.run(os._exit, [(1,)]))


@pytest.mark.slow
def test_errors_of_a_job_are_raised(connected: Cluster) -> None:
    with pytest.raises(ZeroDivisionError):
        list(connected.run(operator.truediv, [(1, 0)]))
    with pytest.raises(FileNotFoundError):
        list(connected.run(os.stat, [("/no/such/file",)]))


@pytest.mark.slow
@pytest.mark.long
def test_a_cluster_that_goes_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.features.cluster.WORKERS", 1)
    with LocalCluster(n_workers=0, dashboard_address=":0") as empty:
        with connect(empty.scheduler_address, 1) as opened, pytest.raises(UserError, match=r"no workers.*dask worker"):
            list(opened.run(abs, [(1,)]))
        with connect(empty.scheduler_address, 1) as opened:
            results = opened.run(time.sleep, [(60,)])
            empty.scale(1)
            empty.close()
            with pytest.raises(UserError, match="connection broke"):
                next(results)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:9", "no Dask scheduler answers; start one"),
        ("somewhere", "missing port number in address 'somewhere'; use HOST:PORT or local"),
        ("", "missing port number"),
        ("smtp://host:1", "unknown address scheme"),
    ],
)
def test_an_address_without_a_scheduler(address, reason, sounds, tmp_path, refused, monkeypatch) -> None:
    monkeypatch.setattr("shared.features.cluster.ANSWER", 1)
    line = refused(COMMANDS, "cache", "--data-dir", sounds, "--cache-dir", tmp_path, "--scheduler", address)
    assert line.startswith(f"error: --scheduler {address}: {reason}")


def test_a_worker_that_lacks_something_is_named(sounds: Path, tmp_path: Path) -> None:
    versions, clip = current_versions(), next(sounds.glob("test/test/*"))
    job = [(clip, 0.0, "id")]
    with pytest.raises(UserError, match=r"has librosa [\d.]+, not 0.1; install the same versions"):
        _write_remotely(versions | {"librosa": "0.1"}, tmp_path, SPEC, 1, job)
    with pytest.raises(UserError, match=rf"does not see {tmp_path / 'spec.json'}; all machines"):
        _write_remotely(versions, tmp_path, SPEC, 1, job)
    (tmp_path / "spec.json").touch()
    with pytest.raises(UserError, match=r"does not see .*moved.wav"):
        _write_remotely(versions, tmp_path, SPEC, 1, [*job, (tmp_path / "moved.wav", 0.0, "other")])
    assert not list(tmp_path.glob("*.npy"))


@pytest.mark.slow
def test_without_dask_only_the_option_is_missing(sounds: Path, tmp_path: Path, run_script) -> None:
    command = ("tests/without.py", "dask,distributed", COMMANDS, "cache", "--data-dir", sounds, "--cache-dir", tmp_path)
    assert "--scheduler" in run_script(*command[:3], "train", "--help").stdout
    failed = run_script(*command, "--scheduler", "local", code=2)
    assert (
        failed.stderr
        == "error: --scheduler local: distributed is not installed; pip install 'frequency-quest[cluster]'\n"
    )
    assert "50 spectrograms" in run_script(*command).stdout
