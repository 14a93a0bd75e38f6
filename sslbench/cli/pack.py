"""`pack`: a folder of images as tar shards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sslbench.cli import options as o
from sslbench.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Pack(o.Json):
    """Write a folder of images as tar shards, which disks read faster than many small files.

    Run it again to go on where it was stopped.
    """

    folder: Annotated[
        Path, typer.Argument(help="With train/<class>/ and val/<class>/, or any images.")
    ]
    out: Annotated[Path, typer.Option(help="Where the shards go.")]
    shard_size: Annotated[int, typer.Option(help="Of a shard, in MB.", min=1)] = 256

    def __call__(self) -> None:
        from sslbench.data.streaming.packing import write_shards

        if not self.folder.is_dir():
            raise UserError(f"'{self.folder}' is no folder; name one of images.")
        found = write_shards(self.folder, self.out, shard_bytes=self.shard_size * 10**6,
                             progress=None if self.json else _tell)  # fmt: skip
        if self.json:
            self.print_json({"shards": found.shards, "images": found.images,
                             "written": found.written})  # fmt: skip
            return
        kept = found.shards - found.written
        typer.echo(
            f"{found.images:,} images in {found.shards} shards"
            + (f", {kept} of which were there" if kept else "")
        )
        kind = "folder" if (self.out / "classes.json").is_file() else "flat"
        typer.echo(f"Next: sslbench pretrain RECIPE --dataset {kind}:{self.out}")


def _tell(done: int, total: int) -> None:
    if done == total or done % max(1, total // 10) == 0:
        typer.echo(f"shard {done}/{total}", err=True)
