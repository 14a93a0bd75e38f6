"""What travels with a table's numbers: where, on what and how they were measured, and what not."""

from __future__ import annotations

from collections.abc import Iterator

from sslbench.data.registry import DATASETS
from sslbench.reports.display import UNCERTAIN, is_measured, legend, row_label
from sslbench.tables.metrics import protocol_of
from sslbench.tables.moved import moved_rows
from sslbench.tables.results import MeasuredRow, MeasuredTable, ScoredOn

NAMED = 50  # rows that a sentence names; of more it gives the number


def company(table: MeasuredTable) -> dict[str, str]:
    """Facts by name, in the order to show them; {} for a table without measurements."""
    if not is_measured(table):
        return {}
    data = [_data(table.dataset, table.num_test, table.chance)]
    data += [f"{names} on {_data(on.dataset, on.num_test, on.chance)}"
             for on, names in scored_on(table).items()]  # fmt: skip
    prints = [table.fingerprint, *(on.fingerprint for on in scored_on(table))]
    facts = {
        "scale": table.scale,
        "data": "; ".join(data),
        "fingerprint": ", ".join(filter(None, dict.fromkeys(prints))),
        "protocols": ", ".join(protocols(table)),
        "seeds": _seeds(table),
        "device": table.device,
        "device class": table.device_class,
        "run time": f"{table.minutes:.1f} min",
        "torch": table.torch,
        "numerics": f"{table.numerics}{' (stale)' if table.stale else ''}",
        "commit": table.commit,
        "plugins": ", ".join(table.plugins),
        "overrides": ", ".join(f"{k}={v}" for k, v in table.overrides.items()),
    }
    return {name: fact for name, fact in facts.items() if fact}


def seed_count(table: MeasuredTable) -> str:
    """ "3 seeds", or "up to 12 seeds" where claims decided how many."""
    count = len(table.seeds)
    return f"{'up to ' if table.looks else ''}{count} seed{'' if count == 1 else 's'}"


def _seeds(table: MeasuredTable) -> str:
    """How many, and which; with the looks where seeds were added until claims were decided."""
    shown = f"{len(table.seeds)} ({', '.join(map(str, table.seeds))})"
    if not table.looks:
        return shown
    taken = ", ".join(str(look.seeds) for look in table.looks)
    left = f"; planned: {', '.join(map(str, table.planned))}" if table.planned else ""
    return f"{shown}, fewer in rows of claims that were decided; looked at {taken}{left}"


def scored_on(table: MeasuredTable) -> dict[ScoredOn, str]:
    """The data sets beside the table's own that columns are scored on, with the columns' names."""
    names: dict[ScoredOn, list[str]] = {}
    for column in table.columns:
        if column.on is not None:
            names.setdefault(column.on, []).append(column.name)
    return {on: ", ".join(found) for on, found in names.items()}


def _side(on: ScoredOn) -> str:
    """At which resolution; older results, which do not say it, have the runs'."""
    return f" at {on.resolution} pixels" if on.resolution else " at the runs' resolution"


def _data(name: str, num_test: int, chance: float) -> str:
    known = DATASETS.get(name)
    guess = f", chance {chance:.3g} %" if known is None or known.labelled else ""
    return f"{name} ({num_test} test images{guess})"


def company_line(table: MeasuredTable) -> str:
    """The same on one line, or "not measured here"."""
    facts = company(table)
    if not facts:
        return "not measured here; published values only"
    shown = (
        f"scale {facts['scale']}",
        facts["data"],
        facts.get("protocols", ""),
        seed_count(table),
        facts.get("device class", ""),
        f"commit {_short(table.commit)}" if table.commit else "",
        f"plugins {facts['plugins']}" if "plugins" in facts else "",
        facts["run time"],
        f"set {facts['overrides']}" if "overrides" in facts else "",
    )
    return " · ".join(filter(None, shown))


def _short(commits: str) -> str:
    """Ten digits of each commit that a table's runs were trained at."""
    return " + ".join(commit[:10] for commit in commits.split(" + "))


