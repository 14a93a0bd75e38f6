"""A study from its definition to its record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sslbench.engine.environment import commit
from sslbench.engine.folder import NUMERICS, RunFolder
from sslbench.errors import InUse, RunFailed, UserError
from sslbench.files import exists, read_json, write_atomically
from sslbench.tables.estimates import Estimate, contrast
from sslbench.tuning.definition import SAMPLER, Definition
from sslbench.tuning.record import Gain, Record, Trial, load_record, record_path
from sslbench.tuning.running import Progress, Runner
from sslbench.tuning.search import Search, sampler_version

STUDIES = "studies"  # beside the runs, under their folder


def run_study(definition: Definition, runner: Runner, *, results: Path) -> Record:
    """Run a study, go on with it, or read it where it is complete; its record is kept.

    Raises:
        UserError: Optuna is not installed, another process runs the study, or another study of the
            recipe is there.
        RunFailed: every trial diverged, or a run failed for another reason than its numbers.
        Interrupted: stopped by a signal; the same call goes on.
    """
    path = record_path(results, scale=definition.scale, dataset=definition.data.set_name,
                       recipe=definition.recipe)  # fmt: skip
    if (record := current_record(definition, path)) is not None:
        return record
    sampler_version()
    name = f"{definition.scale}-{definition.data.set_name}-{definition.recipe}"
    folder = RunFolder(runner.runs / STUDIES / name)
    try:
        with folder.lock():
            _begin(definition, folder.path)
            trials = Search(definition, runner, folder=folder.path).run()
            trials = _confirmed(definition, runner, trials)
            record = _record(definition, trials, runner)
    except InUse as error:
        if error.holder and str(folder.path) in str(error):
            raise UserError(f"The study of {definition.recipe} is run by {error.holder}; wait for "
                            "it, or stop it first.") from None  # fmt: skip
        raise
    record.save(path)
    kept = load_record(path)  # as whoever reads it later has it
    assert kept is not None
    return kept


def current_record(definition: Definition, path: Path) -> Record | None:
    """The record of this very study, None where there is none. Raises UserError where another one
    has its place."""
    record = load_record(path)
    if record is not None and record.digest != definition.digest():
        why = _differs(_known(record), definition.parts())
        raise UserError(
            f"{path} is another study of {definition.recipe}: {why}. Give the options of that one "
            "to read it; move it away, or give another --results, to start a new one."
        )
    return record


def _known(record: Record) -> dict[str, Any]:
    """The parts of a definition that a record has."""
    return {
        "recipe": record.start,
        "data": record.fingerprint,
        "space": dict(record.space),
        "budget": dict(record.budget),
        "sampler": dict(record.sampler),
        "numerics": record.numerics,
    }


def _differs(known: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between two definitions, in words."""
    now = json.loads(json.dumps(now))
    moved = [name for name in known if name != "digest" and known[name] != now.get(name)]
    out = []
    for name in moved:
        a, b = known[name], now.get(name)
        pairs: list[str] = []
        if isinstance(a, dict) and isinstance(b, dict):
            pairs = [_moved(k, a.get(k), b.get(k)) for k in {**a, **b} if a.get(k) != b.get(k)]
        out.append(f"its {name} is another" + (f" ({'; '.join(pairs)})" if pairs else ""))
    return ", ".join(out) or "it begins elsewhere"


def _moved(name: str, before: Any, now: Any) -> str:
    plain = not isinstance(before, (dict, list)) and not isinstance(now, (dict, list))
    return f"{name} {before}, now {now}" if plain else name


def _begin(definition: Definition, folder: Path) -> None:
    """Note what is run here; refuse where another study was begun in the folder."""
    path = folder / "study.json"
    parts = {"digest": definition.digest(), **definition.parts()}
    if not exists(path):
        write_atomically(path, json.dumps(parts, indent=1) + "\n")
        return
    known = read_json(path)
    if not isinstance(known, dict):
        known = {}
    if known.get("digest") != parts["digest"]:
        raise UserError(
            f"{folder} holds a study of {definition.recipe} that is not this one: "
            f"{_differs(known, parts)}. Give its options to go on, or move the folder away to "
            "start a new one; runs that both have are not trained again."
        )


