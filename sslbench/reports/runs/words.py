"""A run's facts in words: its recipe and what was changed, its data, its verdict, its device."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sslbench.engine.folder import NUMERICS
from sslbench.plugins import described
from sslbench.recipes import RECIPES
from sslbench.recipes.resolve import Resolved, resolve
from sslbench.recipes.scales import SCALES
from sslbench.recipes.specs import ImageSet
from sslbench.reports.display import number
from sslbench.reports.runs.collect import OwnRun, RunGroup

STATES = {  # verdict or status to the colour class of the page
    "healthy": "held", "collapsed": "not-held", "dimensional": "undecided", "diverged": "not-held",
    "failed": "not-held", "not finished": "undecided", "interrupted": "undecided",
}  # fmt: skip


@dataclass(frozen=True)
class Change:
    """A field that is not as the recipe of that name has it; `layer` is who set it, and `own` says
    that no scale did: a table's row, or the user."""

    field: str
    value: str
    before: str
    layer: str
    own: bool


def changes(run: OwnRun) -> list[Change]:
    """What the run's recipe has that the recipe of its name has not; [] for an unknown name. So
    for what it starts from."""
    return _changes(Resolved(run.experiment, dict(run.provenance)))


def _changes(run: Resolved) -> list[Change]:
    recipe, scale = run.experiment.recipe, run.experiment.scale
    base = RECIPES.get(recipe.name)
    if base is None:
        return []
    old, new = dict(base.leaves()), dict(recipe.leaves())
    scaled = old
    if scale in SCALES:
        data = run.experiment.data
        scaled = dict(resolve(recipe.name, scale=scale, data=data).experiment.recipe.leaves())
    out = []
    for path, value in new.items():
        aside = path in ("name", "source", "departures") or path.startswith("start.")
        if aside or (path in old and old[path] == value):
            continue
        own = path not in scaled or scaled[path] != value
        layer = run.provenance.get(path, "") if own else f"scale {scale}"
        out.append(Change(path, plain(value), _before(path, old), layer, own))
    if run.start is not None:
        name, layer = run.start.experiment.recipe.name, run.provenance.get("start.kind", "")
        out.append(Change("start", name, _before("start", old), layer, own=True))
        out += [replace(c, field=f"start.{c.field}") for c in _changes(run.start)]
    return out


def plain(value: Any) -> str:
    """A field's value as YAML would have it on one line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(plain(v) for v in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _before(path: str, old: dict[str, Any]) -> str:
    if path in old:
        return plain(old[path])
    return plain(old[f"{path}.kind"]) if f"{path}.kind" in old else ""


def state(run: OwnRun) -> tuple[str, str]:
    """One word on a run, and a sentence that says why ("" where there is nothing to say)."""
    if run.status == "failed":
        return "failed", run.text("error") or "Its summary does not say why."
    if run.status == "interrupted":
        return "interrupted", _progress(run, "it was stopped and saved")
    if run.status != "finished":
        return "not finished", _progress(run, "it is being trained now, or its process was killed")
    if not run.trained:
        return "not trained", ""
    return run.text("verdict", "state") or "no verdict", run.text("verdict", "cause")


def _progress(run: OwnRun, why: str) -> str:
    done = run.log[-1].get("step") if run.log else run.number("steps")
    return f"{why[0].upper()}{why[1:]}; step {int(done or 0):,} is in its log."


def states(group: RunGroup) -> list[tuple[str, str]]:
    """The group's states with their colour class, "healthy" or "healthy 2 of 3"."""
    words = [state(run)[0] for run in group.runs]
    return [
        (word if len(set(words)) == 1 else f"{word} {words.count(word)} of {len(words)}",
         STATES.get(word, ""))
        for word in dict.fromkeys(words)
    ]  # fmt: skip


def causes(group: RunGroup) -> list[str]:
    """A sentence for each seed that has one, once where they are alike."""
    found: dict[str, list[OwnRun]] = {}
    for run in group.runs:
        word, sentence = state(run)
        if sentence:
            found.setdefault(f"{word}: {sentence}", []).append(run)
    alone = len(group.runs) == 1
    return [text if alone else f"{_seeds(runs)} {text}" for text, runs in found.items()]


def _seeds(runs: Sequence[OwnRun]) -> str:
    numbers = ", ".join(str(run.experiment.seed) for run in runs)
    return f"Seed{'s' if len(runs) > 1 else ''} {numbers}"


def labelled(run: OwnRun) -> bool:
    """Whether the data that the run was trained on have labels."""
    from sslbench.data.registry import DATASETS

    classes = run.number("images", "classes")
    if classes is not None:
        return classes > 0
    name = run.experiment.data.set_name
    return DATASETS[name].labelled if name in DATASETS else True


