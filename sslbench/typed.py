"""Plain data against annotations: what JSON and YAML gave, as the dataclass that it should be.

One check for everything that is read from a file or a command line: types, known names, required
fields, finite numbers. The sentence names the field, and the nearest names for an unknown one.
"""

from __future__ import annotations

import dataclasses
import math
import re
import reprlib
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from sslbench.errors import UserError, did_you_mean

T = TypeVar("T")

Real = Annotated[float, "not only finite"]  # what a diverged run measures
LARGEST = 3.4e38  # of float32, in which everything here is computed
LARGEST_INT = 2**63 - 1
LEVELS = 32  # of lists and mappings inside each other, where any data may stand

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_shown = reprlib.Repr()
_shown.maxlevel, _shown.maxstring, _shown.maxother = 2, 80, 80


def read_as(value: Any, cls: type[T], *, where: object, remedy: str = "") -> T:
    """What a file held, as a dataclass or typed dictionary.

    Args:
        where: the file.
        remedy: what to do about it, where it is one that no person writes.
    Raises:
        UserError: the value does not fit; the sentence names file and field.
    """
    try:
        return typing.cast("T", typed(value, cls, where=""))
    except UserError as error:
        raise damaged(where, error, remedy) if remedy else UserError(f"{where}: {error}") from None


def damaged(where: object, error: UserError, remedy: str) -> UserError:
    """What is wrong in a file that no person writes, and what to do about it."""
    problem = str(error).rstrip(".?")
    return UserError(f"{where} is damaged or of another version: {problem}; {remedy}.")


def refusal(where: str, problem: str) -> UserError:
    """A problem of the field of that name, or of the whole where the name is empty."""
    return UserError(f"{where}: {problem}" if where else problem)


def inside(where: str, name: str) -> str:
    """The name of a field of the one called `where`."""
    return f"{where}.{name}" if where else name


def typed(value: Any, hint: Any, *, where: str, text: bool = False) -> Any:
    """The value as the annotated type.

    Lists become tuples where the annotation says so, mappings dataclasses. A dataclass takes no
    unknown field, except those that its `PRINTED` names (derived values, printed for readers of
    the file); a `TypedDict` keeps them. Booleans are never numbers, and a whole number stays one
    where a number is wanted.

    Args:
        where: what to call the value in a sentence.
        text: a number may be text, as YAML reads 1e-3, and becomes the annotated kind of number.
    Raises:
        UserError: the value does not fit; the sentence names the field.
    """
    if hint is Any:
        return _plain(value, where)
    if value is None:
        if hint is type(None) or type(None) in typing.get_args(hint):
            return None
        raise refusal(where, f"needs {describe(hint)}, not null.")
    if is_union(hint):
        return _one_of(value, hint, where, text)
    origin = typing.get_origin(hint) or hint
    if origin is typing.Literal:
        return _literal(value, hint, where)
    if origin is tuple:
        return _tuple(value, hint, where, text)
    if typing.is_typeddict(hint):
        return _typed_dict(value, hint, where, text)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        of = (typing.get_args(hint) or (str, Any))[1]
        pairs = _mapping(value, hint, where).items()
        return {k: typed(v, of, where=inside(where, k), text=text) for k, v in pairs}
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, typing.cast("type", hint)) else _built(value, hint, where)
    return _scalar(value, hint, where, text=text)


def require_name(name: str, where: str) -> None:
    """Names of what lies in folders are of a closed alphabet: none leads out of its folder.

    Raises:
        UserError: another character, a leading dot, or more than 100 of them.
    """
    if not _NAME.fullmatch(name):
        raise refusal(
            where,
            f"{_shown.repr(name)} is no name; use up to 100 letters, digits, dots, hyphens and "
            "underscores, a letter or digit first.",
        )


def require_seconds(seconds: float, where: str) -> None:
    """Raise UserError for less than no time, and for what is no time."""
    if not 0 <= seconds < math.inf:  # also false for nan
        raise refusal(f"{where} {seconds:g}", "needs a finite number from 0.")


_HINTS: dict[Any, dict[str, Any]] = {}


def hints_of(cls: Any) -> dict[str, Any]:
    """Field name to resolved annotation, of a dataclass or typed dictionary."""
    if cls not in _HINTS:
        hints = typing.get_type_hints(cls, include_extras=True)
        fields = hints if typing.is_typeddict(cls) else [f.name for f in dataclasses.fields(cls)]
        _HINTS[cls] = {name: _without_mark(hints[name]) for name in fields}
    return _HINTS[cls]


def _without_mark(hint: Any) -> Any:
    marked = typing.get_origin(hint) in (typing.NotRequired, typing.Required)
    return typing.get_args(hint)[0] if marked else hint


def is_union(hint: Any) -> bool:
    """Whether an annotation is a choice, `a | b`."""
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def describe(hint: Any) -> str:
    """An annotation in words."""
    if is_union(hint):
        parts = [p for p in typing.get_args(hint) if p is not type(None)]
        return " or ".join(describe(p) for p in parts)
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(map(str, typing.get_args(hint)))
    if typing.get_origin(hint) is tuple:
        return "a list"
    words = {int: "a whole number", float: "a finite number", Real: "a number",
             bool: "true or false", str: "text"}  # fmt: skip
    mapping = typing.get_origin(hint) is not None or typing.is_typeddict(hint)
    mapping = mapping or dataclasses.is_dataclass(hint)
    return words.get(hint, "a mapping" if mapping else getattr(hint, "__name__", str(hint)))


