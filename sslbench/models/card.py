"""What an encoder file of ours says about itself, so that it can be judged without a question."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sslbench.errors import UserError
from sslbench.files import parse_json
from sslbench.recipes.base import Spec
from sslbench.recipes.specs import Data, EncoderSpec, ImageSet, Views

KEY = "sslbench"  # in the file's metadata
VERSION = 1  # raised when a card changes its meaning


@dataclass(frozen=True, kw_only=True)
class Normalization(Spec):
    """What is taken from each channel of images in [0, 1], and what it is divided by."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def check(self) -> None:
        self.require(
            all(0 <= m <= 1 for m in self.mean) and all(0 < s <= 1 for s in self.std),
            f"mean {_listed(self.mean)} and std {_listed(self.std)} must lie in 0 to 1, std above "
            "0: they are of images in [0, 1]; divide those of images in [0, 255] by 255.",
        )

    def __str__(self) -> str:
        name = next((name for name, known in NORMALIZATIONS.items() if known == self), None)
        return f"mean {_listed(self.mean)}, std {_listed(self.std)}" + (f" ({name})" * bool(name))


def _listed(values: tuple[float, ...]) -> str:
    return " ".join(f"{v:.4g}" for v in (values[:1] if len(set(values)) == 1 else values))


NORMALIZATIONS: dict[str, Normalization] = {
    "imagenet": Normalization(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "half": Normalization(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    "none": Normalization(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
}


@dataclass(frozen=True, kw_only=True)
class EncoderCard(Spec):
    """Architecture, input and training data of an encoder.

    Attributes:
        views: of its training, whose pairs the geometry of its features is measured on.
        resolution: side of the images it was trained on, in pixels.
        data: what it was trained on, without a local path.
        scale: of the run, which limits the size of other data sets.
    """

    encoder: EncoderSpec
    views: Views
    resolution: int
    normalization: Normalization
    data: Data
    scale: str

    def check(self) -> None:
        self.require(self.resolution >= 1, "resolution must be >= 1.")

    def to_metadata(self) -> dict[str, str]:
        """For a safetensors file's header; equal cards give equal text."""
        data = self.data.but(path=None) if isinstance(self.data, ImageSet) else self.data
        document = {"version": VERSION, **self.but(data=data).to_dict()}
        return {KEY: json.dumps(document, sort_keys=True)}


def read_card(path: Path) -> EncoderCard | None:
    """The card in an encoder file; None for another project's.

    Raises:
        UserError: a damaged file, or a card of another version of sslbench.
    """
    from sslbench.models.files import read_metadata

    return card_of(path, read_metadata(path))


def card_of(path: Path, metadata: Mapping[str, str]) -> EncoderCard | None:
    """The card in a file's metadata, as `read_card`."""
    text = metadata.get(KEY)
    if text is None:
        return None
    try:
        document = parse_json(text)
        if not isinstance(document, dict) or document.pop("version", None) != VERSION:
            raise UserError("another version of sslbench wrote it")
        return EncoderCard.from_dict(document)
    except UserError as error:
        raise UserError(
            f"{path}: what it says about itself cannot be read ({str(error).rstrip('.')}); export "
            "it again with this version."
        ) from None
