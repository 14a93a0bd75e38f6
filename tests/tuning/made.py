"""Records that no run made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sslbench.engine.folder import NUMERICS
from sslbench.tuning.definition import Definition
from sslbench.tuning.record import Record, SeedScore, Trial
from sslbench.tuning.study import _gain


def trial(
    number: int, values: tuple[float, ...] = (), point: Mapping[str, float] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Trial:  # fmt: skip
    """Finished with these accuracies by seed; without any, stopped."""
    seeds = tuple(
        SeedScore(seed=s, run=f"r{number}-{s}", linear=v, knn=v - 1, minutes=1.0)
        for s, v in enumerate(values)
    )
    return Trial(
        number=number, point=point or {}, changes=changes or {}, run=f"r{number}-0", rungs=(20.0,),
        state="finished" if seeds else "stopped", seeds=seeds, minutes=1.0,
    )  # fmt: skip


def record(definition: Definition, *trials: Trial, winner: int) -> Record:
    """The study of a definition, as if it had found these."""
    return Record(
        recipe=definition.recipe, scale=definition.scale, dataset=definition.data.set_name,
        fingerprint=definition.fingerprint, digest=definition.digest(),
        start=definition.start.experiment.digest(), fixed=dict(definition.fixed),
        space=definition.space.plain(), budget=definition.parts()["budget"],
        rungs=definition.rungs, sampler={}, parent=definition.parent, trials=trials,
        winner=winner, changes=trials[winner].changes, minutes=float(len(trials)),
        gain=_gain(trials[winner], trials[0], len(trials[0].seeds)), numerics=NUMERICS,
    )  # fmt: skip
