"""The diversity of a generator's samples: about 1 for samples like real clips, 0 with a warning for equal ones."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from generation.diversity import COLLAPSED, KEY, diversity, last, watch
from generation.sampling import Sampler
from generation.scaling import Scaler
from generation.vocoders.vocoder import make_vocoder
from shared.features.batches import Batches
from shared.features.spec import PRESETS, FeatureSpec

MEL = dataclasses.replace(PRESETS["cgan"], n_mels=16, duration=0.5, frames=44)
DIGITS = dataclasses.replace(PRESETS["digits"], bins=32, frames=32, duration=0.25)
WAVEFORM = dataclasses.replace(PRESETS["waveform"], duration=0.5)
LABELS = np.repeat([0, 1], 20)


class Stub(nn.Module):
    """Makes smooth random features, as different from each other as ``spread`` says."""

    def __init__(self, spec: FeatureSpec, spread: float) -> None:
        super().__init__()
        self.shape, self.spread, self.latent = spec.shape, spread, 64
        self.weight = nn.Parameter(
            torch.randn(64, int(np.prod(spec.shape)), generator=torch.Generator().manual_seed(0))
        )

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        random = self.spread * z @ self.weight / 8 + 3.0 + y[:, None]
        return random.view(-1, *self.shape).clamp(min=0)


def made(spec: FeatureSpec, spread: float) -> tuple[Sampler, Batches]:
    """A sampler with a stub, and 20 real clips of each of two classes that differ as with a spread of 1."""
    z = torch.randn(40, 64, generator=torch.Generator().manual_seed(1))
    real = Stub(spec, 1.0)(z, torch.from_numpy(LABELS)).detach().numpy()
    sampler = Sampler(Stub(spec, spread), Scaler("none", 0.0, 100.0), make_vocoder("auto", spec), ["dog", "siren"])
    return sampler, Batches(real, LABELS, batch_size=4)


@pytest.mark.parametrize("spec", [MEL, DIGITS, WAVEFORM], ids=lambda spec: spec.kind)
def test_diversity_is_relative_to_real_clips(spec: FeatureSpec) -> None:
    equal, half, same, double = (diversity(*made(spec, spread), seed=0) for spread in (0.0, 0.5, 1.0, 2.0))
    assert equal == pytest.approx(0, abs=1e-3) and same == pytest.approx(1, abs=0.25)
    assert equal < half < same < double


def test_a_collapse_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    fine, low = [{KEY: 0.9}], [{KEY: 0.1}]
    found = watch(*made(MEL, 0.1), fine, epoch=7, epochs=9, seed=0)
    said = capsys.readouterr().err
    assert said.startswith("warning: epoch 7: ") and "mode collapse" in said and said.count("\n") == 1
    assert 0 < found[KEY] < COLLAPSED and last([found, {}])["samples/collapsed"]
    for history, epoch, warns in (([], 7, False), (low, 7, False), (low, 9, True)):  # it need not be varied at first
        watch(*made(MEL, 0.1), history, epoch=epoch, epochs=9, seed=0)
        assert bool(capsys.readouterr().err) == warns
    found = watch(*made(MEL, 1.0), low, epoch=9, epochs=9, seed=0)
    assert not capsys.readouterr().err and last([{}, found]) == {KEY: found[KEY], "samples/collapsed": False}


def test_equal_real_clips_give_no_figure() -> None:
    sampler, batches = made(MEL, 1.0)
    assert (
        watch(sampler, Batches(np.zeros_like(batches.features), LABELS, batch_size=4), [], epoch=1, epochs=1, seed=0)
        == {}
    )
    assert last([{}]) == {}
