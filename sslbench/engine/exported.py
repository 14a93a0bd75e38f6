"""The networks that a finished run keeps, one file each, and what they say of themselves."""

from __future__ import annotations

from collections.abc import Mapping

from sslbench.data import Dataset
from sslbench.engine.checkpoint import save_weights
from sslbench.engine.folder import RunFolder
from sslbench.methods import Method
from sslbench.models.card import EncoderCard, Normalization
from sslbench.objectives.patch_targets import PatchTargets
from sslbench.recipes.recipe import Experiment


def save_networks(
    folder: RunFolder,
    method: Method,
    *,
    experiment: Experiment,
    dataset: Dataset,
    metadata: Mapping[str, str],
) -> None:
    """Write what a method exports, of each what has a state. Raises UserError."""
    card = EncoderCard(
        encoder=experiment.recipe.encoder,
        views=experiment.recipe.views,
        resolution=dataset.resolution,
        normalization=Normalization(mean=dataset.mean, std=dataset.std),
        data=experiment.data,
        scale=experiment.scale,
    )
    for name, network in method.exported().items():
        state = network.state_dict()
        if name == "encoder":  # its file says what it is, for others to read
            save_weights(folder.network_path(name), state, {**metadata, **card.to_metadata()})
        elif state:
            notes = network.notes() if isinstance(network, PatchTargets) else {}
            save_weights(folder.network_path(name), state, {**metadata, **notes})
