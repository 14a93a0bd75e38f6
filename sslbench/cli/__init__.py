"""The front door: typer commands and rich output; no science here."""

from __future__ import annotations

import os
import sys

TRACEBACK = "SSLBENCH_TRACEBACK"  # set in the environment: a traceback in place of each sentence
_STOPPED = "stopped; what was finished is kept."


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 a check failed, 2 bad input, 3 a run failed,
    130 stopped by a signal.

    A fault of the program shows its traceback; anything else is one sentence.
    """
    from sslbench.engine.console import steady_streams  # what it imports answers at once
    from sslbench.engine.signals import exit_on_signals

    with steady_streams() as out, exit_on_signals(f"sslbench: {_STOPPED}\n"):
        code = _command()
        out.flush()
        if out.error is not None and not isinstance(out.error, BrokenPipeError):
            _say(f"The output could not be written: {out.error.strerror}.")
            code = code or 2
    sys.exit(code)


def _command() -> int:
    from sslbench.cli.notices import show_data_warnings
    from sslbench.engine.mishaps import sentence
    from sslbench.engine.signals import STOPPED
    from sslbench.errors import Interrupted, RunFailed, UserError

    show_data_warnings()
    try:
        from sslbench.cli.app import app

        app()
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit):
            if error.code == STOPPED:  # a second Ctrl-C, which typer turns into this
                _say(_STOPPED)
            return error.code if isinstance(error.code, int) else int(bool(error.code))
        if os.environ.get(TRACEBACK):
            raise
        if isinstance(error, UserError):
            _say(str(error))
            return {Interrupted: STOPPED, RunFailed: 3}.get(type(error), 2)
        text = sentence(error)
        if text is None:
            raise
        _say(f"{text} ({TRACEBACK}=1 shows where.)")
        return 2
    return 0


def _say(text: str) -> None:
    print(f"sslbench: {text}", file=sys.stderr)
