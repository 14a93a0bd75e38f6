"""What a study may change of a recipe, by piece: data beside this file. Imports no torch."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from sslbench.errors import UserError
from sslbench.files import read_yaml
from sslbench.recipes.base import Spec
from sslbench.recipes.recipe import Recipe
from sslbench.recipes.scales.scale import holds
from sslbench.typed import read_as

FILE = Path(__file__).with_name("spaces.yaml")
RATE = "rate"  # the dimension that every study searches

Part = Literal["value", "rest", "low"]
Number = int | float


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How far some fields may move; exactly one of `times`, `range` and `factors` (spaces.yaml
    says what they are)."""

    fields: tuple[str, ...]
    times: tuple[float, float] | None = None
    range: tuple[float, float] | None = None
    factors: tuple[float, ...] | None = None
    of: Part = "value"
    log: bool = False
    most: tuple[float, ...] | None = None

    def problem(self) -> str | None:
        """What is wrong with it, if anything."""
        ways = [way for way in (self.times, self.range, self.factors) if way is not None]
        if len(ways) != 1:
            return "say one of times, range and factors."
        if self.factors is None and not ways[0][0] < ways[0][1]:
            low, high = ways[0]
            return f"the range from {low:g} to {high:g} is empty; the lower bound comes first."
        if self.factors is not None and 1 not in self.factors:
            return "factors needs 1 among them, the present value."
        lowest = min(ways[0])
        if lowest < 0 or (lowest == 0 and (self.range is None or self.log)):
            return "times, factors and a range by orders of magnitude begin above 0."
        if self.most is not None and len(self.most) != len(self.fields):
            return "most needs a value for each field."
        return None


@dataclass(frozen=True, kw_only=True)
class Narrowed:
    """Another range of a dimension for one recipe, or none at all where `rule` is absent."""

    because: str
    rule: Rule | None = None


