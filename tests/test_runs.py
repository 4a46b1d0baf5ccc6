"""A run folder resumes the same run, refuses any other, and never loses data."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from joblib import Parallel, delayed

from shared.errors import UserError
from shared.files import read_json, replacing, write_text
from shared.runs.compare import read_predictions
from shared.runs.processes import in_own_process
from shared.runs.run import Run, describe, fingerprint


def config(**options: object) -> dict:
    data = {"root": "d", "clips": 3, "fingerprint": options.pop("fingerprint", "f")}
    return describe({"epochs": 4, "seed": 0, "device": "cpu"} | options, data)


def test_the_same_command_resumes_and_another_is_refused(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", config())
    run.log(0, {"train/loss": 1.0})
    run.close()
    resumed = Run(tmp_path / "run", config(device="cuda", devices=2, scheduler="host:8786"))  # these may change
    assert [line["train/loss"] for line in resumed.history()] == [1.0] and not resumed.finished
    resumed.close()
    with pytest.raises(UserError, match=r"--seed 0, not 1.*--overwrite"):
        Run(tmp_path / "run", config(seed=1))
    with pytest.raises(UserError, match="other data"):
        Run(tmp_path / "run", config(fingerprint="g"))
    assert len(Run(tmp_path / "run", config()).history()) == 1


def test_extendable_options_may_only_grow(tmp_path: Path) -> None:
    run = Run(tmp_path, config())
    run.finish({"a": 1})
    grown = Run(tmp_path, config(epochs=9), extendable=frozenset({"epochs"}))
    assert not grown.finished and read_json(tmp_path / "config.json")["options"]["epochs"] == 9
    grown.close()
    with pytest.raises(UserError, match="--epochs 9, not 4"):
        Run(tmp_path, config(), extendable=frozenset({"epochs"}))


def test_overwrite_starts_again(tmp_path: Path) -> None:
    run = Run(tmp_path, config())
    run.log(0, {"train/loss": 1.0})
    run.finish({"a": 1})
    again = Run(tmp_path, config(seed=1), overwrite=True)
    assert not again.finished and not again.history()


def test_a_folder_without_a_run_is_never_changed(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="no run"):
            Run(tmp_path, config(), overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(UserError, match="is a file"):
        Run(tmp_path / "thesis.txt", config())


def test_a_second_process_cannot_write_to_a_run(tmp_path: Path) -> None:
    run = Run(tmp_path, config())
    with pytest.raises(UserError, match="another process"):
        Run(tmp_path, config())
    run.close()
    Run(tmp_path, config()).close()


def test_later_epochs_of_an_interrupted_command_are_replaced(tmp_path: Path) -> None:
    run = Run(tmp_path, config())
    for epoch, loss in enumerate((3.0, 2.0, 1.0)):
        run.log(epoch, {"train/loss": loss})
    run.log(1, {"train/loss": 1.5})
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert lines == [{"epoch": 0, "train/loss": 3.0}, {"epoch": 1, "train/loss": 1.5}]


def test_a_diverged_training_stops_with_a_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train/loss is nan after epoch 3.*--learning-rate"):
        Run(tmp_path, config()).log(2, {"train/loss": float("nan")})
    assert not (tmp_path / "history.jsonl").exists()


def test_tensorboard_reads_the_events(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = Run(tmp_path, config())
    run.log(0, {"train/loss": 1.0})
    run.log(1, {"train/loss": 0.5})
    run.close()
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(0, 1.0), (1, 0.5)]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="full"), replacing(path) as temporary:
        temporary.write_text("half")
        raise OSError("the disk is full")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_the_next_write_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    write = (
        "from pathlib import Path; from shared.files import replacing\nwith replacing(Path('a.wav')): print(); input()"
    )
    command = [sys.executable, "-u", "-c", write]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    killed, running = (subprocess.Popen(command, cwd=tmp_path, **pipes) for _ in range(2))
    for process in (killed, running):
        process.stdout.readline()
    killed.kill()
    killed.wait()
    (tmp_path / ".a-of-the-user-01234567.wav").touch()
    assert len(list(tmp_path.iterdir())) == 3
    write_text(tmp_path / "b.txt", "new")
    names = {path.name for path in tmp_path.iterdir()}
    assert len(names) == 3 and f"-{killed.pid}-" not in str(names) and f"-{running.pid}-" in str(names)
    running.communicate(b"\n")
    assert running.returncode == 0 and (tmp_path / "a.wav").exists()


def test_the_fingerprint_depends_on_the_data_but_not_on_its_folder(tmp_path: Path) -> None:
    def of(folder: str, labels: list[str], hashes: list[bytes]) -> str:
        paths = [f"{folder}/{i}.wav" for i in range(2)]
        return fingerprint(pd.DataFrame({"path": paths, "label": labels}), hashes)

    base = of("x", ["a", "b"], [b"1", b"2"])
    assert of("y", ["a", "b"], [b"1", b"2"]) == base
    assert of("x", ["a", "a"], [b"1", b"2"]) != base and of("x", ["a", "b"], [b"1", b"3"]) != base


def test_class_names_like_007_and_NA_are_read_as_text(tmp_path: Path) -> None:
    rows = [
        "path,label,group,split,predicted,p_007,p_NA,seed,fold",
        "a.wav,NA,7,test,007,0.6,0.4,0,",
        "b.wav,007,NA,test,NA,0.3,0.7,0,",
    ]
    (tmp_path / "predictions.csv").write_text("\n".join(rows))
    table = read_predictions(tmp_path)
    assert table[["label", "group", "predicted"]].to_numpy().tolist() == [["NA", "7", "007"], ["007", "NA", "NA"]]
    assert table.p_NA.tolist() == [0.4, 0.7] and table.fold.isna().all()


def test_a_run_resumes_with_fewer_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from shared.runs.loop import load_checkpoint, save_checkpoint

    objective, restored = SimpleNamespace(state_dict=dict, load_state_dict=lambda state: None), []
    states = [torch.tensor([1], dtype=torch.uint8), torch.tensor([2], dtype=torch.uint8)]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.get_rng_state_all", lambda: states)
    monkeypatch.setattr("torch.cuda.set_rng_state_all", restored.extend)
    run = Run(tmp_path, config())
    save_checkpoint(run, objective, 0)
    assert load_checkpoint(run, objective) == 1 and restored == states[:1]


def test_the_device_decides_on_determinism_and_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from shared.runs.loop import bfloat16_pays, pick_device

    monkeypatch.setattr("torch.backends.cudnn.deterministic", False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: False)
    assert not bfloat16_pays(pick_device("cpu")) and not torch.backends.cudnn.deterministic
    assert bfloat16_pays(pick_device("auto")) and torch.backends.cudnn.deterministic
    assert not bfloat16_pays(torch.device("mps"))


@pytest.mark.slow
def test_a_test_set_that_has_changed_is_reported(sounds: Path, tmp_path: Path, run_script) -> None:
    shutil.copytree(sounds, tmp_path / "data")
    arguments = ["classification/train.py", "--data-dir", tmp_path / "data", "--out-dir", tmp_path / "run"]
    arguments += ["--framework", "torch", "--recipe", "plain", "--epochs", 1, "--fraction", 0.5]
    run_script(*arguments)
    assert "already done" in run_script(*arguments).stdout
    clip = next((tmp_path / "data" / "test" / "test").iterdir())
    shutil.copy(clip, clip.with_name("added.wav"))
    failed = run_script(*arguments, code=2).stderr
    assert "the test set has changed" in failed and "--overwrite" in failed


def _squares(count: int) -> list[int]:
    return Parallel(n_jobs=2)(delayed(pow)(i, 2) for i in range(count))


@pytest.mark.slow
def test_a_process_ends_with_its_work() -> None:
    """joblib's workers stay for five minutes; the process that started them must not wait for that."""
    began = time.monotonic()
    assert in_own_process(_squares, 4) == [0, 1, 4, 9]
    assert time.monotonic() - began < 200
