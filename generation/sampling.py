"""New sounds of a class from a trained generator: generate_audio(...) and save_and_play(...) for notebooks."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from generation.objectives.vae import VaeObjective
from generation.registry import NETS, load
from generation.scaling import Scaler
from generation.vocoders.vocoder import Vocoder, make_vocoder
from shared.audio import write_wav
from shared.errors import UserError
from shared.features.batches import Batches
from shared.features.spec import FeatureSpec
from shared.files import read_json, replacing, safe_name, write_json
from shared.report.plots import plot_features, plot_mosaic
from shared.runs.loop import pick_device

WEIGHTS, DESCRIPTION, CONDITIONS = "generator.safetensors", "generator.json", "conditions.safetensors"
PAIRS = 2  # pairs of clips to reconstruct and to interpolate between
STEPS = 5  # sounds from one clip of a pair to the other, both included
COLUMNS = 10  # samples of a label in the grid


@dataclasses.dataclass(frozen=True)
class Sampler:
    """A generator with all it takes to hear it.

    Attributes:
        generator: (z (B, Z), y (B,)) or, with conditions, (z, y, phase (B, 1, F, T)) -> what ``scaler`` brings back;
            has ``latent`` and ``arguments``, with which its class builds it again.
        scaler: from the network's range to the features'.
        vocoder: inverts the features.
        classes: names by ordinal.
        phases: real phase images to choose from (K, n, F, T), where the generator is given one; it then becomes the
            second channel of what is made.
    """

    generator: nn.Module
    scaler: Scaler
    vocoder: Vocoder
    classes: list[str]
    phases: Tensor | None = None

    def arrays(self, labels: Sequence[str], *, seed: int) -> Tensor:
        """One feature a label, as the vocoder takes it: (B, *spec.shape). Global random numbers are untouched."""
        device = next(self.generator.parameters()).device
        random = torch.Generator().manual_seed(seed)
        z = torch.randn(len(labels), self.generator.latent, generator=random).to(device)
        y = torch.tensor([self.ordinal(label) for label in labels])
        condition: tuple[Tensor, ...] = ()
        if self.phases is not None:
            chosen = torch.randint(self.phases.shape[1], (len(labels),), generator=random)
            condition = (self.phases[y, chosen][:, None].to(device),)
        training = self.generator.training
        self.generator.eval()
        with torch.no_grad():
            x = self.generator(z, y.to(device), *condition).float()
        self.generator.train(training)
        return torch.cat([self.scaler.inverse(x), *condition], dim=1).view(len(labels), *self.vocoder.spec.shape)

    def ordinal(self, label: str) -> int:
        if label not in self.classes:
            raise UserError(f"--label {label}: unknown; this model knows {', '.join(self.classes)}")
        return self.classes.index(label)

    def save(self, run_dir: Path) -> None:
        """Write the generator and its description, each whole or not at all."""
        own = f"{type(self.generator).__module__}:{type(self.generator).__name__}"
        description = {
            "model": next(name for name, nets in NETS.items() if nets.generator == own),
            "arguments": self.generator.arguments,
            "classes": self.classes,
            "features": dataclasses.asdict(self.vocoder.spec),
            "scaling": dataclasses.asdict(self.scaler),
        }
        if self.phases is not None and not (run_dir / CONDITIONS).is_file():
            with replacing(run_dir / CONDITIONS) as temporary:
                save_file({"phases": self.phases.contiguous()}, temporary)
        write_json(run_dir / DESCRIPTION, description)
        weights = {name: value.contiguous() for name, value in self.generator.state_dict().items()}
        with replacing(run_dir / WEIGHTS) as temporary:
            save_file(weights, temporary)

    @classmethod
    def load(cls, run_dir: Path | str, *, device: str = "auto", vocoder: str = "auto", **how: Any) -> "Sampler":
        """The generator of a run folder, finished or still training.

        Raises:
            UserError: no generator there, one that cannot be loaded, or a vocoder that cannot invert its spectrograms.
        """
        run_dir = Path(run_dir)
        if not (run_dir / DESCRIPTION).is_file() or not (run_dir / WEIGHTS).is_file():
            raise UserError(
                f"--model-dir {run_dir}: no trained generator; give the --out-dir of one of generation/train_*.py"
            )
        where = pick_device(device)
        try:
            description = read_json(run_dir / DESCRIPTION)
            generator = load(NETS[description["model"]].generator)(**description["arguments"])
            generator.load_state_dict(load_file(run_dir / WEIGHTS))
            spec, scaler = FeatureSpec(**description["features"]), Scaler(**description["scaling"])
            phases = load_file(run_dir / CONDITIONS)["phases"] if (run_dir / CONDITIONS).is_file() else None
        except Exception as error:  # safetensors and torch have their own for a damaged file or another architecture
            reason = str(error).strip().split("\n", 1)[0]
            raise UserError(
                f"--model-dir {run_dir}: its generator cannot be loaded ({reason}); is it whole, and of this version?"
            ) from error
        made = make_vocoder(vocoder, spec, device=where, **how)
        return cls(generator.to(where).eval(), scaler, made, description["classes"], phases)


def generate_audio(
    model_dir: Path | str, label: str, *, count: int = 1, seed: int = 0, device: str = "auto", **how: Any
) -> tuple[np.ndarray, int]:
    """New sounds of a class.

    Returns:
        y: float32 (count, N) waveforms, and their sampling rate in Hz. Equal seeds give equal sounds.

    Raises:
        UserError: no trained generator in ``model_dir``, or a label it does not know.
    """
    sampler = Sampler.load(model_dir, device=device, **how)
    S = sampler.arrays([label] * count, seed=seed)
    return sampler.vocoder(S).cpu().numpy(), sampler.vocoder.spec.sr


def save_and_play(y: np.ndarray, sr: int, path: Path | str = "generated.wav") -> Any:
    """Write y (N,) as a wav; in a notebook returns a player, elsewhere the path."""
    write_wav(path, y, sr)
    try:
        from IPython.display import Audio
    except ImportError:
        return Path(path)
    return Audio(str(path))


def write_samples(sampler: Sampler, out_dir: Path, epoch: int, *, family: str, seed: int) -> None:
    """Write a wav of each class and one figure of all; every epoch has the same noise, so that progress is heard."""
    S = sampler.arrays(sampler.classes, seed=seed)
    spec = sampler.vocoder.spec
    for label, y in zip(sampler.classes, sampler.vocoder(S).cpu().numpy(), strict=True):
        write_wav(out_dir / f"{family}_generated_audio" / f"{safe_name(label)}_ep{epoch}.wav", y, spec.sr)
    plot_features(
        out_dir / f"{family}_spectrogram_plots" / f"epoch_{epoch:03d}.png",
        dict(zip(sampler.classes, S.cpu().numpy(), strict=True)),
        spec,
        title=f"generated after epoch {epoch}",
    )


def write_reconstructions(
    objective: VaeObjective, sampler: Sampler, batches: Batches, out_dir: Path, epoch: int, *, seed: int
) -> None:
    """Write what else a VAE is listened to by.

    reconstructions/<clip>_{original,reconstruction}.wav: both go through the vocoder, so that they differ by the
    autoencoder alone. interpolations/<clip>_<clip>_<step>.wav: straight lines between the means of two posteriors,
    under the label that both share. Of spectrograms also a grid of ten samples of each label.
    """
    device = next(sampler.generator.parameters()).device

    def write(folder: str, names: Iterable[str], S: Tensor) -> None:
        for name, y in zip(names, sampler.vocoder(S).cpu().numpy(), strict=True):
            write_wav(out_dir / folder / f"{name}.wav", y, sampler.vocoder.spec.sr)

    weights = torch.linspace(0, 1, STEPS, device=device)[:, None]
    for pair in choose_pairs(batches.labels):
        x = torch.from_numpy(batches.features[list(pair)]).to(device)
        y = torch.from_numpy(batches.labels[list(pair)]).to(device)
        a, b = objective.encode(x, y).unsqueeze(1)
        path = objective.decode(torch.lerp(a, b, weights), y[:1].expand(STEPS))
        write("reconstructions", [f"{clip}_original" for clip in pair], x)
        write("reconstructions", [f"{clip}_reconstruction" for clip in pair], path[[0, -1]])
        write("interpolations", [f"{pair[0]}_{pair[1]}_{step}" for step in range(STEPS)], path)
    if sampler.vocoder.spec.kind != "waveform":
        write_grid(sampler, out_dir / "vae_spectrogram_plots" / f"grid_{epoch:03d}.png", epoch, seed=seed)


def choose_pairs(labels: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of clips of one class, from both ends of the class, as places in ordinals (N,)."""
    pairs = []
    for i in range(PAIRS):
        members = np.flatnonzero(labels == i % (labels.max() + 1))
        pairs.append((int(members[i % len(members)]), int(members[-1 - i % len(members)])))
    return pairs


def write_grid(sampler: Sampler, path: Path, epoch: int, *, seed: int) -> None:
    """A picture of ten samples of every label."""
    labels = [label for label in sampler.classes for _ in range(COLUMNS)]
    S = sampler.arrays(labels, seed=seed).cpu().numpy().reshape(-1, COLUMNS, *sampler.vocoder.spec.shape)
    plot_mosaic(
        path,
        dict(zip(sampler.classes, S, strict=True)),
        sampler.vocoder.spec,
        title=f"{COLUMNS} samples a label after epoch {epoch}",
    )