@dataclass(frozen=True, kw_only=True)
class Inherits:
    """A recipe that begins at another's study, and which dimensions it searches in any case."""

    parent: str
    own: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Spaces:
    """All of spaces.yaml."""

    when: Mapping[str, Mapping[str, Rule]]
    narrowed: Mapping[str, Mapping[str, Narrowed]] = field(default_factory=dict)
    inherits: Mapping[str, Inherits] = field(default_factory=dict)

    def problem(self) -> str | None:
        """What is wrong in it, if anything, with its place."""
        named = [
            (f"when.{c}.{n}", rule) for c, rules in self.when.items() for n, rule in rules.items()
        ]
        named += [(f"narrowed.{r}.{n}", one.rule) for r, ones in self.narrowed.items()
                  for n, one in ones.items() if one.rule is not None]  # fmt: skip
        found = [f"{w}: {p}" for w, rule in named if (p := rule.problem())]
        found += [f"inherits.{r}: {one.parent} has a parent itself; name that one."
                  for r, one in self.inherits.items() if one.parent in self.inherits]  # fmt: skip
        return next(iter(found), None)


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """What a study varies: one number, which sets one field or several.

    Attributes:
        paths: the dotted fields that it sets.
        present: their values now, by path.
        default: the number that leaves them as they are.
        low, high: the bounds; `choices` in their place where there are few.
        log: by orders of magnitude.
        whole: a whole number.
        together: the other fields keep their proportions; otherwise all are set alike.
    """

    name: str
    paths: tuple[str, ...]
    present: Mapping[str, Any]
    default: Number
    low: Number
    high: Number
    log: bool
    whole: bool
    together: bool
    of: Part
    most: tuple[float, ...]
    choices: tuple[Number, ...] = ()

    def changes(self, value: Number) -> dict[str, Any]:
        """The fields that are not what they are now, at a value of the dimension."""
        ratio = value / self.default if self.together else 1.0
        out = {}
        for path, most in zip(self.paths, self.most, strict=True):
            now = self.present[path]
            number = _number(now, self.of) * ratio if self.together else value
            moved = now if value == self.default else self._as(now, min(number, most))
            if moved != now:
                out[path] = moved
        return out

    def _as(self, now: Any, number: Number) -> Any:
        if self.of == "low":
            return (short(number), now[1])
        if self.of == "rest":
            return short(1 - short(number), digits=6)
        return max(1, round(number)) if self.whole else short(number)

    def plain(self) -> dict[str, Any]:
        """Plain data for a record and the digest."""
        return {
            "fields": list(self.paths), "of": self.of, "default": self.default,
            **({"choices": list(self.choices)} if self.choices else
               {"low": self.low, "high": self.high, "log": self.log}),
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Space:
    """What a study of one recipe may change. `left_out` says why of what it may not."""

    dimensions: tuple[Dimension, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Dimension]:
        return iter(self.dimensions)

    def changes(self, point: Mapping[str, Number]) -> dict[str, Any]:
        """What a point changes, by dotted path; a dimension that it leaves out stays as it is."""
        named = {d.name: d for d in self.dimensions}
        return {k: v for name, x in point.items() for k, v in named[name].changes(x).items()}

    def only(self, names: set[str]) -> Space:
        """The dimensions of those names."""
        return replace(self, dimensions=tuple(d for d in self.dimensions if d.name in names))

    def plain(self) -> dict[str, Any]:
        """Plain data for a record and the digest."""
        return {d.name: d.plain() for d in self.dimensions}

    def digest(self) -> str:
        """12 hex digits of the SHA-256 of all ranges."""
        return hashlib.sha256(json.dumps(self.plain(), sort_keys=True).encode()).hexdigest()[:12]


def parse_spaces(document: Any, *, where: str = "spaces.yaml") -> Spaces:
    """Spaces from plain data. Raises UserError: an unknown field, or a range that is empty."""
    spaces = read_as(document, Spaces, where=where)
    if problem := spaces.problem():
        raise UserError(f"{where}: {problem}")
    return spaces


@functools.cache
def read_spaces() -> Spaces:
    """Those beside this file."""
    return parse_spaces(read_yaml(FILE))


def space_of(name: str, recipe: Recipe, *, spaces: Spaces | None = None) -> Space:
    """What a study may change of a recipe, as its scale has it.

    Args:
        name: that the recipe goes by.
        spaces: None: those of the program.
    Raises:
        UserError: there is nothing to tune.
    """
    spaces = spaces or read_spaces()
    rules = {} if recipe.epochs == 0 else {
        n: rule for condition, found in spaces.when.items() if holds(condition, recipe)
        for n, rule in found.items()
    }  # fmt: skip
    left_out = {}
    for dimension, narrowed in spaces.narrowed.get(name, {}).items():
        if narrowed.rule is None:
            left_out[dimension] = narrowed.because
            rules.pop(dimension, None)
        else:
            rules[dimension] = narrowed.rule
    found = [d for n, rule in rules.items() if (d := _dimension(n, rule, recipe)) is not None]
    if not found:
        raise UserError(
            f"{name} has nothing to tune: nothing of it is trained. Tune another recipe."
        )
    return Space(dimensions=tuple(found), left_out=left_out)


def _dimension(name: str, rule: Rule, recipe: Recipe) -> Dimension | None:
    """The rule on what the recipe has; None where all of its fields are absent or switched off."""
    present: dict[str, Any] = {}
    most: list[float] = []
    for i, pattern in enumerate(rule.fields):
        for path, value in _matching(recipe, pattern):
            if value or (rule.range is not None and "*" not in pattern):
                present[path] = value
                most.append(float("inf") if rule.most is None else rule.most[i])
    if not present:
        return None
    default = _number(next(iter(present.values())), rule.of)
    whole = rule.of == "value" and isinstance(default, int)
    if rule.factors is not None:
        choices = tuple(default * f for f in rule.factors)
        bounds: tuple[Number, Number] = (min(choices), max(choices))
        choices = tuple(map(round, choices)) if whole else choices
    else:
        choices, bounds = (), _bounds(rule, default, present, most)
        bounds = (max(1, round(bounds[0])), round(bounds[1])) if whole else bounds
    return Dimension(
        name=name, paths=tuple(present), present=present, default=default, low=bounds[0],
        high=bounds[1], log=rule.log or rule.times is not None, whole=whole,
        together=rule.times is not None, of=rule.of, most=tuple(most), choices=choices,
    )  # fmt: skip


def _bounds(
    rule: Rule, default: Number, present: Mapping[str, Any], most: list[float]
) -> tuple[Number, Number]:
    if rule.range is not None:
        return min(rule.range[0], default), max(rule.range[1], default)
    assert rule.times is not None
    numbers = [_number(value, rule.of) for value in present.values()]
    room = min((m / n for m, n in zip(most, numbers, strict=True) if n), default=1.0)
    if rule.of == "rest":
        room = min(room, 1 / default)
    return short(default * rule.times[0]), short(default * max(1.0, min(rule.times[1], room)))


def _matching(recipe: Recipe, pattern: str) -> Iterator[tuple[str, Any]]:
    """(path, value) of the fields that a pattern names; `*` is every spec in its place."""
    heads: list[tuple[str, Any]] = [("", recipe)]
    for part in pattern.split("."):
        heads = [
            (f"{path}.{name}" if path else name, getattr(spec, name))
            for path, spec in heads if isinstance(spec, Spec)
            for name in (spec._pieces() if part == "*" else [part]) if spec.has(name)
        ]  # fmt: skip
    yield from ((path, value) for path, value in heads if value is not None)


def _number(value: Any, of: Part) -> Number:
    number: Number = value[0] if of == "low" else value
    return short(1 - number, digits=6) if of == "rest" else number


def short(number: Number, *, digits: int = 4) -> Number:
    """A number as it is written down: with so many significant digits."""
    return number if isinstance(number, int) else float(f"{number:.{digits}g}")
