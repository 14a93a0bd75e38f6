"""What is being judged: an encoder with its data, loaded when a protocol first asks."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from sslbench.data import Dataset
from sslbench.engine.checkpoint import load_weights
from sslbench.engine.folder import RunFolder
from sslbench.engine.progress import Progress
from sslbench.errors import UserError
from sslbench.evaluation.accuracy import chunks
from sslbench.evaluation.features import (
    BATCH_SIZE,
    DIVERGED,
    Features,
    cache_key,
    evaluation_mode,
    extract,
    file_hash,
    forward,
    read_features,
    write_features,
)
from sslbench.evaluation.large import write_encoded
from sslbench.methods import MaskedModelling
from sslbench.models import build_encoder, build_head
from sslbench.models.card import EncoderCard
from sslbench.models.export import Layout, export_encoder
from sslbench.models.heads import width
from sslbench.models.positions import at_side
from sslbench.objectives import Prototypes
from sslbench.recipes.families import JointRecipe, MaskedRecipe
from sslbench.recipes.recipe import Recipe
from sslbench.recipes.specs import Data, Views, ViT
from sslbench.views import Augmenter

Module = TypeVar("Module", bound=nn.Module)
Channels = tuple[float, float, float]
_ROWS = 4096  # features projected at a time


@dataclass(frozen=True)
class Subject:
    """A finished run's encoder on a data set; labelled, unless it was opened without.

    Labels are read where `labelled` says that there are some.

    Attributes:
        label: names the data set in the files beside the run.
        mean, std: the normalisation of the encoder's training.
        data: names the data set; root: where data sets lie.
        progress: told by protocols that train, at some of their steps.
    """

    folder: RunFolder
    recipe: Recipe
    dataset: Dataset
    label: str
    device: torch.device
    mean: Channels
    std: Channels
    data: Data
    root: Path
    progress: Progress | None = None

    @property
    def labelled(self) -> bool:
        """Whether training and test images have labels."""
        return self.dataset.train.labels is not None and self.dataset.test.labels is not None

    @property
    def train_labels(self) -> Tensor:
        """N int64 on the CPU."""
        assert self.dataset.train.labels is not None
        return self.dataset.train.labels.cpu()

    @property
    def test_labels(self) -> Tensor:
        """M int64 on the CPU."""
        assert self.dataset.test.labels is not None
        return self.dataset.test.labels.cpu()

    @property
    def heldout(self) -> Tensor:
        """Positions in train for choosing settings, on the CPU."""
        return self.dataset.heldout.cpu()

    @property
    def num_classes(self) -> int:
        """Of the data set."""
        return len(self.dataset.classes)

    def fits_path(self, protocol: str) -> Path:
        """Where a protocol that trains keeps what it has of its unfinished fits."""
        return self.folder.path / "fits" / f"{self.label}.{protocol}"

    @functools.cached_property
    def encoder(self) -> nn.Module:
        """The trained encoder on the device, in evaluation mode.

        Raises:
            UserError: its file is missing, damaged, or of another architecture.
        """
        return loaded_encoder(
            self.folder, self.recipe, resolution=self.dataset.resolution, mean=self.mean,
            std=self.std,
        ).to(self.device)  # fmt: skip

    @functools.cached_property
    def projector(self) -> nn.Module:
        """The trained projector on the device, in evaluation mode; without one, the identity.

        Raises:
            UserError: supervised training has none, the run kept none, or its file is damaged.
        """
        return loaded_projector(self.folder, self.recipe, self.encoder).to(self.device)

    @functools.cached_property
    def masked(self) -> MaskedModelling:
        """Encoder, decoder and target of a masked run on the device, in evaluation mode.

        Raises:
            UserError: another recipe, or one whose target is no picture; the run kept no decoder,
                or its file is damaged.
        """
        return loaded_masked(self.folder, self.recipe, self.dataset.resolution).to(self.device)

    @functools.cached_property
    def prototypes(self) -> Prototypes:
        """The trained prototypes on the device.

        Raises:
            UserError: the recipe has none, the run kept none, or its file is damaged.
        """
        out = width(self.projector, "out_features")
        return loaded_prototypes(self.folder, self.recipe, out).to(self.device)

    @functools.cached_property
    def features(self) -> Features:
        """From the cache beside the run, or extracted now and kept there."""
        return self.features_by(self.encoder)

    def features_by(self, encoder: nn.Module, *, kept_as: str = "") -> Features:
        """What a network with the run's weights makes of the images, kept beside the run.

        An encoder without parameters is cheaper to run than its features are to read.

        Args:
            encoder: the run's, or a module that reads it in another way.
            kept_as: names that way; "" is the encoder's own output.
        """
        advice = DIVERGED
        if file := self.folder.summary().get("encoder_file"):
            advice = (
                f"its file, {file['name']}, is damaged, or was trained on images of another "
                "normalisation: see --mean and --std."
            )
        how: Any = {"mean": self.mean, "std": self.std, "advice": advice}
        if next(encoder.parameters(), None) is None:
            return extract(encoder, self.dataset, **how)
        key = cache_key(
            encoder=file_hash(self.folder.encoder_path),
            fingerprint=self.dataset.fingerprint,
            mean=self.mean,
            std=self.std,
            read=kept_as,
        )
        path = features_path(self.folder, self.dataset, kept_as=kept_as)
        features = read_features(path, key=key)
        if features is None and self.dataset.streamed:
            write_encoded(path, encoder, self.dataset, key=key, **how)
            features = read_features(path, key=key)
        if features is None:
            features = extract(encoder, self.dataset, **how)
            write_features(path, features, key=key)
        return features

    @torch.no_grad()
    def project(self, features: Tensor) -> Tensor:
        """z = g(h): features N×D to projections N×D' on the device. Raises UserError."""
        parts = chunks(features, _ROWS)
        return torch.cat([self.projector(part.to(self.device)).float() for part in parts])

    @torch.no_grad()
    def encode_views(self, images: Tensor, rows: Tensor, views: Views, *, key: int) -> list[Tensor]:
        """Features of augmented images, in evaluation mode: for each view N×D on the device.

        Args:
            images: uint8 images, of which those at N int64 positions `rows` are taken.
            key: from `streams.stream_key`; a row has the same views in whatever batch it is.
        """
        augment = Augmenter(views, resolution=self.dataset.resolution, mean=self.mean, std=self.std)
        batches = []
        with evaluation_mode(self.encoder):
            for samples in chunks(rows, BATCH_SIZE):
                batch = images[samples.to(images.device)].to(self.device)
                drawn = augment(batch, key=key, samples=samples.to(self.device))
                batches.append([forward(self.encoder, view.images) for view in drawn])
        return [torch.cat(parts) for parts in zip(*batches, strict=True)]


