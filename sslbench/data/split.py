"""Images with what is known of them: labels of whole images, objects in them, places in a clip."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from sslbench.data.streaming.images import Streamed
from sslbench.errors import UserError

# What a field holds: a letter is one size throughout a split, `images` says N, H and W.
_OF_IMAGES = {
    "images": (torch.uint8, "N×3×H×W"),
    "labels": (torch.int64, "N"),
    "multilabels": (torch.bool, "N×C"),
    "doubtful": (torch.bool, "N×C"),
    "semantic": (torch.uint8, "N×H×W"),
    "depth": (torch.float32, "N×H×W"),
    "clip": (torch.int64, "N"),
    "frame": (torch.int64, "N"),
    "hashes": (torch.int64, "N"),
}
_OF_OBJECTS = {
    "image": (torch.int64, "M"),
    "box": (torch.float32, "M×4"),
    "label": (torch.int64, "M"),
    "mask": (torch.bool, "M×H×W"),
    "track": (torch.int64, "M"),
    "crowd": (torch.bool, "M"),
}
BACKGROUND, VOID = 0, 255  # of a semantic map: none of the classes, and not known
_OBJECTS = "instances."  # before the names of their fields, where a split is a flat dictionary


@dataclass(frozen=True, eq=False, kw_only=True)
class Instances:
    """The M objects in the images of a split, in the order of the images.

    Attributes:
        image: int64 M, the position in the split of the image that shows the object; ascending.
        box: float32 M×4, what is visible of it as (left, top, right, bottom) in pixels; the right
            and bottom edges lie one past the last pixel.
        label: int64 M, positions in `Dataset.classes`.
        mask: bool M×H×W, true where it is visible.
        track: int64 M, which object of its clip it is: the same number in every frame.
        crowd: bool M, several objects in one box, or one that is marked as difficult: nothing is
            trained on it, and what is found there counts neither as right nor as wrong.

    Raises:
        UserError: a field of another shape or type, or images out of order.
    """

    image: Tensor
    box: Tensor
    label: Tensor
    mask: Tensor | None = None
    track: Tensor | None = None
    crowd: Tensor | None = None

    def __post_init__(self) -> None:
        _check_fields(self, _OF_OBJECTS, {})
        if self.image.is_cpu:  # elsewhere reading a value waits for the device
            _require(bool((self.image.diff() >= 0).all()), "instances.image must not descend.")
            solid = (self.box[:, :2] >= 0).all() and (self.box[:, :2] < self.box[:, 2:]).all()
            _require(bool(solid), "instances.box needs 0 <= left < right and 0 <= top < bottom.")

    def __len__(self) -> int:
        return len(self.image)

    def of(self, positions: Tensor, num_images: int) -> Instances:
        """Those of the images at some int64 positions of `num_images`, which become 0, 1, …"""
        counts = torch.bincount(self.image, minlength=num_images)
        starts, taken = (counts.cumsum(0) - counts)[positions], counts[positions]
        image = torch.arange(len(positions), device=self.image.device).repeat_interleave(taken)
        place = torch.arange(len(image), device=image.device) - (taken.cumsum(0) - taken)[image]
        rows = starts[image] + place
        kept = {name: x[rows] for name, x in _tensors(self, _OF_OBJECTS).items()}
        return Instances(**kept | {"image": image})

    def to(self, device: str | torch.device) -> Instances:
        """A copy on another device."""
        return Instances(**{name: x.to(device) for name, x in _tensors(self, _OF_OBJECTS).items()})


@dataclass(frozen=True, eq=False)
class Split:
    """N images and, where known, what is in them.

    Attributes:
        images: uint8 N×3×H×W, a tensor or `Streamed`, which stands for one.
        labels: int64 N, positions in `Dataset.classes`; None without labels.
        multilabels: bool N×C, which of the classes are in the image.
        doubtful: bool N×C, classes of which a test does not ask whether they are in the image (all
            of their objects are difficult ones, as VOC says).
        semantic: uint8 N×H×W, what each pixel shows: 0 none of the classes, k + 1 class k, 255
            void; None where the masks of instances say it, if anything does.
        instances: the objects in the images.
        depth: float32 N×H×W, distance from the camera, above 0: of drawn sets in half image sides,
            of photographs in metres; NaN where it is not known.
        clip: int64 N, the number of the clip that an image is a frame of.
        frame: int64 N, the time of an image in its clip: no two of one clip have the same.
        hashes: int64 N, of each image's pixels; None where no two images can be the same.

    Raises:
        UserError: a field of another shape or type, an object of an image that is not there or
            outside of it, or one of `clip` and `frame` without the other.
    """

    images: Tensor
    labels: Tensor | None = None
    multilabels: Tensor | None = None
    doubtful: Tensor | None = None
    semantic: Tensor | None = None
    instances: Instances | None = None
    depth: Tensor | None = None
    clip: Tensor | None = None
    frame: Tensor | None = None
    hashes: Tensor | None = None

    def __post_init__(self) -> None:
        sizes = _check_fields(self, _OF_IMAGES, {})
        _require(
            (self.clip is None) == (self.frame is None),
            "clip and frame belong together; give both or neither.",
        )
        if (found := self.instances) is None:
            return
        _require(isinstance(found, Instances), "instances needs sslbench.data.Instances.")
        _check_fields(found, _OF_OBJECTS, {name: sizes[name] for name in "HW"})
        if len(found) and found.image.is_cpu:
            for image in (int(found.image[0]), int(found.image[-1])):
                _require(
                    0 <= image < sizes["N"],
                    f"instances.image names image {image} of {sizes['N']}; count from 0.",
                )
            side = torch.tensor([sizes["W"], sizes["H"]])
            _require(
                bool((found.box[:, 2:] <= side).all()),
                f"instances.box reaches out of the images, {sizes['W']}×{sizes['H']} pixels.",
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: Tensor | slice) -> Split:
        """The images at some positions, with all that belongs to them."""
        found = self.instances
        if found is not None:
            found = found.of(torch.arange(len(self), device=self.images.device)[indices], len(self))
        return self._each(lambda x: _select(x, indices), found)

    def to(self, device: str | torch.device) -> Split:
        """A copy on another device."""
        found = self.instances
        return self._each(lambda x: x.to(device), None if found is None else found.to(device))

    def _each(self, change: Callable[[Tensor], Tensor], instances: Instances | None) -> Split:
        own = {name: change(x) for name, x in _tensors(self, _OF_IMAGES).items()}
        return Split(**own, instances=instances)

    @property
    def annotations(self) -> frozenset[str]:
        """What is known of the images, in the words of `sslbench.data.registry.ANNOTATIONS`."""
        found = self.instances
        known = {
            "labels": self.labels,
            "multilabels": self.multilabels,
            "boxes": found,
            "masks": None if found is None else found.mask,
            "semantic": self.semantic if found is None or found.mask is None else found.mask,
            "depth": self.depth,
            "clips": self.clip,
        }
        return frozenset(word for word, value in known.items() if value is not None)

    def foreground(self) -> Tensor | None:
        """bool N×H×W, true on every object of an image; None without masks."""
        found = self.instances
        if found is None or found.mask is None:
            return None
        counts = torch.zeros_like(self.images[:, 0])
        return counts.index_add_(0, found.image, found.mask.to(torch.uint8)) > 0

    def semantic_maps(self) -> Tensor | None:
        """uint8 N×H×W as `semantic`, there or made of the masks; None without both.

        A crowd's pixels are void. Where masks overlap the later of two instances is on top.
        """
        found = self.instances
        if self.semantic is not None or found is None or found.mask is None:
            return self.semantic
        maps = torch.full_like(self.images[:, 0], BACKGROUND)
        kind = (found.label + 1).to(torch.uint8)
        if found.crowd is not None:
            kind = kind.masked_fill(found.crowd, VOID)
        for row, image in enumerate(found.image.tolist()):
            maps[image].masked_fill_(found.mask[row], int(kind[row]))
        return maps

    def tensors(self) -> dict[str, Tensor]:
        """Every field that is there, flat, by its name; `split_of` makes a split of them again."""
        found = {} if self.instances is None else _tensors(self.instances, _OF_OBJECTS)
        return _tensors(self, _OF_IMAGES) | {_OBJECTS + name: x for name, x in found.items()}


def split_of(tensors: Mapping[str, Tensor]) -> Split:
    """The split that `Split.tensors` took apart."""
    own = {name: x for name, x in tensors.items() if not name.startswith(_OBJECTS)}
    found = {
        name.removeprefix(_OBJECTS): x for name, x in tensors.items() if name.startswith(_OBJECTS)
    }
    return Split(**own, instances=Instances(**found) if found else None)


def joined(parts: Sequence[Split]) -> Split:
    """One split of several that have the same fields, one behind the other."""
    flat = [part.tensors() for part in parts]
    starts = torch.tensor([0, *map(len, parts)]).cumsum(0)
    for tensors, start in zip(flat, starts, strict=False):
        if (key := _OBJECTS + "image") in tensors:
            tensors[key] = tensors[key] + start
    return split_of({name: torch.cat([tensors[name] for tensors in flat]) for name in flat[0]})


def _select(x: Tensor, indices: Tensor | slice) -> Tensor:
    return x.subset(indices) if isinstance(x, Streamed) else x[indices]


def _tensors(owner: Any, wanted: Mapping[str, object]) -> dict[str, Tensor]:
    values = {f.name: getattr(owner, f.name) for f in fields(owner) if f.name in wanted}
    return {name: value for name, value in values.items() if value is not None}


def _check_fields(
    owner: Any, wanted: Mapping[str, tuple[torch.dtype, str]], sizes: dict[str, int]
) -> dict[str, int]:
    """The size of every letter. Raises UserError: a field is not as `wanted` says."""
    prefix = _OBJECTS if isinstance(owner, Instances) else ""
    for name, value in _tensors(owner, wanted).items():
        dtype, shape = wanted[name]
        letters = shape.split("×")
        expected = [int(x) if x.isdigit() else sizes.get(x) for x in letters]
        tensor = isinstance(value, Tensor | Streamed)
        fits = tensor and value.dtype == dtype and value.ndim == len(letters)
        if not (fits and all(e in (None, n) for e, n in zip(expected, value.shape, strict=True))):
            known = [f"{x} = {sizes[x]}" for x in letters if x in sizes]
            where = f", where {' and '.join(known)}" if known else ""
            raise UserError(
                f"A split's {prefix}{name} needs {str(dtype).removeprefix('torch.')} of shape "
                f"{shape}{where}; it got {_described(value)}."
            )
        sizes.update(zip(letters, value.shape, strict=True))
    return sizes


def _described(value: object) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    shape = "×".join(map(str, value.shape)) or "()"
    return f"{str(value.dtype).removeprefix('torch.')} of {shape}"


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(f"A split's {message}")
