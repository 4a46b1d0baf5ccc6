"""The events of a run: what is written is what TensorBoard reads, without importing a framework."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from matplotlib.image import imread
from read_events import hparams, read_events

from shared.audio import write_wav
from shared.report.plots import plot_confusion
from shared.runs.events import recorded
from shared.runs.run import Run

OPTIONS = {"recipe": "plain", "epochs": 2, "learning_rate": 0.5, "conditional": True, "crop": None, "widths": [4, 8]}
CONFIG = {"options": OPTIONS | {"out_dir": "runs/a", "n_jobs": 3}, "data": {"fingerprint": "0"}}

WRITE = """
import sys
from shared.runs.events import Events
from pathlib import Path
events = Events(Path(sys.argv[1]), {"epochs": 1})
events.scalars(0, {"train/loss": 1.0})
events.ended()
events.close()
assert not {"torch", "tensorflow", "keras", "tensorboardX"} & sys.modules.keys(), "a framework was imported"
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run", CONFIG)


def test_files_and_figures_are_read_back(run: Run, tmp_path: Path) -> None:
    plot_confusion(tmp_path / "plots" / "confusion_matrix.png", [[3, 1], [0, 4]], ["dog", "siren"])
    y = np.linspace(-0.5, 0.5, 800)
    write_wav(tmp_path / "gan_generated_audio" / "street_music_ep12.wav", y, 8000)
    run.log(0, {"train/loss": 1.0})
    run.events.file(1, tmp_path / "plots" / "confusion_matrix.png")
    run.events.file(12, tmp_path / "gan_generated_audio" / "street_music_ep12.wav")
    run.finish({"train/loss": 1.0, "test/accuracy": 0.875, "test/intervals": {}, "recipe": "plain", "test/best": None})
    events = read_events(run.dir)
    (image,) = events.Images("plots/confusion_matrix")
    pixels = imread(io.BytesIO(image.encoded_image_string))
    assert pixels.shape[:2] == (image.height, image.width) and image.step == 1
    (sound,) = events.Audio("gan_generated_audio/street_music")
    heard, sr = sf.read(io.BytesIO(sound.encoded_audio_string))
    np.testing.assert_allclose(heard, y, atol=1e-4)
    assert (sr, sound.sample_rate, sound.length_frames, sound.step) == (8000, 8000, 800, 12)
    assert set(events.Tags()["scalars"]) == {"train/loss", "test/accuracy"}
    assert events.Scalars("test/accuracy")[0].value == 0.875


def test_options_become_hyper_parameters(run: Run) -> None:
    run.log(0, {"train/loss": 1.0})
    run.finish({})
    expected = {"recipe": "plain", "epochs": 2.0, "learning_rate": 0.5, "conditional": True}
    assert hparams(read_events(run.dir)) == expected | {"crop": "None", "widths": "[4, 8]"}


def test_tensorboard_lists_the_hyper_parameters_of_several_runs(tmp_path: Path, monkeypatch) -> None:
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams.backend_context import Context

    for rate in (0.5, 0.25):
        run = Run(tmp_path / str(rate), CONFIG | {"options": OPTIONS | {"learning_rate": rate}})
        run.log(0, {"train/loss": rate})
        run.finish({"test/accuracy": rate})
    runs = EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload()
    context = Context(TBContext(data_provider=MultiplexerDataProvider(runs, str(tmp_path))))
    request, read = RequestContext(), context.hparams_metadata(RequestContext(), "")
    experiment = context.experiment_from_metadata(request, "", True, read, [])
    assert {info.name for info in experiment.hparam_infos} >= {"learning_rate"}
    assert {info.name.tag for info in experiment.metric_infos} == {"train/loss", "test/accuracy"}


def test_no_framework_is_imported(tmp_path: Path, run_script) -> None:
    run_script("-c", WRITE, tmp_path / "events", PYTHONPATH=str(Path(__file__).parents[1]))
    assert read_events(tmp_path).Tags()["scalars"] == ["train/loss"]


def test_sounds_are_recorded_ten_times_and_at_the_end() -> None:
    assert [epoch for epoch in range(1, 101) if recorded(epoch, every=1, epochs=100)] == list(range(10, 101, 10))
    assert [epoch for epoch in range(25, 201, 25) if recorded(epoch, every=25, epochs=200)] == list(range(25, 201, 25))
    assert [epoch for epoch in (2, 4, 5) if recorded(epoch, every=2, epochs=5)] == [2, 4, 5]
