"""Other people's encoders under our protocols: an encoder file becomes a finished run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sslbench.data import fingerprint, load
from sslbench.data.registry import DATASETS, resolution_of
from sslbench.engine.checkpoint import save_weights
from sslbench.engine.folder import NUMERICS, RunFolder, run_digest
from sslbench.errors import UserError
from sslbench.evaluation.features import BATCH_SIZE, file_hash
from sslbench.memory import require_memory
from sslbench.models.card import NORMALIZATIONS, EncoderCard, Normalization, read_card
from sslbench.models.export import load_encoder_file
from sslbench.models.positions import Resampling
from sslbench.recipes import RECIPES
from sslbench.recipes.recipe import Experiment
from sslbench.recipes.specs import Data, EncoderSpec, ImageSet

_READING = 2  # raised when a file is read in another way, so that what was read before is not used


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """What is said of an encoder file beside its path.

    Attributes:
        encoder: what the file holds; None: as the file's card says.
        resolution: side of the images it sees; None: the card's, or without a card the data's.
        normalization: of its training; "data": by the mean and std of the data it is judged on;
            None: the card's, or without a card ImageNet's, which most public encoders use.
        part: the prefix of the encoder's keys, where the file has several.
        positions: how a ViT's positions are resampled, where the file does not tell.
    """

    encoder: EncoderSpec | None = None
    resolution: int | None = None
    normalization: Normalization | Literal["data"] | None = None
    part: str | None = None
    positions: Resampling | None = None


def import_encoder_file(
    path: Path,
    options: FileOptions = FileOptions(),
    *,
    data: Data | None,
    root: Path,
    runs: Path,
) -> RunFolder:
    """An encoder file of any known layout as a finished run.

    Args:
        path: the file; see `sslbench.models.export.load_encoder_file`.
        options: what the file does not say of itself, or what is to be another.
        data: what it is judged on; None: what the card says.
        root: where data sets lie.
        runs: the encoder is kept there as the finished run `external-<hash>`, whose hash covers
            the file, the options and the data.
    Returns:
        The run folder, which reports, `compare` and `analyze` read like any other.
    Raises:
        UserError: a file that does not hold the encoder, or does not tell which it is; missing
            data.
    """
    card = read_card(path)
    judged_on = _data(path, options, card, data)
    untrained = RECIPES["untrained"]
    recipe = untrained.but(
        name="external",
        source=f"encoder file {path.name}",
        encoder=_encoder(path, options, card),
        views=card.views if card else untrained.views,
    )
    experiment = Experiment(recipe=recipe, data=judged_on, scale="external")
    normalization = _normalization(options, card, experiment.data, root)
    found = fingerprint(experiment.data, root=root)
    text = f"{file_hash(path)}:{run_digest(experiment, found)}:{normalization.digest()}"
    text += f":{options.part}:{options.positions}:{_READING}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    folder = RunFolder(runs / f"external-{digest}")
    with folder.lock():
        if folder.status() != "finished":
            _write(folder, path, options, experiment, normalization, found)
    return folder


def _encoder(path: Path, options: FileOptions, card: EncoderCard | None) -> EncoderSpec:
    if card is None:
        if options.encoder is None:
            raise UserError(f"{path} is an encoder file: say which, e.g. --encoder resnet50.")
        return options.encoder
    if options.encoder not in (None, card.encoder):
        raise UserError(
            f"{path} was exported by sslbench and says itself what it holds; leave --encoder and "
            "--heads out."
        )
    return card.encoder


def _data(path: Path, options: FileOptions, card: EncoderCard | None, data: Data | None) -> Data:
    if data is None:
        if card is None:
            raise UserError(f"{path} is an encoder file: say on what data, e.g. --dataset cifar10.")
        data = card.data
    resolution = options.resolution
    if resolution is None and card is not None:
        resolution = card.resolution
    if resolution is not None:
        require_memory(
            BATCH_SIZE * 3 * resolution**2 * 4,
            what=f"{BATCH_SIZE} images of {resolution} pixels at a time",
            remedy="lower --resolution",
        )
        return data.but(resolution=resolution)
    own = DATASETS[data.name].resolution if isinstance(data, ImageSet) else None
    if data.resolution is None and own is None:
        raise UserError(
            f"The images of '{data.name}' have no size of their own; say at which the encoder was "
            "trained, e.g. --resolution 224."
        )
    return data


def _normalization(
    options: FileOptions, card: EncoderCard | None, data: Data, root: Path
) -> Normalization:
    if options.normalization == "data":
        dataset = load(data, root=root)
        return Normalization(mean=dataset.mean, std=dataset.std)
    return options.normalization or (card.normalization if card else NORMALIZATIONS["imagenet"])


def _write(
    folder: RunFolder, path: Path, options: FileOptions, experiment: Experiment,
    normalization: Normalization, found: str,
) -> None:  # fmt: skip
    resolution, spec = resolution_of(experiment.data), experiment.recipe.encoder
    encoder, report = load_encoder_file(
        path, spec, resolution=resolution, part=options.part, positions=options.positions
    )
    folder.write_experiment(experiment, {})
    card = EncoderCard(
        encoder=spec, views=experiment.recipe.views, resolution=resolution,
        normalization=normalization, data=experiment.data, scale="cifar",
    )  # fmt: skip
    digest = folder.path.name.removeprefix("external-")
    metadata = {"digest": digest, **card.to_metadata()}
    save_weights(folder.encoder_path, encoder.state_dict(), metadata)
    file = {
        "name": path.name,
        "layout": report.layout,
        "prefix": report.prefix,
        "loaded": report.loaded,
        "ignored": list(report.ignored),
        "notes": list(report.notes),
    }
    folder.write_summary(_summary(card, experiment, digest, found) | {"encoder_file": file})


def _summary(card: EncoderCard, experiment: Experiment, digest: str, found: str) -> dict[str, Any]:
    data = experiment.data
    return {
        "status": "finished",
        "digest": digest,
        "experiment": experiment.digest(),
        "recipe": experiment.recipe.name,
        "dataset": data.set_name,
        "fingerprint": found,
        "seed": experiment.seed,
        "scale": experiment.scale,
        "numerics": NUMERICS,
        "epochs": 0,
        "steps": 0,
        "elapsed_seconds": 0.0,
        "final": {},
        "resolution": card.resolution,
        "mean": list(card.normalization.mean),
        "std": list(card.normalization.std),
    }
