"""The generators by name: options, variants, networks and objective. The only place that lists them.

Code is named by its path "module:name" and imported on use, so that --help does not import torch.
"""

import dataclasses
from collections.abc import Mapping
from pkgutil import resolve_name as load
from typing import Any, Literal

from generation import flow_recipes, recipes
from shared.runs.options import Precision, parse

# Name in generator.json -> paths of the network that makes new features, and of the discriminator, critic, encoder or
# estimator that is trained with it.
NETS = {
    "flow": ("generation.models.flow_net:Generator", "generation.models.flow_net:FlowNet"),
    "gan2d": ("generation.models.gan2d:Generator", "generation.models.gan2d:Discriminator"),
    "style": ("generation.models.style_gan:Generator", "generation.models.style_gan:Discriminator"),
    "linear": ("generation.models.linear_gan:Generator", "generation.models.linear_gan:Discriminator"),
    "wgan_gp_dense": ("generation.models.wgan_gp:DenseGenerator", "generation.models.wgan_gp:DenseCritic"),
    "wgan_gp_conv": ("generation.models.wgan_gp:ConvGenerator", "generation.models.wgan_gp:ConvCritic"),
    "wave_vae": ("generation.models.wave_vae:Decoder", "generation.models.wave_vae:Encoder"),
    "cond_vae": ("generation.models.cond_vae:Decoder", "generation.models.cond_vae:Encoder"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """What one training script trains.

    Attributes:
        name: runs go to runs/<name>-<variant> unless --out-dir is given.
        options: its command-line options with their defaults.
        choice: the option that chooses a variant.
        variants: variant -> the options that it changes.
        nets_option: the option that chooses the networks.
        nets: value of that option -> name in NETS.
        build: path of a function (options, spec, n_classes, batches, accelerator) -> objectives.trained.Parts.
        listen: path of a function (objective, sampler, batches, out_dir, epoch, *, seed) for more sounds, or None.
        family: first word in the names of the folders for sounds and figures.
        auto_precision: meaning of --precision auto; "auto" decides by the machine.
        several: whether several processes can train it together (shared/runs/ranks.py).
    """

    name: str
    options: type[recipes.GeneratorOptions]
    choice: Literal["recipe", "experiment", "model"]
    variants: Mapping[Any, Mapping[str, Any]]
    nets_option: Literal["net", "model"] = "net"
    nets: Mapping[str, str]
    build: str
    listen: str | None = None
    family: Literal["gan", "vae", "flow"] = "gan"
    auto_precision: Precision = "auto"
    several: bool = True

    def train(self) -> None:
        """Train with the options of the command line."""
        recipes = self.variants if self.choice == "recipe" else {"plain": {}}
        options = parse(self.options, recipes, models=self.variants if self.choice == "model" else None)
        load("generation.training:train")(options)  # imports torch and pandas, which --help does not need


_KINDS = (
    Kind(
        name="flow",
        options=flow_recipes.FlowOptions,
        choice="recipe",
        variants=flow_recipes.FLOW_RECIPES,
        nets={"flow": "flow"},
        build="generation.objectives.flow:build",
        family="flow",
    ),
    Kind(
        name="cgan",
        options=recipes.CganOptions,
        choice="recipe",
        variants=recipes.CGAN_RECIPES,
        nets={"dcgan": "gan2d", "style": "style", "linear": "linear"},
        build="generation.objectives.gan:build",
    ),
    Kind(
        name="wgan-gp",
        options=recipes.WganOptions,
        choice="experiment",
        variants={number: {"features": experiment.features} for number, experiment in recipes.EXPERIMENTS.items()},
        nets={"dense": "wgan_gp_dense", "conv": "wgan_gp_conv"},
        build="generation.objectives.wgan_gp:build",
        auto_precision="float32",
        several=False,
    ),
    Kind(
        name="vae",
        options=recipes.VaeOptions,
        choice="model",
        variants=recipes.VAE_MODELS,
        nets_option="model",
        nets={"conv1d": "wave_vae", "convpool": "wave_vae", "cvae": "cond_vae"},
        build="generation.objectives.vae:build",
        listen="generation.listening:write_reconstructions",
        family="vae",
    ),
)
KINDS = {kind.name: kind for kind in _KINDS}


def kind_of(options: recipes.GeneratorOptions) -> Kind:
    return next(kind for kind in KINDS.values() if type(options) is kind.options)


def load_nets(options: recipes.GeneratorOptions) -> tuple[type, type]:
    """The classes of the two networks that the options choose."""
    kind = kind_of(options)
    generator, partner = NETS[kind.nets[getattr(options, kind.nets_option)]]
    return load(generator), load(partner)
