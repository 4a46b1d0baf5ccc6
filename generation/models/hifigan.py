"""HiFi-GAN's generator for inference: log-mel frames -> waveform.

Kong, Kim and Bae, "HiFi-GAN: Generative Adversarial Networks for Efficient and High Fidelity Speech Synthesis"
(NeurIPS 2020), section 2.2 and appendix A.1. Parts have the names of the authors' github.com/jik876/hifi-gan (MIT), so
that its weights load.
"""

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.1  # of every LeakyReLU except the last, which has PyTorch's default of 0.01


def convolutions(channels: int, kernel_size: int, dilations: Sequence[int]) -> nn.ModuleList:
    """One convolution for each dilation; they keep the length."""
    return nn.ModuleList(
        nn.Conv1d(channels, channels, kernel_size, dilation=d, padding=(kernel_size - 1) * d // 2) for d in dilations
    )


class ResBlock1(nn.Module):
    """Residual pairs of a dilated convolution and one without dilation."""

    def __init__(self, channels: int, kernel_size: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.convs1 = convolutions(channels, kernel_size, dilations)
        self.convs2 = convolutions(channels, kernel_size, [1] * len(dilations))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, N) -> (B, C, N)"""
        for dilated, plain in zip(self.convs1, self.convs2, strict=True):
            x = x + plain(F.leaky_relu(dilated(F.leaky_relu(x, SLOPE)), SLOPE))
        return x


class ResBlock2(nn.Module):
    """Residual dilated convolutions: the block of the smallest variant, V3."""

    def __init__(self, channels: int, kernel_size: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.convs = convolutions(channels, kernel_size, dilations)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, N) -> (B, C, N)"""
        for dilated in self.convs:
            x = x + dilated(F.leaky_relu(x, SLOPE))
        return x


class HifiGan(nn.Module):
    """Transposed convolutions, each followed by the mean of residual blocks of several receptive fields.

    Weight normalisation serves training only: its factors are multiplied out when weights are loaded.

    Args:
        n_mels: bands of the input.
        upsample_rates: strides of the transposed convolutions; their product is the number of samples per frame.
        upsample_kernel_sizes: kernel sizes of the transposed convolutions.
        upsample_initial_channel: channels before the first of them; each halves the channels.
        resblock: "1" for ResBlock1 or "2" for ResBlock2.
        resblock_kernel_sizes, resblock_dilation_sizes: of the parallel blocks after each transposed convolution.
    """

    def __init__(
        self,
        *,
        n_mels: int,
        upsample_rates: Sequence[int],
        upsample_kernel_sizes: Sequence[int],
        upsample_initial_channel: int,
        resblock: Literal["1", "2"],
        resblock_kernel_sizes: Sequence[int],
        resblock_dilation_sizes: Sequence[Sequence[int]],
    ) -> None:
        super().__init__()
        block = {"1": ResBlock1, "2": ResBlock2}[resblock]
        channels = [upsample_initial_channel // 2**i for i in range(len(upsample_rates) + 1)]
        self.conv_pre = nn.Conv1d(n_mels, channels[0], 7, padding=3)
        self.ups = nn.ModuleList(
            nn.ConvTranspose1d(channels[i], channels[i + 1], size, rate, padding=(size - rate) // 2)
            for i, (rate, size) in enumerate(zip(upsample_rates, upsample_kernel_sizes, strict=True))
        )
        self.resblocks = nn.ModuleList(
            block(c, size, dilations)
            for c in channels[1:]
            for size, dilations in zip(resblock_kernel_sizes, resblock_dilation_sizes, strict=True)
        )
        self.conv_post = nn.Conv1d(channels[-1], 1, 7, padding=3)
        self.parallel = len(resblock_kernel_sizes)

    def forward(self, x: Tensor) -> Tensor:
        """Log mels (B, M, T) -> waveforms (B, 1, N) in [-1, 1], N = T times the product of the rates."""
        x = self.conv_pre(x)
        for i, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, SLOPE))
            blocks = self.resblocks[i * self.parallel : (i + 1) * self.parallel]
            x = sum(block(x) for block in blocks) / self.parallel
        return self.conv_post(F.leaky_relu(x)).tanh()
