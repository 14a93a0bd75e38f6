"""The front door: typer commands and rich output; no science here."""

from __future__ import annotations

import os
import sys

TRACEBACK = "SSLBENCH_TRACEBACK"  # set in the environment: a traceback in place of each sentence


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 a check failed, 2 bad input, 3 a run failed,
    130 stopped by a signal.

    A fault of the program shows its traceback; anything else is one sentence.
    """
    from sslbench.engine.console import steady_streams  # what it imports answers at once
    from sslbench.engine.signals import interrupt_on_signals

    with steady_streams() as out, interrupt_on_signals():
        code = _command()
        if out is not None:
            out.flush()
            if out.error is not None and not isinstance(out.error, BrokenPipeError):
                _say(f"The output could not be written: {out.error.strerror}.")
                code = code or 2
    sys.exit(code)


def _command() -> int:
    from sslbench.engine.mishaps import sentence
    from sslbench.engine.signals import STOPPED, interrupted
    from sslbench.errors import Interrupted, RunFailed, UserError

    try:
        from sslbench.cli.app import app
        from sslbench.cli.notices import show_data_warnings

        show_data_warnings()
        app()
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if interrupted(error) and not isinstance(error, Interrupted):
            _say("stopped; what was finished is kept.")
            return STOPPED
        if isinstance(error, SystemExit):
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
