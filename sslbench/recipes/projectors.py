"""SimCLR with another projector or none, and DirectCLR: what a projector is there for."""

from __future__ import annotations

from sslbench.recipes.contrastive import simclr
from sslbench.recipes.specs import Channels

_SAME = (
    "All else is this bench's SimCLR, so that the projector is the only difference; the authors' "
    "code has BYOL's augmentations, separate batch statistics for each view, and the other views "
    "as the only negatives."
)

directclr = simclr.but(
    name="directclr",
    source="Jing et al. 2021, arXiv:2110.09348, Sec. 6",
    departures=(_SAME,),
    projector=Channels(out=360),  # of 2,048
)

simclr_linear_projector = simclr.but(
    name="simclr-linear-projector",
    source="Jing et al. 2021, arXiv:2110.09348, Table 1, '1-layer linear projector'",
    departures=(_SAME,),
).but({"projector.hidden": (), "projector.out_norm": False, "projector.out_norm_shift": True})

simclr_no_projector = simclr.but(
    name="simclr-no-projector",
    source="Jing et al. 2021, arXiv:2110.09348, Table 1, 'no projector'",
    departures=(_SAME,),
    projector=None,
)
