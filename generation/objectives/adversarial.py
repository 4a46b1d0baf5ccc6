"""What a GAN's objective is made of: pairs of losses, the gradient penalties R1 and R2, and augmentation of both sides.

Logits are a tuple with a tensor (B, P) for each size of patch; every size has the same weight.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

Logits = Sequence[Tensor]

# Loss of one size of patches, given its real and its fake logits: first the discriminator's, then the generator's.
LOSSES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    # non-saturating (Goodfellow et al. 2014)
    "bce": (
        lambda real, fake: F.softplus(-real).mean() + F.softplus(fake).mean(),
        lambda real, fake: F.softplus(-fake).mean(),
    ),
    # Lim & Ye 2017
    "hinge": (
        lambda real, fake: F.relu(1 - real).mean() + F.relu(1 + fake).mean(),
        lambda real, fake: -fake.mean(),
    ),
    # each fake against a real clip of its class (Jolicoeur-Martineau 2018; R3GAN: Huang et al. 2024, eq. 1)
    "relativistic": (
        lambda real, fake: F.softplus(fake - real).mean(),
        lambda real, fake: F.softplus(real - fake).mean(),
    ),
}


def as_logits(scores: Tensor | Logits) -> Logits:
    """A discriminator's output as a tuple; one that scores whole clips returns a tensor (B,)."""
    return [x.float() for x in ((scores,) if isinstance(scores, Tensor) else scores)]


def mean_loss(loss: Callable[[Tensor, Tensor], Tensor], real: Logits, fake: Logits) -> Tensor:
    """The loss averaged over the sizes of patches."""
    return torch.stack([loss(r, f) for r, f in zip(real, fake, strict=True)]).mean()


def squared_gradient(discriminator: Callable[[Tensor], Tensor | Logits], x: Tensor) -> Tensor:
    """E |d D / d x|^2 at x (B, ...): R1 on real and R2 on fake clips (Mescheder et al. 2018, eq. 9 and 10).

    D of a clip is the mean over the sizes of patches of their sum, divided by the root of their number: the gradients
    of distant patches are nearly orthogonal, so each patch is penalised as if it were the only one.
    """
    x = x.detach().requires_grad_()
    score = torch.stack([d.reshape(len(x), -1).sum(1) / d[0].numel() ** 0.5 for d in as_logits(discriminator(x))])
    (gradient,) = torch.autograd.grad(score.mean(dim=0).sum(), x, create_graph=True)
    return gradient.flatten(1).square().sum(dim=1).mean()


def augment(x: Tensor, *, shift: float = 0.5, cutout: float = 0.25, gain: float = 0.25) -> Tensor:
    """DiffAugment (Zhao et al. 2020) for spectrograms x (B, 1, M, T): differentiable, a new draw for each clip.

    Applied to real and fake clips, it changes what the discriminator can learn by heart and not what is generated.

    Args:
        shift: frames are rotated by up to this share of T.
        cutout: a rectangle of this share of M and of T becomes 0.
        gain: standard deviation of a constant added to a clip, in the unit of x.
    """
    clips, _, bands, frames = x.shape
    where = {"device": x.device}
    first = (torch.rand(clips, 1, **where) * 2 - 1) * shift * frames
    order = (torch.arange(frames, **where) + first.round().long()) % frames
    x = x.gather(3, order[:, None, None].expand(x.shape))

    def inside(size: int) -> Tensor:
        """Whether a place along one axis is in the clip's rectangle: (B, size)."""
        middle = torch.rand(clips, 1, **where) * size
        return (torch.arange(size, **where) + 0.5 - middle).abs() < cutout * size / 2

    hole = inside(bands)[:, None, :, None] & inside(frames)[:, None, None, :]
    return (x + gain * torch.randn(clips, 1, 1, 1, **where)).masked_fill(hole, 0.0)
