"""How encoder, heads, target and objective meet: one forward per family of recipes."""

from __future__ import annotations

from collections.abc import Callable

from sslbench.methods.dense import DenseLearning
from sslbench.methods.fixed import Fixed
from sslbench.methods.joint_embedding import JointEmbedding
from sslbench.methods.masked import MaskedModelling
from sslbench.methods.method import Method, ParameterGroup, StepOutput, mean_output
from sslbench.methods.supervised import Supervised
from sslbench.recipes.families import (
    DenseRecipe,
    FixedRecipe,
    JointRecipe,
    MaskedRecipe,
    SupervisedRecipe,
)
from sslbench.recipes.recipe import Recipe

METHODS: dict[type[Recipe], Callable[..., Method]] = {
    JointRecipe: JointEmbedding,
    MaskedRecipe: MaskedModelling,
    DenseRecipe: DenseLearning,
    SupervisedRecipe: Supervised,
    FixedRecipe: Fixed,
}

__all__ = [
    "METHODS",
    "DenseLearning",
    "Fixed",
    "JointEmbedding",
    "MaskedModelling",
    "Method",
    "ParameterGroup",
    "StepOutput",
    "Supervised",
    "mean_output",
]
