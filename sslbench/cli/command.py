"""What a command is: a frozen dataclass whose fields are its options, and whose call does it.

Options that commands share are dataclasses too, and a command inherits them (options.py). Typer
reads the fields as it reads the parameters of a function. Modules whose fields are inherited do
without `from __future__ import annotations`: typer evaluates an annotation that is text in the
module of the command, not in the one that wrote it.
"""

import inspect
from typing import Any, Protocol

import typer
from typer.core import TyperCommand


class Command(Protocol):
    """A command with its options filled in."""

    def __call__(self) -> None:
        """Do it."""


def add_command(app: typer.Typer, name: str, command: type[Command]) -> None:
    """Give the app a command of that name; the class's docstring is its help.

    The help lists the command's own options first, then those of its bases in the order in which
    the class names them.
    """
    fields = [field for cls in command.__mro__ for field in inspect.get_annotations(cls)]
    places = {field: place for place, field in reversed(list(enumerate(fields)))}

    class Called(TyperCommand):
        def get_params(self, ctx: Any) -> list[Any]:
            params = super().get_params(ctx)
            return sorted(params, key=lambda p: places.get(str(p.name), len(places)))

        def invoke(self, ctx: Any) -> Any:
            return super().invoke(ctx)()  # typer has made the command; now it is done

    app.command(name, cls=Called)(command)
