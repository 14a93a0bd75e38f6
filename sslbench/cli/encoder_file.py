"""What is said on the command line of an encoder file, and the run that it becomes.

No `from __future__ import annotations` here; command.py says why.
"""

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, get_args

import typer

from sslbench.cli import options as o
from sslbench.errors import UserError, did_you_mean
from sslbench.recipes.specs import Data
from sslbench.requests import exists, find_data, known_scale

if TYPE_CHECKING:
    from sslbench.engine.folder import RunFolder
    from sslbench.evaluation.foreign import FileOptions

_PANEL = "For an encoder file"


@dataclass(frozen=True, kw_only=True)
class FileRequest:
    """The options that are for encoder files only, but for those that a command takes for runs."""

    of_runs: ClassVar[tuple[str, ...]] = ()

    encoder: Annotated[
        str | None,
        typer.Option(
            help="What it holds: resnet18, resnet50, resnet18-small, vit-small-16… An export says "
            "it itself.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    heads: Annotated[
        int | None,
        typer.Option(
            help="Attention heads of a ViT; default: one for 64 of its width.",
            min=1,
            rich_help_panel=_PANEL,
        ),
    ] = None
    resolution: Annotated[
        int | None,
        typer.Option(
            help="Side of the images; default: a run's or an export's, otherwise the data's.",
            min=1,
            rich_help_panel=_PANEL,
        ),
    ] = None
    normalization: Annotated[
        str | None,
        typer.Option(
            help="imagenet, half (mean 0.5, std 0.5), none ([0, 1]), or data (its own mean and "
            "std); default: an export's, otherwise imagenet.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    mean: Annotated[
        str | None,
        typer.Option(
            help="Of its training images in [0, 1]: a number, or R,G,B.", rich_help_panel=_PANEL
        ),
    ] = None
    std: Annotated[str | None, typer.Option(help="As --mean.", rich_help_panel=_PANEL)] = None
    part: Annotated[
        str | None,
        typer.Option(
            help="The start of the encoder's keys, where there are several.", rich_help_panel=_PANEL
        ),
    ] = None
    positions: Annotated[
        str | None,
        typer.Option(
            help="How a ViT's positions are resampled: dino, mae, timm or torchvision; default: as "
            "the file's project does.",
            rich_help_panel=_PANEL,
        ),
    ] = None

    def refuse_for_run(self, run: str) -> None:
        """Raise UserError where any is given with a run, which keeps its own."""
        given = [f.name for f in fields(FileRequest) if getattr(self, f.name) is not None]
        names = [name for name in given if name not in self.of_runs]
        if names:
            words = ", ".join(f"--{name}" for name in names)
            raise UserError(
                f"{run} is a run, which keeps its own encoder and input; leave out {words}, for "
                "encoder files only."
            )

    def options(self) -> "FileOptions":
        """As the import takes them. Raises UserError."""
        from sslbench.evaluation.foreign import FileOptions
        from sslbench.models.positions import Resampling

        if self.positions is not None and self.positions not in get_args(Resampling):
            known = get_args(Resampling)
            raise UserError(f"--positions: no '{self.positions}'{did_you_mean('', known)}.")
        positions: Any = self.positions
        return FileOptions(
            encoder=self._encoder(),
            resolution=self.resolution,
            normalization=self._normalization(),
            part=self.part,
            positions=positions,
        )

    def _encoder(self) -> Any:
        if self.encoder is None:
            if self.heads is not None:
                raise UserError("--heads is of a ViT; say which, e.g. --encoder vit-small-16.")
            return None
        return encoder_spec(self.encoder, heads=self.heads)

    def _normalization(self) -> Any:
        from sslbench.models.card import NORMALIZATIONS, Normalization

        if self.mean is None and self.std is None:
            if self.normalization in (None, "data"):
                return self.normalization
            if self.normalization not in NORMALIZATIONS:
                known = [*NORMALIZATIONS, "data"]
                found = did_you_mean(str(self.normalization), known)
                raise UserError(f"--normalization: no '{self.normalization}'{found}")
            return NORMALIZATIONS[self.normalization]
        if self.normalization is not None:
            raise UserError("Say --normalization or --mean and --std, not both.")
        if self.mean is None or self.std is None:
            raise UserError(
                "--mean and --std belong together; say both, e.g. --mean 0.5 --std 0.5."
            )
        return Normalization(mean=_channels("--mean", self.mean), std=_channels("--std", self.std))


@dataclass(frozen=True, kw_only=True)
class Opener(o.OnData, o.Streaming, o.DataScale, FileRequest, o.Places):
    """The options with which a run is opened, or an encoder file as one."""

    def open(self, name: str) -> "tuple[RunFolder, Data | None]":
        """A run, and the data to look at it on; None is its own, which a file's run has.

        Raises:
            UserError: there is none of that name, or what is said of it does not fit.
        """
        if exists(name, folder=False):
            return self._import(Path(name)), None
        self.refuse_for_run(name)
        folder = self.open_run(name)
        scale = self.scale or known_scale(folder.experiment().scale)
        data = find_data(self.dataset, scale)
        return folder, data and data.but(self.streaming())

    def _import(self, file: Path) -> "RunFolder":
        from sslbench.evaluation.foreign import import_encoder_file
        from sslbench.models.card import read_card
        from sslbench.recipes.specs import ImageSet

        options = self.options()
        card = read_card(file)
        scale = self.scale or (known_scale(card.scale) if card else "cifar")
        data = find_data(self.dataset, scale)
        if isinstance(data, ImageSet):  # the scale limits the number of images, not their size
            data = data.but({"resolution": None, **self.streaming()})
        return import_encoder_file(file, options, data=data, root=self.data_root, runs=self.runs)


_RESNET = re.compile(r"([a-z0-9_]+?)(-small(?:-pad([12]))?(-norelu)?)?")
_VIT = re.compile(r"vit-([a-z]+)-([0-9]{1,4})")


def encoder_spec(name: str, *, heads: int | None = None) -> Any:
    """`resnet50`, `resnet18-small-pad2`, `vit-small-16`, `timm:resnet26` as an encoder spec.

    Raises:
        UserError: no such encoder, or heads of one that has none.
    """
    from sslbench.recipes.specs import ResNet, Timm, Torchvision, ViT

    if vit := _VIT.fullmatch(name):
        return ViT.from_dict({"arch": vit[1], "patch": vit[2], "heads": heads})
    if heads is not None:
        raise UserError(f"--heads is of a ViT, and {name} is none; leave it out.")
    library, _, inside = name.partition(":")
    if library in ("timm", "torchvision"):
        return Timm(name=inside) if library == "timm" else Torchvision(name=inside)
    resnet = _RESNET.fullmatch(name)
    if resnet is None:
        raise UserError(
            f"--encoder: no '{name}'; known: resnet18, resnet34, resnet50, resnet101, "
            "wide_resnet50_2, each with -small, -small-pad1, -small-pad2 or -small-norelu, and "
            "vit-tiny-16, vit-small-16, vit-base-16, vit-large-16, vit-huge-16 with any patch, "
            "timm:NAME and torchvision:NAME."
        )
    spec = {"arch": resnet[1], "stem": "small" if resnet[2] else "imagenet"}
    if resnet[3]:
        spec["stem_padding"] = int(resnet[3])
    return ResNet.from_dict({**spec, "stem_relu": not resnet[4]})


def _channels(option: str, text: str) -> tuple[float, float, float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in (1, 3):
        raise UserError(f"{option} {text}: write one number, or three with commas between.")
    first, second, third = values * 3 if len(values) == 1 else values
    return first, second, third
