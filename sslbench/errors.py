"""The one exception that is meant for users: a sentence, and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Bad input, a missing file, a failed run: shown as one sentence, exit code 2, no traceback."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`"; did you mean 'a' or 'b'?"`, or the known names when nothing is near; "" without any."""
    known = list(dict.fromkeys(known))
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return "; did you mean " + " or ".join(f"'{n}'" for n in near) + "?"
    return f"; known: {', '.join(known)}" if known else ""


def first_line(error: Exception) -> str:
    """What another library complains of, without a full stop, to quote in a sentence."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


class DataWarning(UserWarning):
    """Something about a data set that changes what its numbers mean; one sentence, said once. The
    command line prints it on stderr."""


class RunFailed(UserError):
    """A run that went wrong and said so in its folder: diverged, out of memory."""


class InUse(UserError):
    """A run folder that another living process holds; `holder` says which, in words."""

    def __init__(self, path: object, holder: str) -> None:
        super().__init__(f"{path} is in use by {holder}; wait for it, or stop it first.")
        self.holder = holder


class Interrupted(UserError):
    """A run stopped by a signal after saving; exit code 130."""
