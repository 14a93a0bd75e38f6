"""What is trained: every recipe by name. Imports no torch."""

from __future__ import annotations

from sslbench.recipes.augmentation_aware import looc
from sslbench.recipes.baselines import (
    color_histogram,
    raw_pixels,
    supervised,
    supervised_multicrop,
    supervised_vit,
    untrained,
    untrained_vit,
)
from sslbench.recipes.clustering import deepcluster_v2, sela_v2, swav
from sslbench.recipes.contrastive import (
    moco_v1,
    moco_v2,
    moco_v2_symmetric,
    moco_v3,
    simclr,
    simclr_multicrop,
)
from sslbench.recipes.dense import densecl, pixcontrast, pixpro
from sslbench.recipes.distillation import byol, dino, dino_resnet, simsiam
from sslbench.recipes.hypersphere import align_uniform, align_uniform_queue
from sslbench.recipes.masked import beit, mae, maskfeat, simmim
from sslbench.recipes.memory_bank import instdisc, instdisc_hard, npid, simple, simple_hard
from sslbench.recipes.negatives import dcl, dclw, debiased, hcl, moco_ft, moco_ring
from sslbench.recipes.projectors import directclr, simclr_linear_projector, simclr_no_projector
from sslbench.recipes.recipe import Experiment, Recipe
from sslbench.recipes.redundancy import barlow_twins
from sslbench.recipes.regions import region, region_objects
from sslbench.recipes.relational import ressl
from sslbench.recipes.transformers import (
    byol_vit,
    moco_v2_vit,
    moco_v3_vit,
    swav_vit,
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        supervised,
        supervised_multicrop,
        supervised_vit,
        untrained,
        untrained_vit,
        raw_pixels,
        color_histogram,
        simclr,
        simclr_multicrop,
        moco_v1,
        moco_v2,
        moco_v2_symmetric,
        dcl,
        dclw,
        debiased,
        hcl,
        moco_ring,
        moco_ft,
        looc,
        byol,
        simsiam,
        barlow_twins,
        npid,
        instdisc,
        instdisc_hard,
        simple,
        simple_hard,
        align_uniform,
        align_uniform_queue,
        swav,
        deepcluster_v2,
        sela_v2,
        directclr,
        simclr_linear_projector,
        simclr_no_projector,
        dino,
        dino_resnet,
        ressl,
        moco_v3,
        moco_v3_vit,
        byol_vit,
        moco_v2_vit,
        swav_vit,
        mae,
        beit,
        simmim,
        maskfeat,
        pixpro,
        pixcontrast,
        densecl,
        region,
        region_objects,
    )
}

__all__ = ["RECIPES", "Experiment", "Recipe"]
