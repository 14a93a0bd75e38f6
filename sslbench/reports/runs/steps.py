"""What to do with a run next: commands that work on it as it is."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from sslbench import plugins
from sslbench.evaluation.tasks import TASK_OF
from sslbench.files import yaml_text
from sslbench.recipes.families import MaskedRecipe
from sslbench.recipes.recipe import Experiment
from sslbench.recipes.resolve import find_scale, resolve
from sslbench.recipes.scales import SCALES
from sslbench.recipes.specs import ImageSet, RawPixels, ViT
from sslbench.reports.runs.collect import Collection, OwnRun, RunGroup
from sslbench.reports.runs.words import image_counts, labelled, stale, state

NEED_LABELS = "Accuracy needs labels: `{eval}` scores it on a set that has some."


@dataclass(frozen=True)
class Step:
    """A command to copy, and what it gives."""

    command: str
    gives: str

    def on(self, run: OwnRun) -> Step:
        """The same with the plugins without which the run cannot be read."""
        words = plugins.option(run.value("plugins") or {})
        start = f"sslbench {words}" if words else "sslbench"
        return Step(start + self.command.removeprefix("sslbench"), self.gives)


def next_steps(run: OwnRun, *, root: Path | None = None) -> list[Step]:
    """Commands for one run, the most useful first.

    Args:
        root: where data sets lie; None is the default place.
    """
    return [step.on(run) for step in _next_steps(run, root)]


def _next_steps(run: OwnRun, root: Path | None) -> list[Step]:
    if run.status != "finished":
        return _unfinished(run, root)
    path = shlex.quote(str(run.folder.path))
    data = _data_root(run.experiment, root)
    if labelled(run):
        own = [s for s in run.scores.values() if s.fingerprint == run.text("fingerprint")]
        if not own:
            return [Step(f"sslbench eval {path}{data}", "accuracy of kNN and of a linear probe")]
    return _pictures(run, root)


def sentence_on_labels(run: OwnRun) -> str:
    """How a run on data without labels gets an accuracy; "" for one on labelled data."""
    if labelled(run) or run.status != "finished":
        return ""
    path = shlex.quote(str(run.folder.path))
    step = Step(f"sslbench eval {path} --dataset NAME", "its accuracy").on(run)
    return NEED_LABELS.format(eval=step.command)


def report_step(run: OwnRun) -> Step:
    """The page about a run."""
    path = shlex.quote(str(run.folder.path))
    gives = "a page: curves, verdict, scores, figures"
    return Step(f"sslbench report {path} --format html", gives).on(run)


def group_steps(group: RunGroup, collection: Collection) -> list[Step]:
    """Commands for runs that differ in their seed only."""
    first = group.first
    steps = next_steps(first)[:3]
    for run in group.runs:
        if run is not first and (run.status != "finished" or (labelled(run) and not run.scores)):
            steps += next_steps(run)
    if first.status == "finished" and first.trained and len(group.runs) == 1 and not stale(first):
        seed = first.experiment.seed + 1
        step = Step(_again(first, seed=seed), "another seed: the spread, and an interval")
        steps.append(step.on(first))
    if first.scores and first.trained and labelled(first):
        steps += [step.on(first) for step in _baselines(first, collection)]
    return list(dict.fromkeys(steps))


def compare_steps(collection: Collection) -> list[Step]:
    """A paired test of the first two groups with a common score on the same images."""
    from sslbench.evaluation.protocols import PROTOCOLS, TOP1

    groups = [g for g in collection.groups if g.first.scores]
    groups.sort(key=lambda g: not g.first.trained)  # baselines last
    for i, a in enumerate(groups):
        for b in groups[i + 1 :]:
            for (label, protocol), score in a.first.scores.items():
                other = b.first.scores.get((label, protocol))
                known = PROTOCOLS.get(protocol)
                if other is None or known is None or TOP1 not in known.values:
                    continue
                if (other.definition, other.fingerprint) != (score.definition, score.fingerprint):
                    continue
                paths = " ".join(shlex.quote(str(g.first.folder.path)) for g in (a, b))
                command = f"sslbench compare {paths} --protocol {protocol} --dataset {label}"
                return [Step(command, "a paired test on the same test images").on(a.first)]
    return []


def _pictures(run: OwnRun, root: Path | None) -> list[Step]:
    path, data = shlex.quote(str(run.folder.path)), _data_root(run.experiment, root)
    recipe = run.experiment.recipe
    steps = [Step(f"sslbench analyze neighbours {path}{data}", "test images and what is near them")]
    if isinstance(recipe.encoder, ViT):
        steps.append(Step(f"sslbench analyze attention {path}{data}", "what each head looks at"))
    if run.trained and isinstance(recipe, MaskedRecipe) and recipe.objective.target.is_picture:
        gives = "hidden patches and what is made of them"
        steps.append(Step(f"sslbench analyze reconstruction {path}{data}", gives))
    if run.trained and recipe.has("prototypes.count"):
        steps.append(Step(f"sslbench analyze prototypes {path}{data}", "what each prototype holds"))
    if (image_counts(run)[1] or 0) >= 2:
        gives = "which directions are used; collapse"
        space = " --space representation" if run.experiment.recipe.needs_labels else ""
        steps.append(Step(f"sslbench analyze spectrum {path}{space}{data}", gives))
    steps = [*_predictions(run, f"{path}{data}"), *steps]
    done = run.folder.path / "analyses"
    return [s for s in steps if not (done / f"{_figure(s.command)}.png").is_file()]


def _predictions(run: OwnRun, where: str) -> list[Step]:
    """What can be shown of the scores on the run's own data."""
    own = [protocol for (_, protocol), score in run.scores.items()
           if score.fingerprint == run.text("fingerprint")]  # fmt: skip
    tasks = dict.fromkeys(TASK_OF[protocol] for protocol in own if protocol in TASK_OF)
    gives = "predictions beside the truth, the worst images first"
    start = f"sslbench analyze predictions {where}"
    return [Step(f"{start} --task {task} --sort worst", gives) for task in tasks]