def _confirmed(definition: Definition, runner: Runner, trials: Sequence[Trial]) -> list[Trial]:
    """The trials, the best few and the present setting with their further seeds."""
    finished = [t for t in trials if t.state == "finished"]
    if not finished:
        raise RunFailed(
            f"Every trial of the study of {definition.recipe} diverged or was refused; narrow its "
            "space in recipes/spaces.yaml (narrowed:), or lower its optimizer.lr with --set."
        )
    ranked = sorted(finished, key=lambda t: (*t.rank, -t.number), reverse=True)
    chosen = {t.number for t in ranked[: definition.budget.best]} | {
        t.number for t in finished if t.number == 0
    }
    further = range(1, definition.budget.seeds)
    wanted = {
        (n, seed): definition.experiment(trials[n].point, seed=seed)
        for n in sorted(chosen) for seed in further
    }  # fmt: skip
    if wanted:
        text = f"trials {', '.join(map(str, sorted(chosen)))}: {len(further)} further seeds"
        runner.on_progress(Progress(definition.recipe, text))
        runner.to_end(definition, list(wanted.values()))
    scores = {
        key: runner.score(runner.folder(definition, resolved), seed=key[1])
        for key, resolved in wanted.items()
    }
    return [
        replace(t, seeds=(*t.seeds, *(scores[t.number, s] for s in further)))
        if t.number in chosen else t
        for t in trials
    ]  # fmt: skip


def _record(definition: Definition, trials: Sequence[Trial], runner: Runner) -> Record:
    from sslbench.engine.hardware import device_class, pick_device

    several = definition.budget.seeds > 1
    finished = [t for t in trials if t.state == "finished" and (not several or len(t.seeds) > 1)]
    winner = max(finished, key=lambda t: (*t.mean(confirming=several), -t.number))
    spent = {t.run: t.minutes for t in trials}  # equal trials are one run
    spent |= {s.run: s.minutes for t in trials for s in t.seeds}
    return Record(
        recipe=definition.recipe,
        scale=definition.scale,
        dataset=definition.data.set_name,
        fingerprint=definition.fingerprint,
        digest=definition.digest(),
        start=definition.start.experiment.digest(),
        fixed=dict(definition.fixed),
        space=definition.space.plain(),
        left_out=dict(definition.whole.left_out),
        budget=definition.parts()["budget"],
        rungs=definition.rungs,
        sampler={**SAMPLER, "seed": definition.seed},
        parent=definition.parent,
        trials=tuple(trials),
        winner=winner.number,
        changes=winner.changes,
        gain=_gain(winner, trials[0], definition.budget.seeds),
        minutes=round(sum(spent.values()), 1),
        numerics=NUMERICS,
        commit=commit(),
        device_class=device_class(pick_device(runner.device)),
        versions={"optuna": sampler_version()},
    )


def _gain(winner: Trial, present: Trial, seeds: int) -> Gain | None:
    """Of the confirming seeds alone: the first one chose the best, and flatters them."""
    if present.state != "finished":
        return None
    confirming = tuple(range(1, seeds))
    if winner.number == present.number:
        note = "The present setting has the best mean."
        return Gain(points=0.0, half=None, seeds=confirming, note=note)
    if not confirming:
        points = winner.rank[0] - present.rank[0]
        note = "Of the seed by which the winner was chosen, so that it is too high."
        return Gain(points=round(points, 3), half=None, seeds=(0,), note=note)
    a, b = ([s.linear or 0.0 for s in t.seeds[1:]] for t in (winner, present))
    found = contrast([(1.0, Estimate.of(a, points=True)), (-1.0, Estimate.of(b, points=True))])
    half = round(found.down, 3) if found.down < float("inf") else None
    note = "Of seeds that did not choose the trials; the best mean of a few is still a little high."
    return Gain(points=round(found.value, 3), half=half, seeds=confirming, note=note)
