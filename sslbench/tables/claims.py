"""Claims: predicates of a closed vocabulary over cells, judged as held, not held or undecided.

    {id: predictor-needed, says: ..., holds: {near_chance: [no-predictor], factor: 2}}

An operand is "row" (first column), "row.column", or a number; `untrained` and `raw-pixels` are
rows of every table. `holds` applies to the published values and to ours; where a small scale must
be asked differently, `published` and `ours` stand instead. A claim that the paper states without
numbers has `words` (why) and only `ours`. `by` is how much a comparison must be won by, `factor`
multiplies its second operand; a list of operands means each of them. `not_below` and `not_above`
forgive a stated `margin`; all others are strict. In a table of several data sets a
claim is written about the rows of the first and judged, printed and ours, on those of the one
measured; a claim about one of them names it (`dataset`) and is judged there only. A claim that the
printed values contradict says so in its `note`. `steeper` and `correlated` speak of whole columns:
`{correlated: [linear], with: {alignment: -1, uniformity: -1}, above: 0.5}` is the rank correlation
of one with a weighted sum of others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from sslbench.errors import UserError, did_you_mean
from sslbench.tables.predicate import OF_COLUMNS, Predicate
from sslbench.tables.predicates import VOCABULARY
from sslbench.typed import read_as, typed

# What forgives a margin, which the claim must state.
LENIENT = ("not_below", "not_above")
REQUIRED = {"within": ("tolerance",), "less_sensitive": ("than",), "steadier": ("than",),
            "steeper": ("along",), "correlated": ("with", "above"),
            **dict.fromkeys(LENIENT, ("margin",))}  # fmt: skip
LEAST = {"argmax_inside": 3, "order": 2, "within": 2, "increasing": 2, "decreasing": 2}
PAIRS = ("greater", "less", *LENIENT)  # take numbers, and lists of operands
NUMBERS = ("order", "within")  # take numbers
_CELLS: Any = tuple[str, ...]
_NUMBERS: Any = tuple[str | float, ...]
_PAIR: Any = tuple[str | float | tuple[str | float, ...], ...]
_OPTIONS: dict[str, Any] = {
    "by": float, "factor": float, "margin": float, "tolerance": float, "along": str,
    "among": Literal["all"] | tuple[str, ...], "with": Mapping[str, float], "above": float,
}  # fmt: skip
POSITIVE = ("by", "factor", "margin", "tolerance")
_THAN: dict[str, Any] = {
    "less_sensitive": tuple[str, str] | tuple[tuple[str, str], ...],
    "steadier": tuple[str, ...],
    "steeper": str,
}


@dataclass(frozen=True, kw_only=True)
class _Form:
    """A claim as it is written."""

    id: str
    says: str
    holds: Mapping[str, Any] | None = None
    published: Mapping[str, Any] | None = None
    ours: Mapping[str, Any] | None = None
    words: str = ""
    note: str = ""
    dataset: str = ""


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
        form = read_as(data, _Form, where=where)
        where = f"{where} ({form.id})"
        published = form.holds if form.published is None else form.published
        ours = form.holds if form.ours is None else form.ours
        if published is None and not form.words:
            raise UserError(f"{where}: give 'holds', 'published', or 'words' saying why not.")
        return cls(
            id=form.id,
            says=form.says,
            published=None if published is None else parse(published, where=where),
            ours=None if ours is None else parse(ours, where=where),
            words=form.words,
            note=form.note,
            dataset=form.dataset,
        )

    def renamed(self, name: Callable[[str], str]) -> Claim:
        """The same about other cells."""
        published, ours = (form and form.renamed(name) for form in (self.published, self.ours))
        return replace(self, published=published, ours=ours)

    def operands(self) -> set[str]:
        """The names of all cells in both forms."""
        forms = (self.published, self.ours)
        return {name for form in forms if form is not None for name in form.operands()}

    def columns(self) -> set[str]:
        """The keys of all columns that either form speaks of as a whole."""
        forms = (self.published, self.ours)
        return {key for form in forms if form is not None for key in form.columns()}


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
    if kind in (*PAIRS, "less_sensitive") and len(arguments) != 2:
        raise UserError(f"{where}: {kind} needs two operands, got {len(arguments)}.")
    for key, value in options.items():
        hint = _THAN[kind] if key == "than" else _OPTIONS[key]
        typed(value, hint, where=f"{where}, {kind}: {key}")
        if key in POSITIVE and value <= 0:
            lenient = "; what is forgiven is the margin of not_below" if key == "by" else ""
            raise UserError(f"{where}, {kind}: {key} {value} must be above 0{lenient}.")
    if kind in OF_COLUMNS and (len(arguments) != 1 or options.get("with") == {}):
        raise UserError(f"{where}: {kind} speaks of one column and those that its options name.")
    least = LEAST.get(kind, 1)
    if len(arguments) < least:
        raise UserError(f"{where}: {kind} needs {least} operands or more, got {len(arguments)}.")
    if kind in ("all", "any"):
        arguments = [parse(item, where=where) for item in arguments]
    else:
        hint = _PAIR if kind in PAIRS else _NUMBERS if kind in NUMBERS else _CELLS
        typed(arguments, hint, where=f"{where}, {kind}")
    return Predicate(kind, tuple(arguments), options)
