"""What the app's tabs share: the offered runs, the workers, a folder for results, and the limits on uploads."""

import dataclasses
import shutil
import tempfile
import time
from pathlib import Path

import gradio as gr

from generation.app.runs import Runs
from generation.app.workers import Worker
from shared.audio import sampling_rate, seconds
from shared.errors import AudioError, UserError

MOST_MIB = 50  # of an upload
MOST_MINUTES = 10  # of a decoded sound
MOST_HZ = 192_000  # a higher sampling rate would make a small file huge in memory
MOST_SEED = 2**32 - 1
NONE = "none"  # the choice of no run
_KEPT_SECONDS = 3600.0  # how long results can be downloaded


@dataclasses.dataclass(frozen=True)
class App:
    """What every request needs.

    Attributes:
        runs: the runs to choose from.
        workers: framework -> process.
        folder: where results are written; it is deleted when the app ends.
        answers: folder for the answers of listening tests.
        host: address that the app serves on.
        device: device of all models.
    """

    runs: Runs
    workers: dict[str, Worker]
    folder: Path
    answers: Path
    host: str
    device: str

    def new_folder(self) -> Path:
        """An empty folder for the results of a request; those of old requests are deleted."""
        for old in self.folder.glob("result-*"):
            if time.time() - old.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
        return Path(tempfile.mkdtemp(prefix="result-", dir=self.folder))


def checked_sound(path: str | None) -> Path:
    """The path of an upload or a recording within the limits; decoding finds out what else may be wrong with it.

    Raises:
        UserError: there is none, or it is too long.
    """
    if not path:
        raise UserError("no sound: upload a file, or record one")
    sound = Path(path)
    if (length := seconds(sound)) > 60 * MOST_MINUTES:
        raise UserError(
            f"{sound.name}: lasts {length:.0f} s, and the app takes at most {60 * MOST_MINUTES} s; "
            "cut it, or use frequency-quest predict"
        )
    if (sr := sampling_rate(sound)) > MOST_HZ:
        raise UserError(f"{sound.name}: has a sampling rate of {sr} Hz; the app takes at most {MOST_HZ} Hz")
    return sound


def shown(error: AudioError | UserError, sound: Path | None = None) -> gr.Error:
    """An error as the page shows it: one line, which names an uploaded file without the folder it was put in."""
    text = str(error)
    if sound is not None:
        text = f"{sound.name}: {text}" if isinstance(error, AudioError) else text.replace(str(sound), sound.name)
    return gr.Error(text, duration=None, print_exception=False)


def sound_input(label: str) -> gr.Audio:
    """An upload or a recording. A web address, which gradio would fetch, is refused."""
    sound = gr.Audio(type="filepath", sources=["upload", "microphone"], editable=False, label=label, buttons=[])
    move = sound.async_move_resource_to_block_cache

    async def refuse_addresses(path: str | Path | None) -> str | None:
        if "://" in str(path):
            raise gr.Error("web addresses are not taken; upload the file", print_exception=False)
        return await move(path)

    sound.async_move_resource_to_block_cache = refuse_addresses
    return sound
