"""The Python interface, for notebooks and scripts: thin functions over what the commands do.

Its names are stable and stand in `sslbench` itself; `docs/python.md` is the page about them.
"""

from __future__ import annotations

from sslbench.api.names import load_plugins, recipe, recipe_names
from sslbench.api.run import Run, open_run, pretrain, runs
from sslbench.api.studies import tune
from sslbench.api.tables import TableHandle, leaderboard, table, table_names
from sslbench.errors import UserError

__all__ = [
    "Run",
    "TableHandle",
    "UserError",
    "leaderboard",
    "load_plugins",
    "open_run",
    "pretrain",
    "recipe",
    "recipe_names",
    "runs",
    "table",
    "table_names",
    "tune",
]
