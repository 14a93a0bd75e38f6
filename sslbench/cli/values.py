"""How the text of options becomes values; every wrong one is refused in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from sslbench.errors import UserError
from sslbench.files import parse_yaml

T = TypeVar("T", int, float)

MAX_JOBS = 1024


def require_jobs(jobs: int) -> int:
    """The same number; raises UserError for less than one, and for what no machine can do."""
    if not 1 <= jobs <= MAX_JOBS:
        raise UserError(f"--jobs must be 1 to {MAX_JOBS}.")
    return jobs


def require_seeds(seeds: int | None) -> int | None:
    """The same number; raises UserError for less than one."""
    if seeds is not None and seeds < 1:
        raise UserError("--seeds must be at least 1.")
    return seeds


def require_seed(seed: int) -> int:
    """The same seed; raises UserError for a negative one."""
    if seed < 0:
        raise UserError(f"--seed {seed}: needs a whole number from 0.")
    return seed


def numbers(text: str | None, kind: Callable[[str], T], option: str) -> list[T] | None:
    """Comma-separated numbers; None where nothing was given. Raises UserError."""
    if text is None:
        return None
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"{option} {text}: write numbers with commas between.") from None


def parse_sets(items: Iterable[str] | None) -> dict[str, Any]:
    """`a.b=value` pairs; values are read as YAML (null, true, 1e-3, [1, 2], {kind: EMA}).

    Raises:
        UserError: a pair that is none, or that YAML does not read.
    """
    changes: dict[str, Any] = {}
    for item in items or ():
        path, equals, text = (part.strip() for part in item.partition("="))
        if not equals or not path:
            raise UserError(f"--set {item}: write FIELD=VALUE, e.g. --set target.momentum=0.99.")
        try:
            changes[path] = parse_yaml(text)
        except UserError as error:
            raise UserError(f"--set {item}: not a value that YAML reads ({error}).") from None
    return changes