def image_counts(run: OwnRun) -> tuple[int | None, int | None]:
    """Training and test images: as the run noted them, as its data say, or as a score has them."""
    noted = [run.number("images", part) for part in ("train", "test")]
    if noted[0] is not None and noted[1] is not None:
        return int(noted[0]), int(noted[1])
    data = run.experiment.data
    if not isinstance(data, ImageSet):
        return data.num_train, data.num_test
    for score in run.scores.values():
        if score.fingerprint == run.text("fingerprint"):
            return score.num_train, score.num_test
    return None, None


def data_sentence(run: OwnRun) -> str:
    """ "flat (photos): 180 training and 20 test images without labels, 32 pixels"."""
    data = run.experiment.data
    where = f" ({data.path})" if isinstance(data, ImageSet) and data.path else ""
    train, test = image_counts(run)
    counts = "number of images not recorded"
    if train is not None and test is not None:
        counts = f"{train:,} training and {test:,} test images"
    classes = run.number("images", "classes")
    with_ = f" in {classes:.0f} classes" if classes else ""
    extra = run.number("images", "unlabelled")
    more = f", {extra:,.0f} more without labels" if extra else ""
    side = run.number("resolution")
    pixels = f", {side:.0f} pixels" if side else ""
    bare = "" if labelled(run) else " without labels"
    return f"{data.set_name}{where}: {counts}{with_}{bare}{more}{pixels}"


def duration(seconds: float) -> str:
    """ "42 s", "12.5 min" or "3.2 h"."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def stale(run: OwnRun) -> bool:
    """Whether the run was trained with numerics older than this version's."""
    version = run.number("numerics")
    return version is not None and version < NUMERICS


def facts(group: RunGroup) -> dict[str, str]:
    """The company of a group's numbers by name, in the order to show them."""
    first = group.first
    recipe = first.experiment.recipe
    seconds = [s for run in group.runs if (s := run.number("elapsed_seconds")) is not None]
    numerics = _joined(group, "numerics")
    peak = max((run.number("peak_memory_bytes") or 0.0 for run in group.runs), default=0.0)
    found = {
        "recipe": f"{recipe.name}: {recipe.source}",
        "scale": first.experiment.scale,
        "data": data_sentence(first),
        "fingerprint": first.text("fingerprint"),
        "training": f"{recipe.epochs} epochs of batches of {recipe.batch_size}"
        if first.trained else "none",
        "time": f"{duration(sum(seconds))} for {len(seconds)} "
        f"run{'' if len(seconds) == 1 else 's'}" if seconds and first.trained else "",
        "device": _joined(group, "device"),
        "precision": _joined(group, "precision"),
        "cost": _cost(group),
        "peak memory": f"{peak / 2**20:,.0f} MiB" if peak and first.trained else "",
        "torch": _joined(group, "torch"),
        "numerics": f"{numerics} (stale: this version has {NUMERICS})"
        if any(map(stale, group.runs)) else numerics,
        "commit": _joined(group, "commit"),
        "plugins": ", ".join(described(run.value("plugins") or {} for run in group.runs)),
        "encoder file": first.text("encoder_file", "name"),
    }  # fmt: skip
    return {name: fact for name, fact in found.items() if fact}


def _cost(group: RunGroup) -> str:
    """What the runs know of it: operations of a forward pass, and the time of a step."""
    flops = [x for run in group.runs if (x := run.number("cost", "gflops")) is not None]
    times = [x for run in group.runs if (x := run.number("cost", "step_ms")) is not None]
    said = [f"{max(flops):.3g} GFLOPs forward an image"] if flops else []
    if times:
        low, high = f"{min(times):.3g}", f"{max(times):.3g}"
        said.append(f"{low if low == high else f'{low} to {high}'} ms a step")
    return ", ".join(said)


def _joined(group: RunGroup, key: str) -> str:
    values = [run.value(key) for run in group.runs]
    return " + ".join(dict.fromkeys(str(v) for v in values if isinstance(v, str | int)))


def last_values(run: OwnRun) -> tuple[str, ...]:
    """Loss, std·√D (1 where spread evenly), effective rank and kNN monitor at the end, as text."""
    names = ("loss", "std", "effective_rank", "knn")
    loss, std, rank, knn = (run.number("final", name) for name in names)
    width = run.number("final", "out_dim")
    ratio = None if std is None or not width else std * math.sqrt(width)
    shown = ((loss, 3), (ratio, 2), (rank, 1), (knn, 1))
    return tuple("–" if value is None else number(value, digits) for value, digits in shown)


def chosen_words(chosen: Mapping[str, float]) -> str:
    """What was chosen, in a line: of what each class has of its own the range."""
    each: dict[str, list[float]] = {}
    for name, value in chosen.items():
        each.setdefault(name.partition(" of ")[0], []).append(value)
    return ", ".join(
        f"{name} {min(values):g}"
        + (f" to {max(values):g} ({len(values)} classes)" if len(values) > 1 else "")
        for name, values in each.items()
    )