def protocols(table: MeasuredTable) -> list[str]:
    """Each protocol of the table once, with the first digits of its definition."""
    found: dict[str, None] = {}
    for column in table.columns:
        if name := protocol_of(column.metric):
            digest = f" ({column.definition[:8]})" if column.definition else ""
            found[name + digest] = None
    return list(found)


def notes(table: MeasuredTable) -> list[str]:
    """The table's notes, and what a reader must know about how its numbers came about."""
    out = list(table.notes)
    if is_measured(table):
        out.append(legend(table))
    if names := dict.fromkeys(column.protocol for column in table.columns if column.protocol):
        out.append(
            f"Published under another protocol than ours ({'; '.join(names)}): shown beside our "
            "values, never subtracted or ranked against them."
        )
    if any(row_label(row) != row.label for row in table.rows):
        out.append(UNCERTAIN)
    if is_measured(table) and (others := scored_on(table)):
        where = "; ".join(f"{names} on {on.dataset}{_side(on)}" for on, names in others.items())
        out.append(
            f"Transfer: all runs are trained on {table.dataset}; scored by the training and test "
            f"images of another set: {where}."
        )
    if table.stale and is_measured(table):
        out.append(
            f"Stale: some rows were measured with numerics {table.numerics}, older than this "
            "version's; measure the table again."
        )
    elif is_measured(table) and (moved := moved_rows(table)):
        out.append(
            f"Settings have changed since of {', '.join(moved)} (the recipe's, the scale's, or by "
            "a study): the numbers are of the settings before; measure the table again."
        )
    out += [f"{row.label}: {row.note}" for row in table.rows if row.note and _has_number(row)]
    return out


def not_measured(table: MeasuredTable) -> list[str]:
    """A sentence for every row, column or cell that has no number of ours."""
    if not is_measured(table):
        return ["Nothing of this table was measured here; its values are the published ones."]
    return [*_missing_columns(table), *_missing_rows(table)]


def digests(row: MeasuredRow) -> list[str]:
    """The names of the row's runs (<recipe>-s<seed>-<digest>), each once."""
    return list(dict.fromkeys(run for cell in row.cells.values() for run in cell.runs))


def _has_number(row: MeasuredRow) -> bool:
    return any(cell.n for cell in row.cells.values())


def _missing_columns(table: MeasuredTable) -> Iterator[str]:
    measured = _with_numbers(table)
    for column in table.columns:
        if column.metric is None and column.key not in measured:
            yield f"Column {column.name}: published only; no protocol of ours gives it."


def _with_numbers(table: MeasuredTable) -> set[str]:
    """Keys of the columns in which some row has a number of ours."""
    return {key for row in table.rows for key, cell in row.cells.items() if cell.n}


def _missing_rows(table: MeasuredTable) -> Iterator[str]:
    why = {
        "published-only": "published only",
        "missing": "not run yet",
        "failed": "failed",
        "diverged": "every seed diverged",
    }
    measured = _with_numbers(table)
    alike: dict[str, list[str]] = {}
    for row in (*table.rows, *table.baselines):
        empty: dict[tuple[str, str], list[str]] = {}
        for column in table.columns:
            cell = row.cells.get(column.key)
            if cell and not cell.n and column.key in measured:
                note = cell.note or (row.note if cell.state == "published-only" else "")
                empty.setdefault((cell.state, note), []).append(column.name)
        for (state, note), names in empty.items():
            everywhere = len(names) == len(table.columns) or not _has_number(row)
            where = row.label if everywhere else f"{row.label}, {', '.join(names)}"
            sentence = f"{why.get(state, state)}{'; ' + note.rstrip('.') if note else ''}."
            alike.setdefault(sentence, []).append(where)
    for sentence, places in alike.items():
        rest = f"; and {len(places) - NAMED:,} more rows" if len(places) > NAMED else ""
        yield f"{'; '.join(places[:NAMED])}{rest}: {sentence}"
