"""`export`: a run's encoder for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from sslbench.cli import options as o
from sslbench.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Export(o.Runs):
    """Write a run's encoder as safetensors with torchvision's or timm's key names."""

    run: o.Run
    to: Annotated[str, typer.Option(help="torchvision or timm.")] = "torchvision"
    out: Annotated[
        Path | None, typer.Option(help="File; default: <run>/encoder.<to>.safetensors.")
    ] = None

    def __call__(self) -> None:
        """Write the encoder with standard key names, and what it takes to judge it."""
        from sslbench.evaluation.subject import exported

        folder = self.open_run(self.run)
        if self.to not in ("torchvision", "timm"):
            raise UserError(f"No layout '{self.to}'; known: torchvision, timm.")
        layout: Literal["torchvision", "timm"] = "timm" if self.to == "timm" else "torchvision"
        path = self.out or folder.path / f"encoder.{self.to}.safetensors"
        exported(folder, path, layout=layout)
        typer.echo(str(path))
