"""The families of recipes: what each adds to what every run has, and the rules across its pieces.

A family is a subclass of `Recipe`; its method is the entry of the same type in
`sslbench.methods.METHODS`.
"""

from __future__ import annotations

from sslbench.recipes.families.dense import DenseRecipe
from sslbench.recipes.families.fixed import FixedRecipe
from sslbench.recipes.families.joint import JointRecipe
from sslbench.recipes.families.looc import LoocRecipe
from sslbench.recipes.families.masked import MaskedRecipe
from sslbench.recipes.families.region import RegionRecipe
from sslbench.recipes.families.supervised import SupervisedRecipe

__all__ = [
    "DenseRecipe",
    "FixedRecipe",
    "JointRecipe",
    "LoocRecipe",
    "MaskedRecipe",
    "RegionRecipe",
    "SupervisedRecipe",
]
