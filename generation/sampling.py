"""New sounds of a class from a trained generator: generate_audio(...) and save_and_play(...) for notebooks."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file, save_model
from torch import Tensor, nn

from generation.registry import NETS, load
from generation.rundir import CONDITIONS, DESCRIPTION, NO_GENERATOR, WEIGHTS
from generation.scaling import Scaler
from generation.vocoders.vocoder import Vocoder, make_vocoder
from shared.audio import write_wav
from shared.errors import UserError
from shared.features.spec import FeatureSpec
from shared.files import read_json, replacing, write_json
from shared.runs.loop import pick_device


@dataclasses.dataclass(frozen=True)
class Sampler:
    """A generator with everything that turns its output into sound.

    Attributes:
        generator: (z (B, Z), y (B,)) or, with phases, (z, y, phase (B, 1, F, T)) -> scaled features; ``latent`` is Z,
            and ``arguments`` are its constructor's.
        scaler: scales the generator's output back to features.
        vocoder: turns features into sound.
        classes: names by ordinal.
        phases: real phase images (K, n, F, T) to draw from, if the generator takes one; the drawn image becomes the
            second channel of the features.
    """

    generator: nn.Module
    scaler: Scaler
    vocoder: Vocoder
    classes: list[str]
    phases: Tensor | None = None

    def arrays(
        self, labels: Sequence[str], *, seed: int, y: Tensor | None = None, given: Mapping[str, Any] | None = None
    ) -> Tensor:
        """Generate features (B, *spec.shape), one for each label. The global random state does not change.

        Args:
            y: weights (B, K) of the classes instead of the labels' ordinals; a flow generator takes them.
            given: further arguments of the generator, see editing.Edit.
        """
        device = next(self.generator.parameters()).device
        random = torch.Generator().manual_seed(seed)
        z = torch.randn(len(labels), self.generator.latent, generator=random).to(device)
        y = torch.tensor(self.ordinals(labels)) if y is None else y
        condition: tuple[Tensor, ...] = ()
        if self.phases is not None:
            chosen = torch.randint(self.phases.shape[1], (len(labels),), generator=random)
            condition = (self.phases[y, chosen][:, None].to(device),)
        training = self.generator.training
        self.generator.eval()
        with torch.no_grad():
            x = self.generator(z, y.to(device), *condition, **(given or {})).float()
        self.generator.train(training)
        return torch.cat([self.scaler.inverse(x), *condition], dim=1).view(len(labels), *self.vocoder.spec.shape)

    def write(self, S: Tensor, folder: Path, names: Iterable[str]) -> None:
        """Write features (B, ...) as sounds <name>.wav."""
        for name, y in zip(names, self.vocoder(S).cpu().numpy(), strict=True):
            write_wav(folder / f"{name}.wav", y, self.vocoder.spec.sr)

    def ordinals(self, labels: Sequence[str]) -> list[int]:
        if unknown := [label for label in labels if label not in self.classes]:
            raise UserError(f"--label {unknown[0]}: unknown; the classes are {', '.join(self.classes)}")
        return [self.classes.index(label) for label in labels]

    def save(self, run_dir: Path) -> None:
        """Write the generator and its description; each file appears complete or not at all."""
        own = f"{type(self.generator).__module__}:{type(self.generator).__name__}"
        description = {
            "model": next(name for name, (generator, _) in NETS.items() if generator == own),
            "arguments": self.generator.arguments,
            "classes": self.classes,
            "features": dataclasses.asdict(self.vocoder.spec),
            "scaling": dataclasses.asdict(self.scaler),
        }
        if self.phases is not None and not (run_dir / CONDITIONS).is_file():
            with replacing(run_dir / CONDITIONS) as temporary:
                save_file({"phases": self.phases.contiguous()}, temporary)
        write_json(run_dir / DESCRIPTION, description)
        with replacing(run_dir / WEIGHTS) as temporary:
            save_model(self.generator, temporary)

    @classmethod
    def load(cls, run_dir: Path | str, *, device: str = "auto", vocoder: str = "auto", **how: Any) -> "Sampler":
        """The generator of a run folder, finished or still training; ``how`` goes to ``make_vocoder``.

        Raises:
            UserError: no generator, one that cannot be loaded, or a vocoder that cannot invert its features.
        """
        run_dir = Path(run_dir)
        if not (run_dir / DESCRIPTION).is_file() or not (run_dir / WEIGHTS).is_file():
            raise UserError(f"--model-dir {run_dir}: {NO_GENERATOR}")
        where = pick_device(device)
        try:
            description = read_json(run_dir / DESCRIPTION)
            generator = load(NETS[description["model"]][0])(**description["arguments"])
            generator.load_state_dict(load_file(run_dir / WEIGHTS))
            spec, scaler = FeatureSpec(**description["features"]), Scaler(**description["scaling"])
            phases = load_file(run_dir / CONDITIONS)["phases"] if (run_dir / CONDITIONS).is_file() else None
        except Exception as error:  # safetensors and torch raise many types for a damaged file
            reason = str(error).strip().split("\n", 1)[0]
            raise UserError(
                f"--model-dir {run_dir}: its generator cannot be loaded ({reason}); damaged, or of another version: "
                "train it again"
            ) from error
        made = make_vocoder(vocoder, spec, device=where, **how)
        return cls(generator.to(where).eval(), scaler, made, description["classes"], phases)


def generate_audio(
    model_dir: Path | str, label: str, *, count: int = 1, seed: int = 0, device: str = "auto", **how: Any
) -> tuple[np.ndarray, int]:
    """New sounds of a class; ``how`` goes to ``Sampler.load``.

    Returns:
        Waveforms y (count, N), float32, and their sampling rate in Hz. Equal seeds give equal sounds.

    Raises:
        UserError: no trained generator in ``model_dir``, or a class that it does not have.
    """
    sampler = Sampler.load(model_dir, device=device, **how)
    S = sampler.arrays([label] * count, seed=seed)
    return sampler.vocoder(S).cpu().numpy(), sampler.vocoder.spec.sr


def save_and_play(y: np.ndarray, sr: int, path: Path | str = "generated.wav") -> Any:
    """Write y (N,) as a wav; return a player in a notebook, otherwise the path."""
    write_wav(path, y, sr)
    try:
        from IPython.display import Audio
    except ImportError:
        return Path(path)
    return Audio(str(path))
