"""`list`: what there is, without importing torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sslbench.cli import options as o
from sslbench.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from sslbench.engine.folder import Summary

Rows = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class List(o.Runs, o.Json):
    """What there is: recipes, tables, data sets, scales, protocols, runs."""

    what: Annotated[
        str, typer.Argument(help="recipes, tables, datasets, scales, protocols or runs.")
    ] = "recipes"

    def __call__(self) -> None:
        """Print one kind of thing. Raises UserError for an unknown kind."""
        rows = find_rows(self.what, runs=self.runs)
        if self.json:
            self.print_json(rows)
        elif not rows:
            typer.echo(f"No {self.what} yet.")
        else:
            _print(rows)


def find_rows(what: str, *, runs: Path) -> Rows:
    """One kind of thing, a row each. Raises UserError for an unknown kind."""
    kinds: dict[str, Callable[[], Rows]] = {
        "recipes": _recipes,
        "tables": _tables,
        "datasets": _datasets,
        "scales": _scales,
        "protocols": _protocols,
        "runs": lambda: _runs(runs),
    }
    if what not in kinds:
        raise UserError(f"Nothing to list called '{what}'{did_you_mean(what, kinds)}")
    return kinds[what]()


def _print(rows: Rows) -> None:
    """A line a row; a column in which no row has anything is left out."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    names = [name for name in rows[0] if any(row[name] not in (None, "") for row in rows)]
    for name in names:
        table.add_column(name, overflow="fold", no_wrap=name == "name")
    for row in rows:
        table.add_row(*("" if row[name] is None else str(row[name]) for name in names))
    Console().print(table)


def _recipes() -> Rows:
    from sslbench.recipes import RECIPES

    rows = []
    for recipe in RECIPES.values():
        pieces = dict(recipe.leaves())
        objective, target = (pieces.get(f"{piece}.kind", "") for piece in ("objective", "target"))
        rows.append(
            {"name": recipe.name, "objective": objective, "target": target, "source": recipe.source}
        )
    return rows


def _tables() -> Rows:
    from sslbench.tables.schema import load_table, table_names

    tables = [load_table(name) for name in table_names()]
    return [
        {"name": t.id, "rows": len(t.rows), "claims": len(t.claims), "title": t.title}
        for t in tables
    ]


def _datasets() -> Rows:
    from sslbench.data.registry import ANNOTATIONS, DATASETS

    return [
        {
            "name": name,
            "classes": d.num_classes,
            "resolution": d.resolution,
            "annotations": ", ".join(
                f"{word}?" if word in d.optional else word
                for word in ANNOTATIONS
                if word in d.possible
            ),
            "summary": d.summary,
        }
        for name, d in DATASETS.items()
    ]


def _scales() -> Rows:
    from sslbench.recipes.scales import SCALES

    return [{"name": s.name, "seeds": s.seeds, "summary": s.summary} for s in SCALES.values()]


def _protocols() -> Rows:
    from sslbench.evaluation.protocols import PROTOCOLS

    return [
        {
            "name": name,
            "definition": p.definition,
            "needs": ", ".join(sorted(p.needs)),
            "values": ", ".join(value.key for value in p.values),
            "summary": p.summary,
        }
        for name, p in PROTOCOLS.items()
    ]


def _runs(runs: Path) -> Rows:
    """A row for every run; of a damaged one its name, and on stderr what is wrong with it."""
    from sslbench.engine.folder import RunFolder
    from sslbench.files import entries

    out = []
    for folder in (RunFolder(path) for path in entries(runs) if path.is_dir()):
        try:
            if (status := folder.status()) != "absent":
                out.append(_run(folder.path.name, status, folder.summary()))
        except UserError as error:
            typer.echo(f"sslbench: {error}", err=True)
            out.append(_run(folder.path.name, "damaged", {}))
    return out


def _run(name: str, status: str, summary: Summary) -> dict[str, Any]:
    from sslbench.plugins import described

    verdict = summary.get("verdict")
    return {
        "name": name,
        "status": status,
        "dataset": summary.get("dataset"),
        "scale": summary.get("scale"),
        "verdict": verdict["state"] if verdict else None,
        "seconds": round(summary.get("elapsed_seconds", 0)),
        "plugins": ", ".join(described([summary.get("plugins", {})])),
    }
