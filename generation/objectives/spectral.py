"""The distance of two sounds' spectra, as a loss and as a measure."""

import torch
from torch import Tensor

from generation.stft import stft

N_FFTS = (512, 1024, 2048)
QUANTISATION = 2e-4  # about the magnitude of a bin that holds only the rounding noise of 16-bit samples
QUIET = 1.0  # smallest norm of a spectrum that an error is divided by


def multi_resolution_stft(y: Tensor, target: Tensor) -> Tensor:
    """The distance of waveforms y (B, N) from ``target`` (B, N), averaged over clips and FFT lengths.

    For each length it is the spectral convergence ||A - B|| / ||B|| of the magnitudes plus the mean absolute error of
    their logarithms (Yamamoto, Song & Kim 2020, equations 3 to 5).
    """
    total = torch.zeros((), device=y.device)
    for n_fft in N_FFTS:
        transform = stft(n_fft=n_fft, hop_length=n_fft // 4, length=y.shape[-1], device=y.device)
        A, B = (transform(x.float()).abs() for x in (y, target))
        norms = ((A - B).flatten(1).norm(dim=1), B.flatten(1).norm(dim=1).clamp(min=QUIET))
        logs = (x.clamp(min=QUANTISATION).log() for x in (A, B))
        total = total + (norms[0] / norms[1]).mean() + torch.nn.functional.l1_loss(*logs)
    return total / len(N_FFTS)
