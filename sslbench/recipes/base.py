"""Specs: frozen, typed, validated dataclasses that print as YAML and change by dotted paths."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar, Self, cast

from sslbench.errors import UserError, did_you_mean
from sslbench.typed import describe, hints_of, is_union, typed

_CHECKED_LATER = ContextVar("checked later", default=False)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Base of every spec. Values are coerced by annotation when a spec is made.

    `DIGEST_SKIPS` names fields that never enter the digest; `DIGEST_SKIPS_DEFAULT` those that
    enter it only when they differ from their default: options that a spec gained later, so that
    the runs made before keep their digest.

    Raises:
        UserError: a value of the wrong type or outside its range; the sentence names the field.
    """

    DIGEST_SKIPS: ClassVar[frozenset[str]] = frozenset()
    DIGEST_SKIPS_DEFAULT: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        for name, hint in hints_of(type(self)).items():
            object.__setattr__(self, name, coerce(getattr(self, name), hint, where=name))
        if not _CHECKED_LATER.get():
            self.check()

    def check(self) -> None:
        """Range checks across fields; overridden by specs that have any."""

    def _check_all(self) -> None:
        """`check` of this spec and of all that it holds, the inner ones first."""
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Spec):
                value._check_all()
        self.check()

    def but(self, changes: Mapping[str, Any] | None = None, /, **fields: Any) -> Self:
        """A copy with some fields changed. Dotted paths reach into nested specs.

        `recipe.but(predictor=None)` and `recipe.but({"target.momentum": 0.99})` are what
        `--set` does too. `views.*.flip` changes every view that is present. Fields that need each
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
        for f in dataclasses.fields(self):
            if not (for_digest and self._outside_digest(f)):
                out[f.name] = _plain(getattr(self, f.name), for_digest)
        return out

    def _outside_digest(self, f: dataclasses.Field[Any]) -> bool:
        unchanged = getattr(self, f.name) == f.default
        return f.name in self.DIGEST_SKIPS or (f.name in self.DIGEST_SKIPS_DEFAULT and unchanged)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The spec that `to_dict` printed. Raises UserError for unknown fields or wrong types."""
        return cast("Self", coerce(data, cls, where=cls.__name__))

    def digest(self) -> str:
        """Hex SHA-256 of the content; equal content, equal digest."""
        text = json.dumps(self.to_dict(for_digest=True), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def leaves(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """(dotted path, value) of every leaf field; a nested spec also yields its `.kind`."""
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Spec):
                yield f"{prefix}{f.name}.kind", type(value).__name__
                yield from value.leaves(f"{prefix}{f.name}.")
            else:
                yield f"{prefix}{f.name}", value

    def require(self, condition: bool, message: str) -> None:
        """Raise UserError("Kind: message") unless the condition holds."""
        if not condition:
            raise UserError(f"{type(self).__name__}: {message}")


def choices(hint: Any) -> list[type[Spec]]:
    """The spec classes that a field's annotation allows."""
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
        raise UserError(f"{where}: needs {describe(hint)}, got {type(value).__name__}.")
    if specs and isinstance(value, (Mapping, str)):
        return _spec_from(value, specs, where)
    return typed(value, hint, where=where, text=True)


def _spec_from(value: Mapping[str, Any] | str, specs: list[type[Spec]], where: str) -> Spec:
    data: dict[str, Any] = {"kind": value} if isinstance(value, str) else dict(value)
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
        present = [n for n in known if isinstance(getattr(spec, n), Spec)]
        changed = {n: _changed(getattr(spec, n), rest, value, whole) for n in present}
        return dataclasses.replace(spec, **changed)
    if head not in known:
        hint = did_you_mean(head, known) if len(path) == 1 else ""
        nested = [p for p, _ in spec.leaves() if p.rsplit(".", 1)[-1] == path[-1]]
        extra = f"; there is '{nested[0]}'" if nested and not hint.startswith("; did") else ""
        raise UserError(
            f"{whole}: no such field '{head}' of {type(spec).__name__}"
            f"{extra or hint or did_you_mean(head, known)}"
        )
    if not rest:
        new = coerce(value, known[head], where=whole)
    else:
        child = getattr(spec, head)
        if not isinstance(child, Spec):
            state = "absent (null)" if child is None else "not a group of fields"
            raise UserError(f"{whole}: '{head}' is {state} here, so '{rest[0]}' cannot be set.")
        new = _changed(child, rest, value, whole)
    return dataclasses.replace(spec, **{head: new})


def _plain(value: Any, for_digest: bool) -> Any:
    if isinstance(value, Spec):
        return value.to_dict(for_digest=for_digest)
    if isinstance(value, tuple):
        return [_plain(v, for_digest) for v in value]
    return value
