"""A study as a pandas frame."""

from __future__ import annotations

import pandas as pd

from sslbench.tuning.record import Record


def trial_frame(record: Record) -> pd.DataFrame:
    """A line a trial, as `sslbench.tune` describes it."""
    names = [*record.space, *({k for t in record.trials for k in t.point} - set(record.space))]
    lines = []
    for trial in record.trials:
        first = trial.seeds[0] if trial.seeds else None
        lines.append(
            {
                "trial": trial.number,
                "state": trial.state,
                "linear": first.linear if first else None,
                "knn": first.knn if first else None,
                "mean": trial.mean(confirming=True)[0] if len(trial.seeds) > 1 else None,
                "minutes": trial.minutes,
                **{name: trial.point.get(name) for name in names},
            }
        )
    numbers = dict.fromkeys(["linear", "knn", "mean", "minutes", *names], float)
    frame = pd.DataFrame(lines).set_index("trial").astype(numbers)
    gain = record.gain
    frame.attrs = {
        "winner": record.winner,
        "changes": dict(record.changes),
        "gain": gain.points if gain else None,
        "half": gain.half if gain else None,
        "minutes": record.minutes,
        "trials": record.total_trials,
        "digest": record.digest,
    }
    return frame
