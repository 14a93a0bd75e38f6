"""Measured tables as pandas frames: long (one line per seed), wide (as shown), and in numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sslbench.reports.display import grid
from sslbench.tables.results import Cell, MeasuredTable

if TYPE_CHECKING:
    import pandas as pd

_FACTS = ("title", "scale", "dataset", "seeds", "chance", "device", "device_class", "minutes",
          "numerics", "stale", "torch", "commit")  # fmt: skip
_NOTHING = Cell(state="missing")
LONG_COLUMNS = (
    "table",
    "row",
    "label",
    "baseline",
    "column",
    "metric",
    "definition",
    "unit",
    "seed",
    "value",
    "state",
    "mean",
    "interval",
    "n",
    "published",
    "published_protocol",
    "difference",
    "verdicts",
    "dataset",
    "fingerprint",
    "scale",
    "device_class",
    "numerics",
    "commit",
)


def long_frame(tables: Sequence[MeasuredTable]) -> pd.DataFrame:
    """One line for every seed of every cell (one line with no seed where a cell has none).

    Values are not rounded; `mean`, `interval` and `published` repeat over a cell's lines.
    """
    import pandas as pd

    lines = [line for table in tables for line in _long_lines(table)]
    return pd.DataFrame(lines, columns=list(LONG_COLUMNS)).astype({"seed": "Int64"})


def wide_frame(table: MeasuredTable) -> pd.DataFrame:
    """The table as shown, as text: rows by label, columns by (name with unit, part)."""
    import pandas as pd

    shown = grid(table)
    columns = pd.MultiIndex.from_tuples(
        [(h.name, h.part_name) for h in shown.headings],
        names=["column", "part"],
    )
    texts = [[entry.text.replace("\n", "; ") for entry in line.entries] for line in shown.lines]
    index = pd.Index([line.label for line in shown.lines], name="row")
    return pd.DataFrame(texts, index=index, columns=columns)


def number_frame(table: MeasuredTable, *, rows: Sequence[str] | None = None) -> pd.DataFrame:
    """The table's numbers, not rounded: a line a row by id, baselines last.

    Args:
        rows: the only rows wanted, beside the baselines.
    Returns:
        Columns by (key, part): of each `mean`, `interval`, `n` and `published`, NaN where there is
        none. `attrs` has the `table`, and where and on what it was measured.
    """
    import pandas as pd

    shown = [r for r in table.rows if rows is None or r.id in rows] + list(table.baselines)
    parts = ("mean", "interval", "n", "published")
    columns = pd.MultiIndex.from_product(
        [[c.key for c in table.columns], parts], names=["column", "part"]
    )
    numbers = [
        [getattr(row.cells.get(key, _NOTHING), part) for key, part in columns] for row in shown
    ]
    index = pd.Index([row.id for row in shown], name="row")
    frame = pd.DataFrame(numbers, index=index, columns=columns, dtype=float)
    frame.attrs.update({"table": table.id, **{name: getattr(table, name) for name in _FACTS}})
    return frame


def _long_lines(table: MeasuredTable) -> Iterator[dict[str, Any]]:
    common = {
        "table": table.id,
        "scale": table.scale,
        "device_class": table.device_class,
        "numerics": table.numerics,
        "commit": table.commit,
    }
    rows = [(row, False) for row in table.rows] + [(row, True) for row in table.baselines]
    for row, baseline in rows:
        for column in table.columns:
            if column.key not in row.cells:
                continue
            line = {
                **common,
                "row": row.id,
                "label": row.label,
                "baseline": baseline,
                "dataset": column.on.dataset if column.on else table.dataset,
                "fingerprint": column.on.fingerprint if column.on else table.fingerprint,
                "column": column.key,
                "metric": column.metric,
                "definition": column.definition,
                "unit": column.unit,
                "published_protocol": column.protocol,
                "verdicts": " ".join(f"{k}={v}" for k, v in row.verdicts.items()),
            }
            for seed in _seed_lines(row.cells[column.key]):
                yield line | seed


def _seed_lines(cell: Cell) -> Iterator[dict[str, Any]]:
    summary = {
        "state": cell.state,
        "mean": cell.mean,
        "interval": cell.interval,
        "n": cell.n,
        "published": cell.published,
        "difference": cell.difference,
    }
    for seed, value in cell.seeds or ((None, None),):
        yield {"seed": seed, "value": value, **summary}
