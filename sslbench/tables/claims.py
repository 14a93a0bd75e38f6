"""Claims: predicates of a closed vocabulary over cells, judged as held, not held or undecided.

    {id: predictor-needed, says: ..., holds: {near_chance: [no-predictor], factor: 2}}

An operand is "row" (first column), "row.column", or a number; `untrained` and `raw-pixels` are
rows of every table. `holds` applies to the published values and to ours; where a small scale must
be asked differently, `published` and `ours` stand instead. A claim that the paper states without
numbers has `words` (why) and only `ours`. `by` is the margin a comparison must have (a negative
one allows as much), `factor` multiplies its second operand; a list of operands means each of them.
In a table of several data sets ours is judged on the one measured; a claim about one of them names
it (`dataset`) and is judged there only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sslbench.errors import UserError, did_you_mean
from sslbench.tables.predicates import VOCABULARY, Predicate

REQUIRED = {"within": ("tolerance",), "less_sensitive": ("than",), "steadier": ("than",),
            "steeper": ("along",)}  # fmt: skip
PAIRS = ("greater", "less", "at_least", "at_most", "less_sensitive")


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper and its two forms: on the published values, and on ours."""

    id: str
    says: str
    published: Predicate | None
    ours: Predicate | None
    words: str = ""
    note: str = ""
    dataset: str = ""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, where: str) -> Claim:
        """Raises UserError for an unknown predicate or option, with the nearest names."""
        known = ("id", "says", "holds", "published", "ours", "words", "note", "dataset")
        for key in data:
            if key not in known:
                raise UserError(f"{where}: no such field '{key}'{did_you_mean(str(key), known)}")
        if "id" not in data or "says" not in data:
            raise UserError(f"{where}: a claim needs 'id' and 'says'.")
        where = f"{where} ({data['id']})"
        both = data.get("holds")
        forms = {name: data.get(name, both) for name in ("published", "ours")}
        if forms["published"] is None and not data.get("words"):
            raise UserError(f"{where}: give 'holds', 'published', or 'words' saying why not.")
        parsed = {n: None if f is None else parse(f, where=where) for n, f in forms.items()}
        return cls(
            id=data["id"],
            says=data["says"],
            words=data.get("words", ""),
            note=data.get("note", ""),
            dataset=data.get("dataset", ""),
            **parsed,
        )

    def operands(self) -> set[str]:
        """The names of all cells in both forms."""
        forms = (self.published, self.ours)
        return {name for form in forms if form is not None for name in form.operands()}


def parse(data: Any, *, where: str) -> Predicate:
    """A predicate from `{kind: arguments, option: value}`. Raises UserError."""
    if not isinstance(data, Mapping):
        raise UserError(f"{where}: a predicate is a mapping such as {{greater: [a, b]}}.")
    kinds = [key for key in data if key in VOCABULARY]
    if len(kinds) != 1:
        unknown = [str(key) for key in data if key not in VOCABULARY]
        hint = did_you_mean(unknown[0], VOCABULARY) if unknown and not kinds else ""
        raise UserError(f"{where}: needs exactly one predicate, got {list(data)}{hint}")
    kind = kinds[0]
    allowed = VOCABULARY[kind][1]
    options = {key: value for key, value in data.items() if key != kind}
    for key in options:
        if key not in allowed:
            raise UserError(f"{where}: {kind} has no option '{key}'{did_you_mean(key, allowed)}")
    for key in REQUIRED.get(kind, ()):
        if key not in options:
            raise UserError(f"{where}: {kind} needs '{key}'.")
    arguments = data[kind] if isinstance(data[kind], list) else [data[kind]]
    if kind in PAIRS and len(arguments) != 2:
        raise UserError(f"{where}: {kind} needs two operands, got {len(arguments)}.")
    if kind in ("all", "any"):
        arguments = [parse(item, where=where) for item in arguments]
    return Predicate(kind, tuple(arguments), options)
