"""The command-line options of evaluate."""

import dataclasses
from pathlib import Path

from generation.rundir import EVALUATION
from shared.errors import UserError
from shared.files import CACHE_DIR
from shared.runs.options import Device, check_backbone


@dataclasses.dataclass(kw_only=True)
class EvaluateOptions:
    """Compare generated sounds with real ones and noise by the features of classifiers."""

    samples: Path
    """Folder of generated sounds: <label>_<n>.wav, or a folder per class."""
    reference: Path
    """Folder of real sounds in any layout, best the one that the generator was trained on."""
    classifier: tuple[Path, ...]
    """Finished runs of classification/train.py, best two of different framework, seed and features."""
    backbone_path: Path | None = None
    """Model, .onnx or .tflite, in whose embeddings FAD and KAD are computed as well (docs/backbones.md)."""
    backbone_sr: int | None = None
    """Sampling rate in Hz of the waveform that --backbone-path takes."""
    generator: Path | None = None
    """Run of the generator, which lists its training clips; None takes the run that samples.json in --samples names."""
    output: Path | None = None
    """JSON file to write; None writes evaluation.json into --samples."""
    max_clips: int = 5000
    """Compare at most this many samples and real clips; copies are looked for among all training clips."""
    seed: int = 0
    """Seed of the random draws and of the noise."""
    device: Device = "auto"
    """Device that computes."""
    cache_dir: Path = CACHE_DIR
    """Folder of the computed spectrograms."""
    n_jobs: int | None = None
    """Processes that compute spectrograms; None starts one per core."""

    def check(self) -> None:
        if len({path.resolve() for path in self.classifier}) < len(self.classifier) or not self.classifier:
            raise UserError(f"--classifier {' '.join(map(str, self.classifier))}: give one or more runs, each once")
        check_backbone(self.backbone_path, self.backbone_sr)
        for flag, value, least in (("--max-clips", self.max_clips, 10), ("--seed", self.seed, 0)):
            if value < least:
                raise UserError(f"{flag} {value}: must be {least} or more")
        if self.output is None:
            self.output = self.samples / EVALUATION
        elif self.output.is_dir():
            raise UserError(f"--output {self.output}: is a folder; give a JSON file")
        else:
            try:
                self.output.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"--output {self.output}: its folder cannot be created ({error.strerror})") from error
