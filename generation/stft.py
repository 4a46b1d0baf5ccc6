"""The STFT in PyTorch, on any device and with gradients: its inverse, log-mels and theirs, and Griffin-Lim."""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared.features.spec import FLOOR, FeatureSpec
from shared.features.transforms import mel_filterbank

TINY = 1e-10  # smaller magnitudes count as silence
UPDATES = 10  # of inverse_mel
MOMENTUM = 0.99  # of the fast Griffin-Lim iteration
CLIPS = 4  # reconstructed together on a CPU; more do not fit into its cache


class Stft:
    """The zero-padded, centered Hann STFT of waveforms (B, length) and its least-squares inverse.

    The bins of a frame are contiguous, (B, T, F), which is about twice as fast as torch.stft and istft.
    """

    def __init__(self, *, n_fft: int, hop_length: int, length: int, device: torch.device | str = "cpu") -> None:
        self.n_fft, self.hop_length, self.length = n_fft, hop_length, length
        self.window = torch.hann_window(n_fft, device=device)
        squares = self.window.square().expand(1, 1 + length // hop_length, n_fft)
        self.gain = 1 / self.overlap_add(squares).clamp(min=TINY)

    def __call__(self, y: Tensor) -> Tensor:
        """(B, length) -> complex (B, T, F)."""
        frames = F.pad(y, (self.n_fft // 2, self.n_fft // 2)).unfold(-1, self.n_fft, self.hop_length)
        return torch.fft.rfft(frames * self.window)

    def inverse(self, X: Tensor) -> Tensor:
        """(B, T, F) -> the waveforms (B, length) whose STFT is closest to it."""
        return self.overlap_add(torch.fft.irfft(X, n=self.n_fft).mul_(self.window)) * self.gain

    def overlap_add(self, frames: Tensor) -> Tensor:
        """(B, T, n_fft) -> (B, length)."""
        clips, count, _ = frames.shape
        pieces = frames.split(self.hop_length, dim=-1)
        y = frames.new_zeros(clips, count + len(pieces) - 1, self.hop_length)
        for i, piece in enumerate(pieces):
            y[:, i : i + count, : piece.shape[-1]] += piece
        return y.flatten(1)[:, self.n_fft // 2 :][:, : self.length]


def initial_phase(A: Tensor, *, n_fft: int, hop_length: int) -> Tensor:
    """Phases (B, T, F), in radians, that fit the magnitudes A (B, T, F) of a Hann STFT.

    The derivatives of the phase follow from those of the log magnitude (Prusa, Balazs & Sondergaard 2017, phase
    gradient heap integration). They are integrated without a heap, all clips at once: along time at the peaks of each
    frame, as in Beauregard, Harish & Wyse (2015), and along frequency from each peak down its two slopes.
    """
    gamma = 0.25645 * n_fft**2  # of the Gaussian window that is closest to the Hann window
    logs = (A + TINY).log()
    bins = torch.arange(A.shape[-1], device=A.device)
    by_bin = F.pad((logs[..., 2:] - logs[..., :-2]) / 2, (1, 1))
    by_frame = F.pad((logs[:, 2:] - logs[:, :-2]) / 2, (0, 0, 1, 1))
    per_frame = 2 * math.pi * hop_length / n_fft * bins + hop_length * n_fft / gamma * by_bin
    per_bin = -math.pi - gamma / (hop_length * n_fft) * by_frame
    along_bins = F.pad((per_bin[..., 1:] + per_bin[..., :-1]) / 2, (1, 0)).cumsum(-1)
    step = F.pad((per_frame[:, 1:] + per_frame[:, :-1]) / 2, (0, 0, 1, 0))

    below, above = F.pad(A, (1, 0))[..., :-1], F.pad(A, (0, 1))[..., 1:]
    peak = (below < A) & (above <= A)
    number = peak.cumsum(-1)  # of the last peak up to each bin, from 1 on
    most = A.shape[-1] // 2 + 3
    peaks = number.new_full((*A.shape[:-1], most), A.shape[-1] - 1)  # the bin of each peak; then the last bin
    peaks.scatter_(-1, number * peak, bins.expand_as(number))
    peaks[..., 0] = 0  # before the first peak, the first bin
    source = peaks.gather(-1, number + ((above > below) & ~peak))  # the peak on whose slope a bin lies
    phase = ((step - along_bins).gather(-1, source) + along_bins).remainder(2 * math.pi)
    frames = phase.unbind(1)  # indexing each frame in the loop takes twice as long
    for previous, frame, sources in zip(frames, frames[1:], source.unbind(1)[1:], strict=False):
        frame += previous.gather(-1, sources)
    return phase


def griffin_lim(A: Tensor, transform: Stft, *, iterations: int) -> Tensor:
    """Magnitudes A (B, T, F) -> the waveforms (B, N) of ``transform``'s length whose STFT nearly has them.

    The fast Griffin-Lim of Perraudin, Balazs & Sondergaard (2013) starts from ``initial_phase`` here, so it needs
    no random numbers. The STFT is linear, so the momentum is applied to the waveforms.
    """
    waveforms = []
    for part in A.split(CLIPS if A.device.type == "cpu" else len(A)):
        phase = initial_phase(part, n_fft=transform.n_fft, hop_length=transform.hop_length)
        y = previous = transform.inverse(torch.complex(part * phase.cos(), part * phase.sin()))  # faster than polar
        for _ in range(iterations):
            X = transform(torch.lerp(previous, y, 1 + MOMENTUM))
            previous, y = y, transform.inverse(X.sgn_().mul_(part))
        waveforms.append(y)
    return torch.cat(waveforms)


@lru_cache(maxsize=16)
def stft(*, n_fft: int, hop_length: int, length: int, device: torch.device) -> Stft:
    """The Stft of these sizes; its window and gain are computed once."""
    return Stft(n_fft=n_fft, hop_length=hop_length, length=length, device=device)


class BandMatrix:
    """A matrix whose values other than 0 lie in a band, as dense blocks of rows: a fifth of the multiplications."""

    def __init__(self, matrix: Tensor, *, rows: int, device: torch.device | str | None = None) -> None:
        self.blocks: list[tuple[Tensor, int, int]] = []  # block, its first column, the column after its last
        for block in matrix.split(rows):
            used = block.any(0).nonzero()
            first, end = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 0)
            self.blocks.append((block[:, first:end].contiguous().to(device), first, end))

    def __matmul__(self, x: Tensor) -> Tensor:
        """(B, columns, T) -> (B, rows, T)."""
        return torch.cat([block @ x[:, first:end] for block, first, end in self.blocks], dim=1)


def mel_bands(filterbank: Tensor, *, device: torch.device | str | None = None) -> tuple[BandMatrix, BandMatrix]:
    """For ``inverse_mel``: a filterbank (M, F), and the matrix (F, M) that spreads each band evenly over its bins."""
    spread = (filterbank / filterbank.sum(0).clamp(min=TINY)).T
    return BandMatrix(filterbank, rows=32, device=device), BandMatrix(spread, rows=128, device=device)


def inverse_mel(mel: Tensor, filterbank: BandMatrix, spread: BandMatrix) -> Tensor:
    """Mels (B, M, T) of ``mel_bands``, unscaled -> linear magnitudes or powers (B, F, T).

    The multiplicative updates of Richardson (1972) and Lucy (1974) minimise KL divergence over non-negative spectra.
    They start with each band spread evenly over its bins. Of the many spectra with the same mels they find a smooth
    one. The least squares of a pseudo-inverse give negative values, and cutting these off changes the mels.
    """
    S = spread @ mel
    for _ in range(UPDATES):
        S *= spread @ ((mel + TINY) / (filterbank @ S + TINY))
    return S


class LogMel(nn.Module):
    """Waveforms (B, N) of any length -> ln(max(mel, 1e-5)) (B, M, 1 + N // hop_length), with gradients.

    Equals ``shared.features.transforms.log_mel`` for a spec of log-mels scaled ln in librosa's convention.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.sizes, self.power = {"n_fft": spec.n_fft, "hop_length": spec.hop_length}, spec.power
        self.register_buffer("filterbank", torch.from_numpy(mel_filterbank(spec)).T.contiguous(), persistent=False)

    def forward(self, y: Tensor) -> Tensor:
        magnitude = stft(**self.sizes, length=y.shape[-1], device=y.device)(y).abs()
        return (magnitude**self.power @ self.filterbank).clamp(min=FLOOR).log().mT