def _figure(command: str) -> str:
    """The name of the file that an analysis draws."""
    words = command.split()
    more = f"-{words[words.index('--task') + 1]}" if "--task" in words else ""
    return f"{words[2]}{more}"


def _unfinished(run: OwnRun, root: Path | None) -> list[Step]:
    if run.status == "failed":  # the same again would fail again; its sentence says what to change
        return []
    gives = f"goes on where it was saved ({state(run)[0]})"
    if stale(run):
        gives = "trains it anew: it was begun with the numerics of an earlier version"
    return [Step(_again(run, seed=run.experiment.seed, root=root), gives)]


def _again(run: OwnRun, *, seed: int, root: Path | None = None) -> str:
    """The command that trains the run's experiment with a seed into the same store."""
    file = shlex.quote(str(run.folder.experiment_path))
    parent = run.folder.path.parent
    store = "" if parent == Path("runs") else f" --runs {shlex.quote(str(parent))}"
    return f"sslbench pretrain {file} --seed {seed}{store}{_data_root(run.experiment, root)}"


def _baselines(run: OwnRun, collection: Collection) -> list[Step]:
    """The commands that train what the page lacks: raw pixels and the untrained encoder."""
    groups = (*collection.baselines, *collection.groups)
    recipes = [g.experiment.recipe for g in groups if not g.first.trained
               and g.first.text("fingerprint") == run.text("fingerprint")]  # fmt: skip
    steps = []
    if not any(isinstance(recipe.encoder, RawPixels) for recipe in recipes):
        steps.append(Step(baseline_command("raw-pixels", run), "what raw pixels give; then eval"))
    if not any(recipe.encoder == run.experiment.recipe.encoder for recipe in recipes):
        gives = "what this encoder gives untrained; then eval"
        steps.append(Step(baseline_command("untrained", run), gives))
    return steps


def baseline_command(name: str, run: OwnRun, *, root: Path | None = None) -> str:
    """The `sslbench pretrain` of a baseline on a run's data, with its encoder for `untrained`."""
    experiment = run.experiment
    scale = experiment.scale if experiment.scale in SCALES else "laptop"
    words = ["sslbench", "pretrain", name, "--scale", scale]
    chosen, data = find_scale(scale).data, experiment.data
    path = data.path if isinstance(data, ImageSet) else None
    if isinstance(data, ImageSet) or data.set_name != chosen.set_name:
        words += ["--dataset", f"{data.set_name}:{path}" if path else data.set_name]
        chosen = find_scale(scale).dataset(data.set_name, path=path)
    usual = dict(chosen.leaves())
    changes = [(f"data.{k}", v) for k, v in data.to_dict().items() if k != "kind"
               and _listed(usual.get(k)) != v]  # fmt: skip
    plain = resolve(name, scale=scale, data=data).experiment.recipe
    if name == "untrained" and plain.encoder != experiment.recipe.encoder:
        changes.append(("encoder", experiment.recipe.encoder.to_dict()))
    for field, value in changes:
        text = yaml_text(value, default_flow_style=True, width=10**6)
        words += ["--set", f"{field}={text.removesuffix('...' + chr(10)).strip()}"]
    parent = run.folder.path.parent
    words += [] if parent == Path("runs") else ["--runs", str(parent)]
    return shlex.join(words) + _data_root(experiment, root)


def _listed(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _data_root(experiment: Experiment, root: Path | None) -> str:
    """The option that finds the data again; "" where the default does, or none is needed."""
    data = experiment.data
    usual = Path(os.environ.get("SSLBENCH_DATA", "data"))
    if root is None or root == usual or not isinstance(data, ImageSet) or data.path:
        return ""
    return f" --data-root {shlex.quote(str(root))}"
