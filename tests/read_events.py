"""What TensorBoard reads from the events of a run."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData


def read_events(run_dir: Path) -> EventAccumulator:
    return EventAccumulator(str(run_dir / "events")).Reload()


def hparams(events: EventAccumulator) -> dict[str, object]:
    """The hyper-parameters of a run that has ended."""
    content = events.PluginTagToContent("hparams")
    ended, start = (
        HParamsPluginData.FromString(content[f"_hparams_/session_{name}_info"]) for name in ("end", "start")
    )
    assert ended.session_end_info.status == 1
    values = start.session_start_info.hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in values.items()}
