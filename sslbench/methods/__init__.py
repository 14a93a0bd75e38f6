"""How encoder, heads, target and objective meet: one forward per family of recipes."""

from __future__ import annotations

from collections.abc import Callable

from sslbench.methods.dense import DenseLearning
from sslbench.methods.fixed import Fixed
from sslbench.methods.joint_embedding import JointEmbedding
from sslbench.methods.looc import LeaveOneOutContrast
from sslbench.methods.masked import MaskedModelling
from sslbench.methods.method import Method, ParameterGroup, StepOutput, mean_output
from sslbench.methods.regions import RegionLearning
from sslbench.methods.supervised import Supervised
from sslbench.recipes.families import (
    DenseRecipe,
    FixedRecipe,
    JointRecipe,
    LoocRecipe,
    MaskedRecipe,
    RegionRecipe,
    SupervisedRecipe,
)
from sslbench.recipes.recipe import Recipe

METHODS: dict[type[Recipe], Callable[..., Method]] = {
    JointRecipe: JointEmbedding,
    LoocRecipe: LeaveOneOutContrast,
    MaskedRecipe: MaskedModelling,
    DenseRecipe: DenseLearning,
    RegionRecipe: RegionLearning,
    SupervisedRecipe: Supervised,
    FixedRecipe: Fixed,
}

__all__ = [
    "METHODS",
    "DenseLearning",
    "Fixed",
    "JointEmbedding",
    "LeaveOneOutContrast",
    "MaskedModelling",
    "Method",
    "ParameterGroup",
    "RegionLearning",
    "StepOutput",
    "Supervised",
    "mean_output",
]