def wrong(where: str, value: Any, hint: Any) -> UserError:
    """The refusal of a value that is not of the annotated type."""
    return refusal(where, f"needs {describe(hint)}, got {_shown.repr(value)}.")


def unknown_field(where: str, key: object, known: Mapping[str, Any]) -> UserError:
    """The refusal of a field that is not there, with the nearest names."""
    return refusal(where, f"no such field '{key}'{did_you_mean(str(key), known)}")


def _plain(value: Any, where: str) -> Any:
    """Data of any shape that JSON can hold, no deeper than a person writes, so that no reader of
    it runs out of stack."""
    level = [value]
    for _ in range(LEVELS):
        below: list[Any] = []
        for item in level:
            if isinstance(item, Mapping):
                below += _mapping(item, Mapping[str, Any], where).values()
            elif isinstance(item, list | tuple):
                below += item
            elif isinstance(item, int | float) and not isinstance(item, bool):
                _scalar(item, float, where, text=False)
            elif item is not None and not isinstance(item, str | bool):
                raise refusal(where, f"needs text or a number, got {_shown.repr(item)}.")
        if not below:
            return value
        level = below
    raise refusal(where, f"lists and mappings stand more than {LEVELS} deep in each other.")


def _one_of(value: Any, hint: Any, where: str, text: bool) -> Any:
    parts = [p for p in typing.get_args(hint) if p is not type(None)]
    if len(parts) == 1:
        return typed(value, parts[0], where=where, text=text)
    for part in parts:
        try:
            return typed(value, part, where=where, text=text)
        except UserError:
            continue
    raise wrong(where, value, hint)


def _literal(value: Any, hint: Any, where: str) -> Any:
    options = typing.get_args(hint)
    if isinstance(value, str | int) and not isinstance(value, bool) and value in options:
        return value
    names = [str(option) for option in options]
    near = did_you_mean(value, names) if isinstance(value, str) else ""
    near = near if near.startswith("; did") else "."
    raise refusal(where, f"{_shown.repr(value)} is not one of {', '.join(names)}{near}")


def _tuple(value: Any, hint: Any, where: str, text: bool) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise wrong(where, value, hint)
    parts = typing.get_args(hint)
    if len(parts) == 2 and parts[1] is Ellipsis:
        parts = (parts[0],) * len(value)
    if len(parts) != len(value):
        raise refusal(where, f"needs {len(parts)} values, got {len(value)}.")
    pairs = zip(value, parts, strict=True)
    return tuple(typed(v, p, where=f"{where}[{i}]", text=text) for i, (v, p) in enumerate(pairs))


def _mapping(value: Any, hint: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise wrong(where, value, hint)
    for key in value:
        if not isinstance(key, str):
            raise refusal(where, f"a key must be text, not {_shown.repr(key)}; quote it.")
    return value


def _typed_dict(value: Any, cls: Any, where: str, text: bool) -> dict[str, Any]:
    data, known = _mapping(value, cls, where), hints_of(cls)
    for name in sorted(cls.__required_keys__ - set(data)):
        raise refusal(where, f"'{name}' is missing.")
    return {
        k: typed(v, known.get(k, Any), where=inside(where, k), text=text) for k, v in data.items()
    }


def _built(value: Any, cls: Any, where: str) -> Any:
    known, printed = hints_of(cls), getattr(cls, "PRINTED", ())
    data = {k: v for k, v in _mapping(value, cls, where).items() if k not in printed}
    for key in data:
        if key not in known:
            raise unknown_field(where, key, known)
    for f in dataclasses.fields(cls):
        needed = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if needed and f.name not in data:
            raise refusal(where, f"'{f.name}' is missing.")
    return cls(**{k: typed(v, known[k], where=inside(where, k)) for k, v in data.items()})


def _scalar(value: Any, hint: Any, where: str, *, text: bool) -> Any:
    if (hint is bool and isinstance(value, bool)) or (hint is str and isinstance(value, str)):
        return value
    if hint not in (int, float, Real) or isinstance(value, bool):
        raise wrong(where, value, hint)
    number = _number(value) if text else value
    if not isinstance(number, int | float):
        raise wrong(where, value, hint)
    if isinstance(number, float) and not math.isfinite(number):
        if hint is Real:
            return number
        raise wrong(where, value, hint)
    if abs(number) > (LARGEST_INT if hint is int else LARGEST):
        raise refusal(where, f"{_shown.repr(value)} is larger than any number that fits here.")
    if hint is int and not isinstance(number, int):
        if not text or number != int(number):
            raise wrong(where, value, hint)
        return int(number)
    return float(number) if text and hint is float else number


def _number(value: Any) -> Any:
    """Text as the number that it writes, if any."""
    if not isinstance(value, str):
        return value
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return None
