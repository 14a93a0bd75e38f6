"""The front door: typer commands and rich output; no science here."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 a check failed, 2 bad input, 3 a run failed,
    130 stopped by a signal."""
    from sslbench.cli.app import app
    from sslbench.cli.notices import show_data_warnings
    from sslbench.errors import Interrupted, RunFailed, UserError

    show_data_warnings()
    try:
        app()
    except UserError as error:
        print(f"sslbench: {error}", file=sys.stderr)
        codes = {Interrupted: 130, RunFailed: 3}
        sys.exit(codes.get(type(error), 2))
    except KeyboardInterrupt:
        print("sslbench: stopped; what was finished is kept.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
