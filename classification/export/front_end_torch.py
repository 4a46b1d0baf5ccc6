"""A PyTorch model that takes a waveform: windows, spectrogram and network in one graph."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from classification.export.front_end import bands, cosines, dft_basis
from classification.inference.options import SLACK
from classification.models.torch_cnn import CNN
from shared.features.spec import AMIN, FLOOR, TOP_DB, FeatureSpec


class FrontEnd(nn.Module):
    """Samples (B, N), N = ``spec.n_samples`` -> spectrograms (B, M, T), as in ``shared.features.transforms``."""

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("basis", torch.from_numpy(dft_basis(spec))[:, None])
        filters = bands(spec)
        self.register_buffer("bands", None if filters is None else torch.from_numpy(filters))
        self.register_buffer("cosines", torch.from_numpy(cosines(spec)) if spec.kind == "mfcc" else None)

    def forward(self, y: Tensor) -> Tensor:
        spec, side = self.spec, self.spec.n_fft // 2
        mode = "reflect" if spec.convention == "torchaudio" and spec.kind != "stft" else "constant"
        parts = F.conv1d(F.pad(y[:, None], (side, side), mode=mode), self.basis, stride=spec.hop_length)
        real, imaginary = parts.chunk(2, dim=1)
        S = real.square() + imaginary.square()
        if spec.power != 2:
            S = S.sqrt() if spec.power == 1 else S.sqrt() ** spec.power
        if self.bands is not None:
            S = self.bands @ S
        if spec.kind == "mfcc":
            return self._fixed(self.cosines @ self._decibels(S, 1.0))
        S = self._fixed(S)
        if spec.scaling == "log1p":
            return S.log1p()
        if spec.scaling == "ln":
            return S.clamp(min=FLOOR).log()
        loudest = S.amax(dim=(1, 2), keepdim=True)
        db = torch.where(loudest > AMIN, self._decibels(S, loudest.clamp(min=AMIN)), -TOP_DB)
        return db if spec.scaling == "db" else db / (TOP_DB / 2) + 1

    @staticmethod
    def _decibels(S: Tensor, reference: Tensor | float) -> Tensor:
        db = 10 * torch.log10(S.clamp(min=AMIN) / reference)
        return torch.maximum(db, db.amax(dim=(1, 2), keepdim=True) - TOP_DB)

    def _fixed(self, S: Tensor) -> Tensor:
        frames = self.spec.shape[-1]
        return F.pad(S[..., :frames], (0, max(0, frames - self.spec.clip_frames)))


class WaveformModel(nn.Module):
    """Waveforms (B, N) of any length at ``spec.sr`` Hz -> probabilities (B, K) and the last layer's inputs (B, D).

    Both are averaged over the windows that ``Classifier.predict`` uses: half-overlapping, the last flush with the end.
    """

    def __init__(self, net: CNN, spec: FeatureSpec) -> None:
        super().__init__()
        self.net, self.front_end = net, FrontEnd(spec)
        self.size, self.step = spec.n_samples, max(1, spec.n_samples // 2)

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        windows = waveform_windows(waveform, size=self.size, step=self.step)  # (B, W, size)
        x = self.front_end(windows.flatten(0, 1))
        hidden = self.net.hidden(x)
        logits = [member.head[-1](h) for member, h in zip(self.net.members, hidden, strict=True)]
        p = torch.stack(logits).softmax(dim=-1).mean(dim=0)
        each = (-1, windows.shape[1])
        return p.unflatten(0, each).mean(dim=1), torch.cat(hidden, dim=1).unflatten(0, each).mean(dim=1)


def waveform_windows(waveform: Tensor, *, size: int, step: int) -> Tensor:
    """The windows of waveforms (B, N): (B, W, size). One of up to SLACK windows is one window; a shorter one is padded.

    N stays free in an exported graph, so all sizes are computed without branches.
    """
    n = waveform.shape[1]
    longer = torch.sym_min(torch.sym_max(n - int(SLACK * size), 0), 1)  # 1 if there are several windows
    last = longer * torch.sym_max(n - size, 0)
    starts = torch.arange((last + step - 1) // step + 1, device=waveform.device) * step
    starts = starts.clamp(max=last)
    padded = F.pad(waveform, (0, size))
    return padded[:, starts[:, None] + torch.arange(size, device=waveform.device)]
