"""What a report of runs shows, as text: one place, so that all formats say the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sslbench.files import yaml_text
from sslbench.reports.company import protocols
from sslbench.reports.panels import short_names
from sslbench.reports.runs.collect import Collection, OwnRun, RunGroup
from sslbench.reports.runs.scores import score_rows, score_tables, shared_images
from sslbench.reports.runs.steps import (
    Step,
    compare_steps,
    group_steps,
    sentence_on_labels,
)
from sslbench.reports.runs.words import (
    Change,
    causes,
    changes,
    duration,
    facts,
    last_values,
    state,
    states,
)
from sslbench.tables.results import MeasuredTable

RUN_HEADINGS = ("seed", "state", "loss", "std·√D", "eff. rank", "kNN monitor", "time", "run")
SCORE_HEADINGS = ("seed", "data", "protocol", "on the test images", "chosen", "held out")
NAMED = 4  # changes in a label
LEGEND = (
    "Mean ± its 95 % interval over seeds, with the number of seeds; one seed has no interval. "
    "Settings were chosen on the held-out part of the training images, never on test images."
)
KEPT = (
    "std·√D is 1 where embeddings spread evenly and 0 where they are all alike; the effective rank "
    "counts the directions they use; the kNN monitor is of held-out training images."
)


@dataclass(frozen=True, kw_only=True)
class GroupView:
    """Runs that differ in their seed only.

    `states` are words with their colour class, `causes` sentences; `runs` and `scores` lines under
    RUN_HEADINGS and SCORE_HEADINGS; `recipe` is YAML.
    """

    anchor: str
    label: str
    group: RunGroup
    states: list[tuple[str, str]]
    line: str
    causes: list[str]
    facts: dict[str, str]
    departures: tuple[str, ...]
    changes: list[Change]
    runs: list[tuple[str, ...]]
    scores: list[tuple[str, ...]]
    steps: list[Step]
    on_labels: str
    remarks: list[str]
    recipe: str


@dataclass(frozen=True, kw_only=True)
class ReportView:
    """The whole report. `scores` are tables whose rows are the groups' labels."""

    groups: list[GroupView]
    scores: list[MeasuredTable]
    steps: list[Step]
    remarks: list[str]


def view(collection: Collection) -> ReportView:
    """All that there is to say about some runs."""
    labels = group_labels(collection.groups)
    kept = [(label, g) for label, g in zip(labels, collection.groups, strict=True)]
    trained = [(label, g) for label, g in kept if g.first.trained or g.first.value("encoder_file")]
    rest = [(label, g) for label, g in kept if (label, g) not in trained]
    beside = list(zip(group_labels(collection.baselines), collection.baselines, strict=True))
    rows = trained or rest
    below = [*(rest if trained else []), *beside]
    tables = score_tables([g for _, g in rows], [label for label, _ in rows], below)
    return ReportView(
        groups=[_group(label, g, collection) for label, g in kept],
        scores=tables,
        steps=compare_steps(collection),
        remarks=list(collection.remarks),
    )


def group_labels(groups: Sequence[RunGroup]) -> list[str]:
    """A name for each group that no other has: its recipe's, with as much of its changes, data,
    scale and digest as it takes."""
    parts = [_parts(group) for group in groups]
    labels = [own[0] for own in parts]
    for place in range(1, len(parts[0]) if parts else 0):
        alike: dict[str, list[int]] = {}
        for i, label in enumerate(labels):
            alike.setdefault(label, []).append(i)
        for members in alike.values():
            if len({parts[i][place] for i in members}) > 1:
                for i in members:
                    labels[i] = ", ".join(filter(None, (labels[i], parts[i][place])))
    return labels


def _parts(group: RunGroup) -> list[str]:
    first = group.first
    recipe = first.experiment.recipe
    own = [f"{change.field}={change.value}" for change in changes(first) if change.own]
    more = [f"{len(own) - NAMED} more changes"] if len(own) > NAMED else []
    changed = ", ".join([*own[:NAMED], *more])
    name = first.text("encoder_file", "name") or recipe.name
    digest = first.name.rpartition("-")[2]
    return [
        name, changed, first.experiment.data.set_name, first.experiment.scale,
        first.text("fingerprint")[:6], digest[:6], digest, str(first.folder.path),
    ]  # fmt: skip


def describe(table: MeasuredTable) -> str:
    """Below a table of scores: what its numbers are of."""
    chance = f"chance {table.chance:.3g} %" if table.chance == table.chance else ""
    shown = (
        f"{table.num_test:,} test images",
        chance,
        ", ".join(protocols(table)),
        f"data {table.fingerprint[:12]}",
    )
    return " · ".join(filter(None, shown))


def _group(label: str, group: RunGroup, collection: Collection) -> GroupView:
    first = group.first
    found = facts(group)
    count = f"{len(group.runs)} seed{'' if len(group.runs) == 1 else 's'}"
    line = (
        found["data"], f"scale {found.get('scale', '')}", count, found.get("time", ""),
        found.get("device", ""),
    )  # fmt: skip
    document = {"experiment": first.experiment.to_dict()}
    return GroupView(
        anchor=first.name,
        label=label,
        group=group,
        states=states(group),
        line=" · ".join(filter(None, line)),
        causes=[*causes(group), *shared_images(group)],
        facts=found,
        departures=first.experiment.recipe.departures,
        changes=changes(first),
        runs=[_run_row(run) for run in group.runs],
        scores=score_rows(group),
        steps=group_steps(group, collection),
        on_labels=sentence_on_labels(first),
        remarks=[remark for run in group.runs for remark in run.remarks],
        recipe=yaml_text(document),
    )


def _run_row(run: OwnRun) -> tuple[str, ...]:
    seconds = run.number("elapsed_seconds")
    time = "–" if seconds is None or not run.trained else duration(seconds)
    return (str(run.experiment.seed), state(run)[0], *last_values(run), time, run.name)


def figure_folders(group: RunGroup) -> list[tuple[str, Path]]:
    """Label and folder of what `sslbench analyze` left beside each run."""
    names = short_names([run.name for run in group.runs])
    alone = len(group.runs) == 1
    return [("" if alone else names[run.name], run.folder.path / "analyses") for run in group.runs]
