"""The VAEs: shapes, the KL divergence, learning, exact resumption and sampling."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from generation.listening import choose_pairs
from generation.models import cond_vae, wave_vae
from generation.objectives.vae import VaeObjective, kl_divergence, make_nets
from generation.recipes import VAE_MODELS, VaeOptions
from generation.sampling import Sampler
from generation.scaling import Scaler
from shared.errors import UserError
from shared.features.batches import Batches
from shared.features.spec import FeatureSpec
from shared.runs.loop import fit, make_accelerator
from shared.runs.run import Run, describe

WAVES = FeatureSpec(kind="waveform", sr=1000, duration=1.5)
IMAGES = FeatureSpec(
    kind="stft", sr=2000, duration=1.0, n_fft=64, hop_length=64, bins=24, frames=20, power=1.0, scaling="log1p"
)
SPECS = {"conv1d": WAVES, "convpool": WAVES, "cvae": IMAGES}
CONFIG = describe({"epochs": 3}, {"root": "d", "clips": 8, "fingerprint": "f"})


class Vocoder:
    """Replaces a vocoder by the mean over the bands."""

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec

    def __call__(self, S: Tensor) -> Tensor:
        return S if self.spec.kind == "waveform" else S.mean(dim=1)


def make_batches(model: str) -> Batches:
    """Eight clips of two classes with energy in different bands."""
    rng, spec = np.random.default_rng(0), SPECS[model]
    x = rng.normal(0, 0.05, (8, *spec.shape)).astype(np.float32)
    if spec.kind == "waveform":
        x += 0.5 * np.sin(np.arange(spec.n_samples) * np.array([[0.3], [0.5]] * 4)).astype(np.float32)
    else:
        x[::2, :12] += 1
        x[1::2, 12:] += 1
    return Batches(x, [0, 1] * 4, batch_size=3, seed=0, shuffle=True)


def make_objective(model: str, *, learning_rate: float = 1e-3, **how: float) -> VaeObjective:
    torch.manual_seed(0)
    nets = make_nets(VaeOptions(model=model, latent=4), SPECS[model], 2)
    accelerator = make_accelerator("cpu", "float32")
    return VaeObjective(*nets, Scaler("dataset", -1.0, 2.0), accelerator, learning_rate=learning_rate, **how)


def losses(run: Run) -> list[dict[str, float]]:
    return [{k: v for k, v in line.items() if "time" not in k} for line in run.history()]


@pytest.mark.parametrize("samples", [1024, 1500, 3001])
@pytest.mark.parametrize("pooling", [False, True])
def test_waveforms_of_any_length_are_encoded_and_decoded(samples: int, pooling: bool) -> None:
    y = torch.zeros(2, dtype=torch.long)
    mean, log_variance = wave_vae.Encoder(samples=samples, latent=5, pooling=pooling)(torch.randn(2, samples), y)
    assert mean.shape == log_variance.shape == (2, 5)
    assert wave_vae.Decoder(samples=samples, latent=5, pooling=pooling)(mean, y).shape == (2, samples)


@pytest.mark.parametrize("shape", [(128, 128), (24, 20), (37, 65)])
@pytest.mark.parametrize("n_classes", [1, 10])
def test_spectrograms_of_any_shape_are_encoded_and_decoded(shape: tuple[int, int], n_classes: int) -> None:
    y = torch.arange(2) % n_classes
    mean, log_variance = cond_vae.Encoder(n_classes, shape=shape)(torch.randn(2, *shape), y)
    assert mean.shape == log_variance.shape == (2, 10)
    x = cond_vae.Decoder(n_classes, shape=shape)(mean, y)
    assert x.shape == (2, *shape) and x.abs().max() <= 1


def test_the_networks_have_the_documented_layers() -> None:
    def widths(net: torch.nn.Module, kind: type[torch.nn.Module]) -> list[tuple[int, int]]:
        return [(m.in_channels, m.out_channels) for m in net.layers if isinstance(m, kind)]

    encoder, decoder = cond_vae.Encoder(10), cond_vae.Decoder(10)
    assert widths(encoder, torch.nn.Conv2d) == [(1, 8), (8, 16), (16, 32), (32, 64)]
    assert sum(isinstance(m, torch.nn.MaxPool2d) for m in encoder.layers) == 4
    assert encoder.posterior[0].in_features == 64 * 8 * 8 + 10 and decoder.dense[0].in_features == 10 + 10
    assert len(widths(decoder, torch.nn.ConvTranspose2d)) == 2
    for pooling, kind in ((False, torch.nn.ConvTranspose1d), (True, torch.nn.Conv1d)):
        encoder, decoder = (net(samples=45675, pooling=pooling) for net in (wave_vae.Encoder, wave_vae.Decoder))
        there, back = widths(encoder, torch.nn.Conv1d), widths(decoder, kind)
        assert back == [(b, a) for a, b in reversed(there)]
        assert sum(isinstance(m, torch.nn.MaxPool1d) for m in encoder.layers) == pooling * len(there)


def test_the_kl_divergence_equals_torchs_and_an_estimate_by_sampling() -> None:
    torch.manual_seed(0)
    mean, log_variance = torch.randn(6, 3), torch.randn(6, 3)
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    prior = torch.distributions.Normal(0.0, 1.0)
    kl = kl_divergence(mean, log_variance)
    torch.testing.assert_close(kl, torch.distributions.kl_divergence(posterior, prior).sum(dim=1))
    z = posterior.sample((4_000,))
    sampled = (posterior.log_prob(z) - prior.log_prob(z)).sum(dim=2).mean(dim=0)
    torch.testing.assert_close(kl, sampled, atol=0.15, rtol=0.1)
    assert kl_divergence(torch.zeros(1, 3), torch.zeros(1, 3)).item() == 0


def test_the_error_is_summed_over_a_clip() -> None:
    vae, x = make_objective("conv1d", kl_weight=0.5), torch.from_numpy(make_batches("conv1d").features[:2])
    metrics = vae.step(x, torch.zeros(2, dtype=torch.long))
    expected = vae.scaler.forward(x).square().sum() / 2  # the untrained decoder returns zeros
    torch.testing.assert_close(metrics["train/mse"], expected)
    torch.testing.assert_close(metrics["train/loss"], metrics["train/mse"] + 0.5 * metrics["train/kl"])


@pytest.mark.parametrize("model", SPECS)
def test_the_loss_falls(model: str) -> None:
    vae, batches = make_objective(model), make_batches(model)
    x, y = map(torch.from_numpy, (batches.features, batches.labels))
    first = vae.step(x, y)
    for _ in range(40):
        last = vae.step(x, y)
    assert last["train/loss"] < 0.5 * first["train/loss"] and last["train/kl"] > 0
    left = (vae.decode(vae.encode(x, y), y) - x).square().mean()
    assert left < 0.5 * x.var()  # the same output for all clips would leave the whole variance


def test_the_label_selects_the_class() -> None:
    vae, batches = make_objective("cvae", learning_rate=3e-3), make_batches("cvae")
    for epoch in range(30):
        for x, y in batches(epoch):
            vae.step(torch.from_numpy(x), torch.from_numpy(y))
    sampler = Sampler(vae.decoder, vae.scaler, Vocoder(IMAGES), ["low", "high"])
    for label, sign in (("low", 1), ("high", -1)):
        S = sampler.arrays([label] * 8, seed=1)
        difference = S[:, :12].mean(dim=(1, 2)) - S[:, 12:].mean(dim=(1, 2))
        assert (sign * difference > 0.5).all()


@pytest.mark.parametrize("model", SPECS)
def test_a_killed_run_resumes_to_the_same_losses(model: str, tmp_path: Path) -> None:
    batches, device = make_batches(model), torch.device("cpu")

    def trained(folder: str, stops: Sequence[int], *, listen: bool) -> list[dict[str, float]]:
        for epochs in stops:
            vae, run = make_objective(model), Run(tmp_path / folder, CONFIG)

            def decode(epoch: int, vae: VaeObjective = vae) -> None:
                x, y = map(torch.from_numpy, batches.get(0, 0))
                vae.decode(vae.encode(x, y) + torch.randn(len(x), 4), y)

            fit(vae, batches, run, epochs=epochs, device=device, on_epoch=decode if listen else None)
            run.close()
        return losses(run)

    whole, killed = trained("whole", [3], listen=False), trained("killed", [1, 2, 3], listen=True)
    assert len(whole) == 3 and whole == killed


@pytest.mark.parametrize("model", SPECS)
def test_a_reloaded_decoder_generates_the_same(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generation.sampling.make_vocoder", lambda name, spec, **how: Vocoder(spec))
    vae, batches = make_objective(model), make_batches(model)
    vae.step(*map(torch.from_numpy, batches.get(0, 0)))  # gives batch norm its statistics
    sampler = Sampler(vae.decoder, vae.scaler, Vocoder(SPECS[model]), ["a", "b"])
    sampler.save(tmp_path)
    S, again = (s.arrays(["a", "b", "b"], seed=3) for s in (sampler, Sampler.load(tmp_path, device="cpu")))
    assert torch.equal(S, again) and S.shape == (3, *SPECS[model].shape) and not torch.equal(S[1], S[2])


@pytest.mark.parametrize("labels", [[0], [0, 0, 0], [0, 1], [2, 1, 0, 1, 0, 2]])
def test_pairs_share_a_class(labels: list[int]) -> None:
    pairs = choose_pairs(np.array(labels))
    assert all(labels[a] == labels[b] for a, b in pairs)
    assert len(labels) < 6 or all(a != b for a, b in pairs)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": "conv1d", "conditional": True}, "--conditional.*cvae"),
        ({"model": "convpool", "features": "amplitude"}, "--features amplitude.*waveforms"),
        ({"model": "cvae", "features": "waveform"}, "--features waveform.*spectrograms"),
        ({"model": "cvae", "kl_weight": -1.0}, "--kl-weight -1.0"),
    ],
)
def test_options_that_contradict_are_refused(changed: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        VaeOptions(**VAE_MODELS[changed["model"]] | changed).check()
