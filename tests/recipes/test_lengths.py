"""How long runs are at a scale: what is counted in epochs keeps its share where images change."""

from __future__ import annotations

from fractions import Fraction

import pytest

from sslbench.data.registry import DATASETS
from sslbench.recipes import RECIPES
from sslbench.recipes.recipe import Experiment, Recipe
from sslbench.recipes.resolve import resolve
from sslbench.recipes.scales import SCALES

TRAINED = [name for name, recipe in RECIPES.items() if recipe.epochs]
COUNTED = ("schedule.warmup_epochs", "prototypes.frozen_epochs",
           "objective.assignment.warmup_epochs")  # fmt: skip


def at(recipe: str, scale: str, dataset: str | None = None) -> Experiment:
    data = SCALES[scale].dataset(dataset) if dataset else None
    return resolve(recipe, scale=scale, data=data).experiment


def images(experiment: Experiment) -> int:
    known = DATASETS[experiment.data.set_name].num_train
    return experiment.data.num_train or known


def samples(experiment: Experiment) -> int:
    """How many images a run sees, one counted every time."""
    return images(experiment) * experiment.recipe.epochs


def shares(recipe: Recipe) -> dict[str, Fraction]:
    """What is counted in epochs, as shares of the run."""
    fields = dict(recipe.leaves())
    return {
        name: Fraction(str(fields[name])) / recipe.epochs for name in COUNTED if fields.get(name)
    }


@pytest.mark.parametrize("name", TRAINED)
def test_laptop_on_cifar10_has_the_steps_of_the_built_in_set(name: str) -> None:
    drawn, real = at(name, "laptop"), at(name, "laptop", "cifar10")
    assert samples(real) == samples(drawn)
    assert real.recipe.batch_size == drawn.recipe.batch_size
    assert shares(real.recipe) == shares(drawn.recipe)


@pytest.mark.parametrize("name", TRAINED)
def test_desktop_has_all_images_and_the_shares_of_laptop(name: str) -> None:
    desktop, laptop = at(name, "desktop"), at(name, "laptop")
    assert images(desktop) == 50_000 and desktop == at(name, "desktop", "cifar10")
    assert shares(desktop.recipe) == shares(laptop.recipe)
    assert samples(desktop) == Fraction(50, 8) * samples(laptop)


@pytest.mark.parametrize("scale", ["laptop", "desktop"])
@pytest.mark.parametrize("published_at", ["paper", "cifar"])
def test_the_axes_of_epochs_are_in_proportion_to_a_run(scale: str, published_at: str) -> None:
    """A table of twice the epochs takes twice the scale's usual ones, on whatever set."""
    for dataset in ("shapes", "cifar10"):
        axis = SCALES[scale].axes_of(published_at, dataset=dataset)["epochs"]
        pairs = sorted(zip(axis.published, axis.here, strict=True))
        assert [here for _, here in pairs] == sorted(axis.here)
        assert axis[400] == 2 * SCALES[scale].usual_epochs(dataset)
        assert all(isinstance(here, int) for here in axis.here)


@pytest.mark.parametrize("scale", ["laptop", "desktop"])
def test_the_axes_of_batches_halve_with_the_published_ones(scale: str) -> None:
    for published_at, usual in (("paper", 1024), ("cifar", 256)):
        axis = SCALES[scale].axes_of(published_at, dataset="cifar10")["batch_size"]
        assert axis[usual] == at("simclr", scale, "cifar10").recipe.batch_size
        halves = [b / a for a, b in zip(axis.here, axis.here[1:], strict=False)]
        assert set(halves) == {0.5}