def features_path(folder: RunFolder, dataset: Dataset, *, kept_as: str = "") -> Path:
    """Where a run keeps its features of a data set, those that are read in some way apart."""
    way = f".{kept_as}" if kept_as else ""
    return folder.features_dir / f"{dataset.name}-{dataset.fingerprint[:12]}{way}.safetensors"


def exported(folder: RunFolder, path: Path, *, layout: Layout) -> None:
    """Write a finished run's encoder as a file that says itself what it is. Raises UserError."""
    encoder, card = encoder_of(folder)
    export_encoder(encoder, card.encoder, path, layout, card)


def encoder_of(folder: RunFolder) -> tuple[nn.Module, EncoderCard]:
    """A finished run's encoder on the CPU, in evaluation mode, and what it is. Raises UserError."""
    if folder.status() != "finished":
        raise UserError(f"{folder.path} is {folder.status()}, not finished; finish it first.")
    experiment, summary = folder.experiment(), folder.summary()
    if not {"resolution", "mean", "std"} <= summary.keys():
        raise UserError(
            f"{folder.summary_path} does not say what images the encoder was trained on; train it "
            "again."
        )
    card = EncoderCard.from_dict(
        {
            "encoder": experiment.recipe.encoder,
            "views": experiment.recipe.views,
            "resolution": summary["resolution"],
            "normalization": {"mean": summary["mean"], "std": summary["std"]},
            "data": experiment.data,
            "scale": experiment.scale,
        }
    )
    normalization = card.normalization
    encoder = loaded_encoder(
        folder, experiment.recipe, resolution=card.resolution, mean=normalization.mean,
        std=normalization.std,
    )  # fmt: skip
    return encoder, card


