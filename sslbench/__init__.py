"""sslbench: self-supervised vision methods, one recipe each, measured under one protocol.

What `sslbench.<name>` offers is in `sslbench.api`, which is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sslbench.api import (
        Run,
        TableHandle,
        leaderboard,
        load_plugins,
        open_run,
        pretrain,
        recipe,
        recipe_names,
        runs,
        table,
        table_names,
        tune,
    )
    from sslbench.errors import UserError

__version__ = "0.1.0"
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

if not TYPE_CHECKING:  # a type checker knows the names above, and no others

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 'sslbench' has no attribute '{name}'")
        from importlib import import_module

        found = getattr(import_module("sslbench.api"), name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
