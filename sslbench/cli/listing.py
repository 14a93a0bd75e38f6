"""`list`: what there is, without importing torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sslbench.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from sslbench.engine.folder import Summary

Rows = list[dict[str, Any]]


def show(what: str, *, runs: Path, as_json: bool) -> None:
    """Print one kind of thing as a table, or as JSON. Raises UserError for an unknown kind."""
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
    rows = kinds[what]()
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    elif not rows:
        typer.echo(f"No {what} yet.")
    else:
        _print(rows)


def _print(rows: Rows) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        table.add_column(name, overflow="fold", no_wrap=name == "name")
    for row in rows:
        table.add_row(*("" if v is None else str(v) for v in row.values()))
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
    from sslbench.data.registry import DATASETS

    return [
        {"name": name, "classes": d.num_classes, "resolution": d.resolution, "summary": d.summary}
        for name, d in DATASETS.items()
    ]


def _scales() -> Rows:
    from sslbench.recipes.scales import SCALES

    return [{"name": s.name, "seeds": s.seeds, "summary": s.summary} for s in SCALES.values()]


def _protocols() -> Rows:
    from sslbench.evaluation.protocols import PROTOCOLS

    return [
        {"name": name, "definition": p.definition, "summary": p.summary}
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
    verdict = summary.get("verdict")
    return {
        "name": name,
        "status": status,
        "dataset": summary.get("dataset"),
        "scale": summary.get("scale"),
        "verdict": verdict["state"] if verdict else None,
        "seconds": round(summary.get("elapsed_seconds", 0)),
    }
