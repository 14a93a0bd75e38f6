"""Where a set comes from: its download, and its reader, whose answer is checked."""

from __future__ import annotations

import contextlib
from pathlib import Path

from sslbench.data import listing
from sslbench.data.dataset import Raw
from sslbench.data.registry import ANNOTATIONS, DATASETS, function, info
from sslbench.data.split import Split
from sslbench.data.streaming.index import read_index
from sslbench.data.streaming.sets import all_of
from sslbench.errors import UserError, first_line
from sslbench.recipes.specs import DrawnSpec, ImageSet


def obtain(spec: ImageSet, folder: Path) -> None:
    """See that the files are there: download what is missing of a set that can be downloaded.

    Raises:
        UserError: they are not there and cannot be got.
    """
    lacking = listing.missing(spec.name, folder)
    download = info(spec.name).download is not None
    if download and spec.path is None:
        if lacking:
            _download(spec.name, folder, lacking)
        return
    if not folder.is_dir():
        kind = "is a file, not a folder" if folder.exists() else "does not exist"
        raise UserError(
            f"Data path '{folder}' {kind}; give the folder of '{spec.name}': --dataset "
            f"{spec.name}:PATH."
        )
    if lacking:
        remedy = ", or leave data.path out to download the set" if download else ""
        raise UserError(
            f"Data path '{folder}' lacks '{lacking[0]}' of '{spec.name}'{_more(lacking)}; "
            f"complete it{remedy}."
        )


def read(name: str, folder: Path, resolution: int) -> Raw:
    """Decode a whole set at `resolution`.

    Raises:
        UserError: a file is damaged, the folders do not make a data set, or the reader gives
            what is none.
    """
    entry = info(name)
    if entry.lister is not None and listing.has_shards(folder):
        raw = all_of(read_index(name, folder), resolution)
    else:
        raw = function(entry.reader)(folder, resolution)
    return _checked(raw, name, resolution, f"'{name}' in '{folder}'")


def draw(spec: DrawnSpec) -> Raw:
    """A whole drawn set, on the CPU. Raises UserError: memory does not suffice, or as `read`."""
    name = spec.set_name
    return _checked(function(info(name).reader)(spec), name, spec.resolution, f"'{name}'")


def _checked(raw: object, name: str, resolution: int, where: str) -> Raw:
    """The same, if it is a set of that resolution with all that its entry names, no half empty."""
    if not isinstance(raw, Raw):
        raise UserError(
            f"The reader of {where} gave a {type(raw).__name__}; make it give sslbench.data.Raw."
        )
    for half, split in (("training", raw.train), ("test", raw.test)):
        if len(split) == 0:
            raise UserError(f"The {half} half of {where} has no images; get its files again.")
        height, width = split.images.shape[2:]
        if (height, width) != (resolution, resolution):
            raise UserError(
                f"The reader of {where} gave images of {width}×{height} pixels; make it give "
                f"{resolution}×{resolution}, as it is asked for."
            )
        if fault := _fault(split, len(raw.classes)):
            raise UserError(f"The {half} half of {where} has {fault}; mend its files or reader.")
        if lacking := info(name).annotations - split.annotations:
            words = ", ".join(word for word in ANNOTATIONS if word in lacking)
            raise UserError(
                f"The {half} half of {where} has no {words}, which its entry names; make the "
                "reader give them, or leave them out of `annotations`."
            )
    return raw


def _fault(split: Split, num_classes: int) -> str:
    """What is wrong with a half's annotations, in words; "" if nothing is."""
    named = [split.labels, None if split.instances is None else split.instances.label]
    for labels in named:
        if labels is not None and len(labels):
            lowest, highest = labels.aminmax()
            if lowest < 0 or highest >= num_classes:
                return "labels that fit no class"
    if split.multilabels is not None and split.multilabels.shape[1] != num_classes:
        return f"{split.multilabels.shape[1]} multilabels an image for {num_classes} classes"
    if split.clip is None or split.frame is None:
        return ""
    places = {*zip(split.clip.tolist(), split.frame.tolist(), strict=True)}
    return "" if len(places) == len(split) else "two images for one frame of a clip"


def _more(lacking: list[str]) -> str:
    return f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""


def _download(name: str, folder: Path, lacking: list[str]) -> None:
    present = folder.is_dir() and any(f.name != listing.CACHE for f in folder.iterdir())
    state = f"is half there ('{lacking[0]}' is missing{_more(lacking)})" if present else "is absent"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        download = info(name).download
        assert download is not None
        function(download)(folder)
    except Exception as error:  # torchvision passes on whatever the network raises
        with contextlib.suppress(OSError):
            folder.rmdir()  # only if nothing came
        raise UserError(
            f"Data set '{name}' {state} in '{folder}' and could not be downloaded "
            f"({first_line(error)}); "
            f"put its files there from {DATASETS[name].url}, or choose --dataset shapes."
        ) from error
    still = listing.missing(name, folder)
    if still:
        raise UserError(
            f"Data set '{name}' is still incomplete after the download: '{folder / still[0]}' is "
            f"missing{_more(still)}; delete '{folder}' and run again."
        )
