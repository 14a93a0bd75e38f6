"""The networks that a finished run keeps, one file each, and what they say of themselves."""

from __future__ import annotations

from collections.abc import Mapping

from sslbench.data import Dataset
from sslbench.engine.checkpoint import save_weights
from sslbench.engine.folder import RunFolder
from sslbench.methods import JointEmbedding, Supervised
from sslbench.models.card import EncoderCard, Normalization
from sslbench.recipes.recipe import Experiment


def save_networks(
    folder: RunFolder,
    method: JointEmbedding | Supervised,
    *,
    experiment: Experiment,
    dataset: Dataset,
    metadata: Mapping[str, str],
) -> None:
    """Write encoder, projector and prototypes, where a method has them. Raises UserError."""
    encoder, projector = method.evaluated
    card = EncoderCard(
        encoder=experiment.recipe.encoder,
        views=experiment.recipe.views,
        resolution=dataset.resolution,
        normalization=Normalization(mean=dataset.mean, std=dataset.std),
        data=experiment.data,
        scale=experiment.scale,
    )
    save_weights(folder.encoder_path, encoder.state_dict(), {**metadata, **card.to_metadata()})
    if head := projector.state_dict():
        save_weights(folder.projector_path, head, metadata)
    prototypes = getattr(method, "evaluated_prototypes", None)
    if prototypes is not None:
        save_weights(folder.prototypes_path, prototypes.state_dict(), metadata)
