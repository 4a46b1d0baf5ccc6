"""The plain CNN in PyTorch, layer for layer the twin of keras_cnn.py."""

from collections.abc import Sequence

from torch import Tensor, nn


class PlainCNN(nn.Module):
    """(B, M, T) log-mels in dB -> (B, K) logits; a convolutional block halves M and T.

    Keras's numbers where the libraries' defaults differ: Glorot-uniform weights, zero biases, batch norm with
    epsilon 1e-3; the twin's momentum of 0.9 is 0.1 here, counted from the other end.
    """

    def __init__(self, n_classes: int, *, widths: Sequence[int] = (32, 64, 128), dropout: float = 0.3) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for c_in, c_out in zip((1, *widths[:-1]), widths, strict=True):
            blocks += [
                nn.Conv2d(c_in, c_out, 3, padding="same"),
                nn.ReLU(),
                nn.BatchNorm2d(c_out, eps=1e-3, momentum=0.1),
                nn.MaxPool2d(2),
            ]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(nn.Linear(widths[-1], 128), nn.ReLU(), nn.Dropout(dropout), nn.Linear(128, n_classes))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        h = self.blocks(x[:, None])  # (B, 1, M, T) -> (B, C, M / 8, T / 8)
        return self.head(h.mean(dim=(2, 3)))
