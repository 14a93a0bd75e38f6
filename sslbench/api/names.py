"""Recipes and plugins by name, and where things lie when nothing is said."""

from __future__ import annotations

import os
from pathlib import Path

from sslbench import plugins
from sslbench.recipes import RECIPES, Recipe
from sslbench.recipes.specs import Data
from sslbench.requests import Changes, resolved

PathLike = str | os.PathLike[str]


def recipe_names() -> list[str]:
    """All recipes, those of loaded plugins too."""
    return list(RECIPES)


def recipe(
    name: str,
    *,
    scale: str = "laptop",
    dataset: str | Data | None = None,
    changes: Changes | None = None,
) -> Recipe:
    """A recipe as a scale has it: a frozen value, to read, to change by `.but`, and to train.

    Args:
        scale: smoke, laptop, desktop, cifar or paper; the last one has the published settings.
        dataset: that it is for; None is the scale's. A scale may have other settings for it.
        changes: dotted fields to values, as `pretrain` takes them.
    Raises:
        UserError: an unknown name or field, or a wrong value.
    """
    return resolved(name, scale=scale, dataset=dataset, changes=changes).experiment.recipe


def load_plugins(*names: PathLike) -> None:
    """Load methods or data of one's own: `my_method.py`, or a module; those of SSLBENCH_PLUGINS
    and of installed packages come with them, as on the command line. Each is loaded once.

    Raises:
        UserError: a plugin that is not there or fails; the sentence says where.
    """
    plugins.load_all([str(name) for name in names])


def place(given: PathLike | None, variable: str, usual: str) -> Path:
    """The folder that is given; otherwise what the commands take: an environment variable's, or
    the usual one here."""
    return Path(os.environ.get(variable) or usual if given is None else given)


def runs_folder(given: PathLike | None) -> Path:
    """Where runs lie."""
    return place(given, "SSLBENCH_RUNS", "runs")


def data_root(given: PathLike | None) -> Path:
    """Where data sets lie."""
    return place(given, "SSLBENCH_DATA", "data")
