"""The scores of runs as measured tables: one for each data set, baselines below."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from sslbench.engine.folder import NUMERICS
from sslbench.evaluation.protocols import PROTOCOLS, Value
from sslbench.evaluation.scores import Score
from sslbench.reports.runs.collect import OwnRun, RunGroup
from sslbench.reports.runs.words import chosen_words
from sslbench.tables.cells import is_constant
from sslbench.tables.results import Cell, MeasuredColumn, MeasuredRow, MeasuredTable


def score_tables(
    groups: Sequence[RunGroup], labels: Sequence[str], baselines: Sequence[tuple[str, RunGroup]]
) -> list[MeasuredTable]:
    """A table for each data set (by content) that some group was scored on, in the groups' order.

    Cells are means over the seeds that have the score; one seed has no interval.

    Args:
        labels: of the groups, as rows.
        baselines: label and group of what stands below.
    """
    sets = {s.fingerprint: s.dataset for g in groups for s in _scores(g)}
    tables = []
    for place, (fingerprint, dataset) in enumerate(sets.items()):
        every = [*groups, *(group for _, group in baselines)]
        found = [s for g in every for s in _scores(g) if s.fingerprint == fingerprint]
        columns = _columns(found)
        rows = [_row(f"run-{i}", label, group, columns, fingerprint)
                for i, (label, group) in enumerate(zip(labels, groups, strict=True))]  # fmt: skip
        below = [_row(f"base-{i}", label, group, columns, fingerprint)
                 for i, (label, group) in enumerate(baselines)]  # fmt: skip
        tables.append(
            MeasuredTable(
                id=f"scores-{place}", title=f"Scores on {dataset}", source="", arxiv="",
                setting={}, notes=(), scale="", dataset=dataset, fingerprint=fingerprint,
                num_test=found[0].num_test, chance=_chance(groups, fingerprint),
                seeds=tuple(sorted({r.experiment.seed for g in groups for r in g.runs})),
                overrides={}, columns=columns, rows=tuple(r for r in rows if r.cells),
                baselines=tuple(r for r in below if r.cells), claims=(), rank_agreement={},
                numerics=NUMERICS, device="", device_class="", commit="", torch="", minutes=0.0,
            )
        )  # fmt: skip
    return tables


def score_rows(group: RunGroup) -> list[tuple[str, ...]]:
    """A line for each score: seed, data set, protocol, values, what was chosen on the held-out
    part and what it gave there."""
    return [
        (
            str(run.experiment.seed),
            label,
            f"{score.protocol} ({score.definition[:8]})",
            _texts(score, score.values),
            chosen_words(score.chosen) or "–",
            _texts(score, score.heldout) or "–",
        )
        for run in group.runs
        for (label, _), score in run.scores.items()
    ]


def shared_images(group: RunGroup) -> list[str]:
    """A sentence for each data set some of whose test images are training images too."""
    return list(dict.fromkeys(
        f"{score.shared:,} of {score.num_test:,} test images of {label} are also training images: "
        "its scores are too high."
        for run in group.runs
        for (label, _), score in run.scores.items()
        if score.shared
    ))  # fmt: skip


def _texts(score: Score, values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {_text(score, name, value)}" for name, value in values.items())


def _text(score: Score, name: str, value: float) -> str:
    unit = _declared(score, name).unit
    return f"{value:.2f} %" if unit == "%" else f"{value:.4g} {unit}".strip().replace("-", "−")


def _declared(score: Score, name: str) -> Value:
    """What is known of a score's value; of another version's protocol only the name."""
    protocol = PROTOCOLS.get(score.protocol)
    return (protocol.value(name) if protocol else None) or Value(key=name)


def _scores(group: RunGroup) -> list[Score]:
    return [score for run in group.runs for score in run.scores.values()]


def _columns(scores: Sequence[Score]) -> tuple[MeasuredColumn, ...]:
    """One for each value of each protocol and definition of it."""
    found: dict[str, MeasuredColumn] = {}
    definitions: dict[str, set[str]] = {}
    for score in scores:
        definitions.setdefault(score.protocol, set()).add(score.definition)
    for score in sorted(scores, key=lambda s: (not _is_accuracy(s), s.protocol)):
        several = len(definitions[score.protocol]) > 1
        which = f" ({score.definition[:8]})" if several else ""
        for name in score.values:
            key, value = _column_key(score, name), _declared(score, name)
            found[key] = MeasuredColumn(
                key=key, name=f"{score.protocol}{which} {name.replace('_', ' ')}",
                unit=value.unit, better=value.better,
                metric=f"{score.protocol}:{name}", definition=score.definition,
            )  # fmt: skip
    return tuple(found.values())


def _is_accuracy(score: Score) -> bool:
    return any(_declared(score, name).guesses for name in score.values)


def _column_key(score: Score, name: str) -> str:
    return f"{score.protocol}:{score.definition}:{name}"


def _row(
    name: str, label: str, group: RunGroup, columns: Sequence[MeasuredColumn], fingerprint: str
) -> MeasuredRow:
    constant = is_constant(group.experiment.recipe)
    values: dict[str, dict[int, float | None]] = {}
    for run in group.runs:
        for score in run.scores.values():
            if score.fingerprint == fingerprint:
                for metric, value in score.values.items():
                    cell = values.setdefault(_column_key(score, metric), {})
                    cell[run.experiment.seed] = value if math.isfinite(value) else None
    cells = {
        column.key: Cell(state="measured", seeds=tuple(sorted(found.items())), constant=constant)
        for column in columns
        if (found := values.get(column.key))
    }
    verdicts = Counter(word for r in group.runs if (word := r.text("verdict", "state")))
    return MeasuredRow(id=name, label=label, cells=cells, verdicts=dict(verdicts))


def _chance(groups: Sequence[RunGroup], fingerprint: str) -> float:
    """In percent; NaN where no shown run was trained on the set and noted its classes."""
    for group in groups:
        classes = _num_classes(group.first)
        if group.first.text("fingerprint") == fingerprint and classes:
            return 100 / classes
    return math.nan


def _num_classes(run: OwnRun) -> float | None:
    return run.number("images", "classes") or getattr(run.experiment.data, "num_classes", None)
