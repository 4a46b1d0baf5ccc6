"""The events of a run for TensorBoard: scalars, images, sounds, and the options as hyper-parameters.

TensorBoard's own writer is used: tensorboardX and ``tensorboard.plugins.hparams.api`` import PyTorch or TensorFlow
where they are installed, and one process has one framework.
"""

import re
import sys
import time
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import soundfile as sf

from shared.files import naming_full_disk

TIMES = 10  # how often a training records sounds and images; TensorBoard shows as many


def recorded(epoch: int, *, every: int, epochs: int) -> bool:
    """Whether the sounds of an epoch (counted from 1) are recorded: about ``TIMES`` times, and after the last epoch.

    Args:
        every: epochs from one set of sounds to the next.
    """
    return epoch >= epochs or TIMES * epoch // epochs > TIMES * (epoch - every) // epochs


class Events:
    """The folder of events of a run. Its file is made by the first event.

    Args:
        options: the run's options, which become its hyper-parameters.
    """

    def __init__(self, folder: Path, options: Mapping[str, Any]) -> None:
        self.folder, self._options, self._writer = folder, options, None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._add(step, [{"tag": tag, "simple_value": value} for tag, value in values.items()])

    def image(self, step: int, tag: str, png: bytes) -> None:
        """Record a PNG as it is."""
        width, height = (int.from_bytes(png[start : start + 4]) for start in (16, 20))  # of its first chunk, IHDR
        image = {"width": width, "height": height, "colorspace": 3, "encoded_image_string": png}
        self._add(step, [{"tag": tag, "image": image}])

    def sound(self, step: int, tag: str, wav: Path) -> None:
        """Record a wav as it is."""
        info = sf.info(wav)
        shape = {"sample_rate": info.samplerate, "num_channels": info.channels, "length_frames": info.frames}
        encoded = {"encoded_audio_string": wav.read_bytes(), "content_type": "audio/wav"}
        self._add(step, [{"tag": tag, "audio": shape | encoded}])

    def file(self, step: int, path: Path) -> None:
        """Record a PNG or a wav; its tag is folder and name without the epoch, such as gan_generated_audio/siren."""
        tag = f"{path.parent.name}/{re.sub(r'_(ep)?[0-9]+$', '', path.stem)}"
        if path.suffix == ".png":
            self.image(step, tag, path.read_bytes())
        else:
            self.sound(step, tag, path)

    def ended(self) -> None:
        """Record that the run has ended, in the table of hyper-parameters."""
        from tensorboard.plugins.hparams.api_pb2 import STATUS_SUCCESS

        self._hparams("session_end_info", {"status": STATUS_SUCCESS, "end_time_secs": time.time()})

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _add(self, step: int, values: list[dict[str, Any]]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        with naming_full_disk(self.folder):
            self._open().add_event(Event(step=step, summary={"value": values}, wall_time=time.time()))
            self._writer.flush()

    def _open(self) -> Any:
        if self._writer is None:
            # TensorBoard imports TensorFlow if it is installed; if it finds this module, it uses a stub instead.
            sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))
            from tensorboard.summary.writer.event_file_writer import EventFileWriter

            self._writer = EventFileWriter(str(self.folder))
            hparams = {name: _hparam(value) for name, value in self._options.items()}
            self._hparams("session_start_info", {"hparams": hparams, "start_time_secs": time.time()})
        return self._writer

    def _hparams(self, name: str, content: Mapping[str, Any]) -> None:
        """Record an entry for TensorBoard's plugin hparams, whose values are plugin data without a tensor."""
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

        data = HParamsPluginData(version=0, **{name: content}).SerializeToString()
        plugin = {"plugin_name": "hparams", "content": data}
        self._add(0, [{"tag": f"_hparams_/{name}", "metadata": {"plugin_data": plugin}}])


def _hparam(value: Any) -> dict[str, Any]:
    """An option as protobuf's Value: a number, a switch, or text."""
    if isinstance(value, bool):
        return {"bool_value": value}
    return {"number_value": value} if isinstance(value, int | float) else {"string_value": str(value)}
