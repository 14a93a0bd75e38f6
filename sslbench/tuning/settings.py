"""Settings of the scales from studies: written from a record, and held against it.

`recipes/scales/<scale>/<data set>/tuned.yaml` is written here alone, so that the files which people
write keep their comments and their layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sslbench.errors import UserError
from sslbench.files import exists, read_yaml, write_atomically, yaml_text
from sslbench.recipes import RECIPES
from sslbench.recipes.scales import SCALES
from sslbench.recipes.scales.reading import FOLDER
from sslbench.tuning.definition import start_of
from sslbench.tuning.record import Record, load_record, record_path

RESULTS = "results"  # as the files name it
_HEAD = (
    "# What studies found on this data set: written by `sslbench tune --write`, not by hand.\n"
    "# `changes` are the winner's, of the recipe as this scale has it otherwise; `digest` is the\n"
    "# study's. A test holds each entry against its record.\n"
)


def write_setting(record: Record, *, folder: Path = FOLDER) -> Path:
    """Make a study's winner the setting of its recipe at its scale and data set.

    Args:
        folder: of the scales.
    Returns:
        The file.
    Raises:
        UserError: the study had `--set` changes, or the scale is not there.
    """
    if record.fixed:
        raise UserError(
            f"The study of {record.recipe} had --set changes ({', '.join(record.fixed)}), which no "
            "setting of the scale would have; run it without them to write its winner."
        )
    if not exists(folder / record.scale / "scale.yaml"):
        raise UserError(f"{folder} has no scale '{record.scale}'.")
    if record.start != _start(record):
        raise UserError(
            f"The study of {record.recipe} began at another setting, or on other images, than "
            f"{record.scale} has now on {record.dataset}; run it again to write its winner."
        )
    path = folder / record.scale / record.dataset / "tuned.yaml"
    entries = dict((read_yaml(path) or {}) if exists(path) else {})
    entries[record.recipe] = {
        "study": str(_named(record)),
        "digest": record.digest,
        "changes": _plain(record.changes),
    }
    known = [*RECIPES, *sorted(set(entries) - set(RECIPES))]
    ordered = {name: entries[name] for name in known if name in entries}
    text = "".join(
        yaml_text({name: entry}, default_flow_style=None, width=96)
        for name, entry in ordered.items()
    )
    write_atomically(path, _HEAD + text)
    return path


def unfounded(repository: Path) -> Iterator[str]:
    """A sentence for each setting that its study does not say.

    Args:
        repository: the folder in which `results/` lies.
    """
    for scale in SCALES.values():
        for dataset, on in scale.on.items():
            for recipe, tuned in on.tuned.items():
                where = f"{scale.name}/{dataset}/tuned.yaml: {recipe}"
                record = load_record(repository / tuned.study)
                if record is None:
                    yield f"{where}: {tuned.study} is not there."
                elif problem := _problem(record, recipe, tuned.digest, tuned.changes):
                    yield f"{where}: {problem}"
                elif (record.scale, record.dataset) != (scale.name, dataset):
                    yield f"{where}: {tuned.study} is of {record.scale} on {record.dataset}."
                elif record.start != _start(record):
                    yield (
                        f"{where}: {tuned.study} began at another setting than the scale has now; "
                        "run it again."
                    )


def _problem(record: Record, recipe: str, digest: str, changes: Mapping[str, Any]) -> str | None:
    if record.recipe != recipe:
        return f"its study is of {record.recipe}."
    if record.digest != digest:
        return f"its study is {record.digest}, not {digest}."
    if _plain(record.changes) != _plain(changes):
        return "its changes are not those of the study's winner."
    return None


def _start(record: Record) -> str:
    data = SCALES[record.scale].dataset(record.dataset)
    start = start_of(record.recipe, scale=record.scale, data=data, fixed={})
    return start.experiment.digest()


def _named(record: Record) -> Path:
    return record_path(Path(RESULTS), scale=record.scale, dataset=record.dataset,
                       recipe=record.recipe)  # fmt: skip


def _plain(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, (list, tuple)) else v for k, v in changes.items()}
