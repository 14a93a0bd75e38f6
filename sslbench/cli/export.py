"""`export`: a run's encoder for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from sslbench.cli import options as o
from sslbench.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Export(o.Runs):
    """Write a run's encoder as safetensors with torchvision's or timm's key names."""

    run: o.Run
    to: Annotated[
        str | None,
        typer.Option(
            help="torchvision or timm; default: torchvision, of a Timm encoder timm.",
            show_default=False,
        ),
    ] = None
    out: Annotated[
        Path | None, typer.Option(help="File; default: <run>/encoder.<to>.safetensors.")
    ] = None

    def __call__(self) -> None:
        """Write the encoder with standard key names, and what it takes to judge it."""
        from sslbench.evaluation.subject import exported
        from sslbench.models.export import Layout, usual_layout

        folder = self.open_run(self.run)
        layout = usual_layout(folder.experiment().recipe.encoder)
        if self.to is not None:
            if self.to not in get_args(Layout):
                raise UserError(f"No layout '{self.to}'; known: torchvision, timm.")
            layout = cast("Layout", self.to)
        path = self.out or folder.path / f"encoder.{layout}.safetensors"
        exported(folder, path, layout=layout)
        typer.echo(str(path))
