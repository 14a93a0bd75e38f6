"""Specs: frozen, typed, validated dataclasses that print as YAML and change by dotted paths."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar, cast

from sslbench.errors import UserError, did_you_mean
from sslbench.typed import describe, hints_of, is_union, typed

S = TypeVar("S", bound="Spec")

# Set while `but` walks: between two of its changes a spec may break its own rules.
_CHECKED_LATER = ContextVar("checked later", default=False)
_DIGEST = "digest"  # of a field's metadata


def later(default: Any) -> Any:
    """A field that a spec gained later: it enters the digest only where it is not the default, so
    that the runs made before keep theirs."""
    return dataclasses.field(default=default, metadata={_DIGEST: "unless default"})


def aside(default: Any = dataclasses.MISSING) -> Any:
    """A field that never enters the digest: it says something of the run and changes nothing."""
    return dataclasses.field(default=default, metadata={_DIGEST: "never"})


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Base of every spec. Values are coerced by annotation when a spec is made.

    A spec is an interface or final. An interface (`class ObjectiveSpec(Spec, interface=True)`) is
    what a field is annotated with: its kinds are its subclasses, those of a plugin too.

    Raises:
        UserError: a value of the wrong type or outside its range; the sentence names the field.
    """

    _interface: ClassVar[bool] = True

    def __init_subclass__(cls, *, interface: bool = False) -> None:
        final = next((base for base in cls.__bases__ if not base.__dict__["_interface"]), None)
        if final is not None:
            raise TypeError(f"{cls.__name__}: {final.__name__} is final; a kind is made beside it.")
        cls._interface = interface

    def __post_init__(self) -> None:
        for name, hint in hints_of(type(self)).items():
            # The one way into a frozen dataclass.
            object.__setattr__(self, name, coerce(getattr(self, name), hint, where=name))
        if not _CHECKED_LATER.get():
            self.check()

    def check(self) -> None:
        """Range checks across fields; overridden by specs that have any."""

    def _check_all(self) -> None:
        """`check` of this spec and of all that it holds, the inner ones first."""
        for name in hints_of(type(self)):
            value = getattr(self, name)
            if isinstance(value, Spec):
                value._check_all()
        self.check()

    def but(self, changes: Mapping[str, Any] | None = None, /, **fields: Any) -> Self:
        """A copy with some fields changed. Dotted paths reach into nested specs.

        `recipe.but(predictor=None)` and `recipe.but({"target.momentum": 0.99})` are what
        `--set` does too. `views.*.flip` changes every view that has it, `projector.hidden.*`
        every width of the list. Fields that need each
        other may come in any order: what they make together is checked.
        """
        result: Spec = self
        token = _CHECKED_LATER.set(True)
        try:
            for path, value in {**(changes or {}), **fields}.items():
                result = _changed(result, path.split("."), value, path)
        finally:
            _CHECKED_LATER.reset(token)
        result._check_all()
        return cast("Self", result)

    def to_dict(self, *, for_digest: bool = False) -> dict[str, Any]:
        """Plain data (dicts, lists, scalars), `kind` naming the spec where a field has a choice."""
        out: dict[str, Any] = {"kind": type(self).__name__}
        for f in self.in_order():
            if not (for_digest and self._outside_digest(f)):
                out[f.name] = _plain(getattr(self, f.name), for_digest)
        return out

    @classmethod
    def in_order(cls) -> Sequence[dataclasses.Field[Any]]:
        """The fields in the order in which they are printed."""
        return dataclasses.fields(cls)

    def _outside_digest(self, f: dataclasses.Field[Any]) -> bool:
        rule = f.metadata.get(_DIGEST)
        return rule == "never" or (rule is not None and getattr(self, f.name) == f.default)

    @classmethod
    def upgraded(cls, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """What an earlier version printed, as this one reads it; overridden by an interface whose
        kinds have changed."""
        return data

    def has(self, path: str) -> bool:
        """Whether there is such a dotted field here: a piece that is absent has none."""
        head, _, rest = path.partition(".")
        if head == "*":
            return any(getattr(self, name).has(rest) for name in self._pieces())
        if head not in hints_of(type(self)):
            return False
        value = getattr(self, head)
        if isinstance(value, tuple):
            return rest in ("", "*")
        return not rest or (isinstance(value, Spec) and value.has(rest))

    def _pieces(self) -> list[str]:
        """The fields that hold a spec here."""
        return [n for n in hints_of(type(self)) if isinstance(getattr(self, n), Spec)]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The spec that `to_dict` printed. Raises UserError for unknown fields or wrong types."""
        return cast("Self", coerce(data, cls, where=cls.__name__))

    def digest(self) -> str:
        """Hex SHA-256 of the content; equal content, equal digest."""
        return self._digest

    @functools.cached_property
    def _digest(self) -> str:
        # Sorted, so that fields may change places and a run keeps its folder.
        text = json.dumps(self.to_dict(for_digest=True), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def leaves(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """(dotted path, value) of every leaf field; a nested spec also yields its `.kind`."""
        for path, value in self._leaves:
            yield prefix + path, value

    @functools.cached_property
    def _leaves(self) -> tuple[tuple[str, Any], ...]:
        """Kept, since copies share the pieces that stay as they are."""
        found: list[tuple[str, Any]] = []
        for f in self.in_order():
            value = getattr(self, f.name)
            if isinstance(value, Spec):
                found.append((f"{f.name}.kind", type(value).__name__))
                found += [(f"{f.name}.{path}", leaf) for path, leaf in value._leaves]
            else:
                found.append((f.name, value))
        return tuple(found)

    def pieces(self) -> Iterator[Spec]:
        """This spec and all that it holds."""
        yield self
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Spec):
                    yield from part.pieces()

    def require(self, condition: bool, message: str) -> None:
        """Raise UserError("Kind: message") unless the condition holds."""
        if not condition:
            raise UserError(f"{type(self).__name__}: {message}")


def choices(hint: Any) -> list[type[Spec]]:
    """The final spec classes that a field's annotation allows, in the order of their making."""
    return [kind for part in _specs(hint) for kind in kinds(part)]


def kinds(spec: type[S]) -> list[type[S]]:
    """A final spec itself; of an interface all its kinds."""
    if not spec._interface:
        return [spec]
    return [kind for subclass in spec.__subclasses__() for kind in kinds(subclass)]


def _specs(hint: Any) -> list[type[Spec]]:
    parts = typing.get_args(hint) if is_union(hint) else (hint,)
    return [p for p in parts if isinstance(p, type) and issubclass(p, Spec)]


def coerce(value: Any, hint: Any, *, where: str) -> Any:
    """The value as the annotated type, or a UserError that names the field.

    `1e-3` read as a string by YAML becomes a float, a list a tuple, `{kind: EMA}` or the bare
    name `EMA` a spec. Booleans are never numbers.
    """
    specs = choices(hint)
    if isinstance(value, Spec):
        if type(value) in specs:
            return value
        wanted = " or ".join(spec.__name__ for spec in specs) or describe(hint)
        raise UserError(f"{where}: needs {wanted}, got {type(value).__name__}.")
    if specs and isinstance(value, (Mapping, str)):
        data: Mapping[str, Any] = {"kind": value} if isinstance(value, str) else value
        for interface in _specs(hint):
            data = interface.upgraded(data)
        return _spec_from(data, specs, where)
    return typed(value, hint, where=where, text=True)


def _spec_from(value: Mapping[str, Any], specs: list[type[Spec]], where: str) -> Spec:
    data = dict(value)
    kind = data.pop("kind", specs[0].__name__ if len(specs) == 1 else None)
    names = {s.__name__: s for s in specs}
    if kind is None:
        raise UserError(f"{where}: say which kind: {', '.join(names)}.")
    if not isinstance(kind, str) or kind not in names:
        raise UserError(f"{where}: no kind '{kind}'{did_you_mean(str(kind), names)}")
    cls = names[kind]
    known = hints_of(cls)
    for key in data:
        if key not in known:
            hint = did_you_mean(str(key), known)
            raise UserError(f"{where}.{key}: no such field of {kind}{hint}")
    for f in dataclasses.fields(cls):
        if f.default is dataclasses.MISSING and f.name not in data:
            raise UserError(f"{where}.{f.name}: {kind} needs it; it is missing.")
    return cls(**{k: coerce(v, known[k], where=f"{where}.{k}") for k, v in data.items()})


def _changed(spec: Spec, path: list[str], value: Any, whole: str) -> Spec:
    head, rest = path[0], path[1:]
    known = hints_of(type(spec))
    if head == "*":
        if not rest:
            raise UserError(f"{whole}: say which field of each, as in views.*.flip.")
        present = spec._pieces()
        having = [n for n in present if getattr(spec, n).has(".".join(rest))]
        changed = {n: _changed(getattr(spec, n), rest, value, whole) for n in having or present}
        return _copied(spec, changed)
    if head not in known:
        hint = did_you_mean(head, known) if len(path) == 1 else ""
        nested = [p for p, _ in spec.leaves() if p.rsplit(".", 1)[-1] == path[-1]]
        there = " and ".join(f"'{path}'" for path in nested)
        extra = f"; there is {there}" if nested and not hint.startswith("; did") else ""
        raise UserError(
            f"{whole}: no such field '{head}' of {type(spec).__name__}"
            f"{extra or hint or did_you_mean(head, known)}"
        )
    if not rest:
        new = coerce(value, known[head], where=whole)
    else:
        child = getattr(spec, head)
        if isinstance(child, tuple) and rest == ["*"]:
            return _changed(spec, [head], (value,) * len(child), whole)
        if not isinstance(child, Spec):
            state = "absent (null)" if child is None else "not a group of fields"
            raise UserError(f"{whole}: '{head}' is {state} here, so '{rest[0]}' cannot be set.")
        new = _changed(child, rest, value, whole)
    return _copied(spec, {head: new})


def _copied(spec: Spec, changed: Mapping[str, Any]) -> Spec:
    """A copy with other values, which are of their types already: `dataclasses.replace` would
    coerce every field anew, and a recipe is copied some forty times until it is a run's."""
    copy = object.__new__(type(spec))
    copy.__dict__.update(spec.__dict__, **changed)
    for kept in ("_leaves", "_digest"):  # the original's
        copy.__dict__.pop(kept, None)
    return copy


def _plain(value: Any, for_digest: bool) -> Any:
    if isinstance(value, Spec):
        return value.to_dict(for_digest=for_digest)
    if isinstance(value, tuple):
        return [_plain(v, for_digest) for v in value]
    return value
