"""The CNN in PyTorch; keras_cnn.py is the same network, layer by layer, in Keras."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from classification.models.architecture import BandStatistics, Pooling, flat_shape


class CNN(nn.Module):
    """(B, M, T) log-mels in dB -> every member's logits (B, R, K).

    Batch norm has Keras's epsilon of 1e-3; the momentum of 0.9 in keras_cnn.py is 0.1 in PyTorch.

    Args:
        shape: (M, T); T may be None. The arguments from ``widths`` to ``standardise`` are those of ``Architecture``.
        statistics: the mean and variance of each band, for ``standardise``.
    """

    def __init__(
        self,
        *,
        shape: tuple[int, int | None],
        n_classes: int,
        widths: Sequence[int],
        kernel: int,
        pooling: Pooling,
        dense: Sequence[int],
        dropout: float,
        members: int,
        centre: bool,
        standardise: bool,
        statistics: BandStatistics | None = None,
    ) -> None:
        super().__init__()
        if standardise:
            bands = shape[0]
            self.register_buffer("mean", torch.zeros(bands, 1))
            self.register_buffer("variance", torch.ones(bands, 1))
            if statistics is not None:
                self.mean.copy_(torch.from_numpy(statistics.mean)[:, None])
                self.variance.copy_(torch.from_numpy(statistics.variance)[:, None])
        self.centre, self.standardise = centre, standardise
        flattened = math.prod(flat_shape(shape, widths)) if pooling == "flatten" else 1
        self.members = nn.ModuleList(
            Member(_blocks(widths, kernel), pooling, _head((1, *widths)[-1] * flattened, dense, dropout, n_classes))
            for _ in range(members)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self._normalised(x)
        return torch.stack([member(x) for member in self.members], dim=1)

    def _normalised(self, x: Tensor) -> Tensor:
        """Centre and standardise, if the network does: (B, M, T) -> (B, 1, M, T)."""
        if self.centre:
            x = x - x.mean(dim=(1, 2), keepdim=True)
        if self.standardise:
            x = (x - self.mean) / self.variance.sqrt()
        return x[:, None]

    def hidden(self, x: Tensor) -> list[Tensor]:
        """The inputs of every member's last layer: (B, M, T) -> R times (B, D)."""
        x = self._normalised(x)
        return [member.head[:-1](member.pooled(x)) for member in self.members]

    def log_probabilities(self, x: Tensor) -> Tensor:
        """The logarithm of the members' mean probabilities: (B, M, T) -> (B, K)."""
        return self.last(self.hidden(x))

    def last(self, hidden: list[Tensor]) -> Tensor:
        """``log_probabilities`` from the result of ``hidden``."""
        logits = torch.stack([member.head[-1](h) for member, h in zip(self.members, hidden, strict=True)], dim=1)
        return logits.float().log_softmax(dim=2).logsumexp(dim=1) - math.log(len(self.members))


class Convolution(nn.Conv2d):
    """Conv2d with the same results, but in training the bias's gradient is computed apart from the kernel's.

    On a CPU, oneDNN takes up to four times as long for both together.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        return nn.functional.conv2d(x, self.weight, padding=self.padding).add_(self.bias[:, None, None])


def _blocks(widths: Sequence[int], kernel: int) -> nn.Sequential:
    """(B, 1, M, T) -> (B, C, M', T')."""
    blocks: list[nn.Module] = []
    for c_in, c_out in zip((1, *widths), widths, strict=False):
        norm = nn.BatchNorm2d(c_out, eps=1e-3, momentum=0.1)
        blocks += [Convolution(c_in, c_out, kernel, padding="same"), nn.ReLU(), norm, nn.MaxPool2d(2)]
    return nn.Sequential(*blocks)


def _head(n_in: int, dense: Sequence[int], dropout: float, n_classes: int) -> nn.Sequential:
    """The pooled map (B, n_in) -> logits (B, K)."""
    layers: list[nn.Module] = []
    for c_in, units in zip((n_in, *dense), dense, strict=False):
        layers += [nn.Linear(c_in, units), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear((n_in, *dense)[-1], n_classes))


class Member(nn.Module):
    """One network: standardised (B, 1, M, T) -> logits (B, K)."""

    def __init__(self, blocks: nn.Sequential, pooling: Pooling, head: nn.Sequential) -> None:
        super().__init__()
        self.blocks, self.pooling, self.head = blocks, pooling, head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pooled(x))

    def pooled(self, x: Tensor) -> Tensor:
        """The inputs of the dense layers: (B, C), or with "flatten" (B, C M' T')."""
        h = self.blocks(x)  # (B, C, M', T')
        if self.pooling == "mean":
            return h.mean(dim=(2, 3))
        if self.pooling == "mean+max":
            h = h.mean(dim=2)  # (B, C, T')
            return h.mean(dim=2) + h.amax(dim=2)
        return h.flatten(1)