def loaded_encoder(
    folder: RunFolder, recipe: Recipe, *, resolution: int, mean: Channels, std: Channels
) -> nn.Module:
    """A run's encoder on the CPU, in evaluation mode, for images of that side: a ViT's positions
    are resampled where it was trained at another. Raises UserError."""
    folder.require_code(recipe.encoder)
    with torch.random.fork_rng(devices=[]):  # the initialisation is drawn, then overwritten
        encoder = build_encoder(recipe.encoder, resolution=resolution, mean=mean, std=std)
    what = f"{type(recipe.encoder).__name__} at {resolution} pixels"
    weights = load_weights(folder.encoder_path)
    if isinstance(recipe.encoder, ViT) and "pos_embed" in weights:
        weights["pos_embed"] = at_side(weights["pos_embed"], resolution // recipe.encoder.patch)
    return _filled(encoder, folder.encoder_path, what, weights)


def loaded_projector(folder: RunFolder, recipe: Recipe, encoder: nn.Module) -> nn.Module:
    """A run's projector on the CPU, in evaluation mode. Raises UserError."""
    if recipe.needs_labels:
        raise UserError(
            f"{folder.path.name} was trained with labels and has no projector; choose another run, "
            "or --space representation where there is a choice."
        )
    with torch.random.fork_rng(devices=[]):
        projector = build_head(recipe.vector_projector, width(encoder, "num_features"))
    if not projector.state_dict():
        return projector.eval()
    if not folder.network_path("projector").is_file():
        raise UserError(
            f"{folder.path.name} was finished by an earlier version, which kept no projector; move "
            "the folder away and train it again, or use --space representation where there is a "
            "choice."
        )
    return _filled(projector, folder.network_path("projector"), "the recipe's projector")


def loaded_prototypes(folder: RunFolder, recipe: Recipe, projected: int) -> Prototypes:
    """A run's prototypes of projections of a width, on the CPU. Raises UserError."""
    spec = recipe.prototypes if isinstance(recipe, JointRecipe) else None
    if spec is None:
        raise UserError(
            f"{folder.path.name} was trained without prototypes; choose a run of a recipe that has "
            "them, such as swav or dino."
        )
    if not folder.network_path("prototypes").is_file():
        raise UserError(
            f"{folder.path.name} was finished by an earlier version, which kept no prototypes; "
            "move the folder away and train it again."
        )
    with torch.random.fork_rng(devices=[]):
        prototypes = Prototypes(spec, projected)
    return _filled(prototypes, folder.network_path("prototypes"), "the recipe's prototypes")


def loaded_masked(folder: RunFolder, recipe: Recipe, resolution: int) -> MaskedModelling:
    """All networks of a masked run on the CPU, in evaluation mode. Raises UserError."""
    if not isinstance(recipe, MaskedRecipe):
        raise UserError(
            f"{folder.path.name} was not trained to fill in hidden patches; choose a run of a "
            "recipe that is, such as mae."
        )
    target = recipe.objective.target
    if not target.is_picture:
        raise UserError(
            f"{folder.path.name} predicts {type(target).__name__}, of which no picture can be "
            "made; choose a run that predicts pixels, components or a codebook's entries."
        )
    with torch.random.fork_rng(devices=[]):
        method = MaskedModelling(recipe, resolution=resolution)
    for name, network in method.exported().items():
        if network.state_dict():  # of pixels nothing is kept
            _filled(network, folder.network_path(name), f"the recipe's {name}")
    return method.eval()


def _filled(
    module: Module, path: Path, what: str, weights: dict[str, Tensor] | None = None
) -> Module:
    """A module with the weights of a file, or those that were made of them."""
    try:
        module.load_state_dict(load_weights(path) if weights is None else weights)
    except RuntimeError as error:
        raise UserError(
            f"{path} does not fit {what} ({str(error).splitlines()[-1].strip()}); train or import "
            "it again."
        ) from None
    return module.eval()
