"""What an experiment trains, at its seeded start, and how many steps an epoch of it has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from sslbench.data import Dataset
from sslbench.methods import METHODS, Method
from sslbench.models.libraries import require_views
from sslbench.recipes.recipe import Experiment, Recipe
from sslbench.streams import seed_generator, stream_key


def steps_per_epoch(recipe: Recipe, dataset: Dataset) -> int:
    """Whole batches, accumulated ones counted once, in the images that the recipe trains on."""
    # What is left of an epoch is dropped: batch norm's groups and queues need whole batches.
    count = len(dataset.train) if recipe.needs_labels else dataset.num_pretraining
    return count // (recipe.batch_size * recipe.accumulate)


def build_method(experiment: Experiment, dataset: Dataset) -> Method:
    """The experiment's network at its seeded initialisation, on the CPU."""
    recipe = experiment.recipe
    if recipe.epochs > 0:
        require_views(recipe.encoder, recipe.views, resolution=dataset.resolution)
    with initialisation(experiment.seed):
        return METHODS[type(recipe)](
            recipe,
            resolution=dataset.resolution,
            num_images=dataset.num_pretraining,
            num_classes=max(1, len(dataset.classes)),
            seed=experiment.seed,
        )


@contextlib.contextmanager
def initialisation(seed: int) -> Iterator[None]:
    """Where a run's networks draw their first weights; the global generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        seed_generator(stream_key(seed, "init"))
        yield
