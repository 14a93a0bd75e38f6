"""Where the images and annotations of a set lie: folders inside folders, halves, files in pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sslbench.data import listing
from sslbench.data.subsets import stratified
from sslbench.errors import UserError
from sslbench.files import entries, reading

TRAIN, VAL, TEST = ("train", "training"), ("val", "valid", "validation"), ("test", "testing")
QUARTER = 0.25  # of the images of a set that comes undivided, for testing

Item = TypeVar("Item")


def found_below(folder: Path, wanted: Callable[[Path], bool], *, what: str, depth: int = 2) -> Path:
    """The folder that is as wanted: this one, or the only one in it or one level further down.

    Args:
        what: names what is looked for, as in "a folder with Annotations/".
    Raises:
        UserError: there is none, or several.
    """
    level = [folder]
    for _ in range(depth + 1):
        fitting = [f for f in level if wanted(f)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            names = ", ".join(f"'{f}'" for f in fitting[:4])
            raise UserError(f"'{folder}' holds several sets ({names}); name one of them.")
        level = [sub for f in level for sub in subfolders(f)]
    raise UserError(f"'{folder}' is not, and does not hold, {what}; check the path.")


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder that are not hidden, by name. Raises UserError."""
    with reading(folder):
        return [f for f in entries(folder) if f.is_dir() and not f.name.startswith(".")]


def by_stem(folder: Path) -> dict[str, Path]:
    """Every image file below a folder by its path without suffix. Raises UserError: two files have
    the same."""
    found: dict[str, Path] = {}
    for name in listing.sort_out(folder)[0]:
        stem = name.removesuffix(Path(name).suffix)
        if stem in found:
            raise UserError(f"'{found[stem]}' and '{folder / name}' are two images of one name; "
                            "keep one.")  # fmt: skip
        found[stem] = folder / name
    return found


@dataclass(frozen=True)
class Pair:
    """An image and the file that tells what is in it."""

    image: Path
    other: Path


@dataclass(frozen=True)
class Halves:
    """Pairs of both halves, the folder that they lie below, and what a user should know of the
    division, in sentences."""

    base: Path
    train: list[Pair]
    test: list[Pair]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the folders of images and of their annotations are named.

    Attributes:
        images, others: names of the two kinds of folders.
        suffixes: of the annotations' files; None: those of images.
        endings: what may stand behind an image's name in that of its annotation.
        what: an annotation, in the plural, as in "label maps".
    """

    images: tuple[str, ...] = ("images", "image", "rgb")
    others: tuple[str, ...]
    suffixes: frozenset[str] | None = None
    endings: tuple[str, ...] = ("",)
    what: str

    def halves(self, folder: Path) -> Halves:
        """The pairs below a folder: of the halves that its folders name, else a quarter of all,
        drawn by one constant seed, to test.

        Raises:
            UserError: the folders are not found, or a half has no pair.
        """
        base = found_below(
            folder,
            lambda f: bool(self._parts(f)),
            what=f"a folder with {self.images[0]}/ and {self.others[0]}/, or with train/ and "
            f"train_{self.others[0]}/",
        )
        parts = self._parts(base)
        pairs, left = {}, 0
        for name, (images, others) in parts.items():
            pairs[name], missing = self._pairs(images, others)
            left += missing
        notes: tuple[str, ...] = ()
        if left:
            notes = (f"images without one of the {self.what}, which were left out: {left}.",)
        if list(parts) == [""]:
            train, test = quartered(pairs[""], what=f"pairs of images and {self.what}")
            return Halves(base, train, test, (*notes, QUARTER_NOTE))
        train, test = divided(pairs, where=base, what=self.what)
        return Halves(base, train, test, notes)

    def _parts(self, base: Path) -> dict[str, tuple[Path, Path]]:
        """Folders of images and of annotations by the name of their half; "" where all are one."""
        names = {f.name.lower(): f for f in subfolders(base)} if base.is_dir() else {}
        halves = [n for n in names if half_of(n)]
        found: dict[str, tuple[Path, Path]] = {}
        for half in halves:  # train/ beside trainannot/ or train_labels/; train/images/ and so on
            own = {f.name.lower(): f for f in subfolders(names[half])}
            beside = [names[half + gap + o] for o in self.others for gap in ("", "_")
                      if half + gap + o in names]  # fmt: skip
            within = [own[o] for o in self.others if o in own]
            first = next((own[i] for i in self.images if i in own), None)
            if beside:
                found[half] = (names[half], beside[0])
            elif within and first is not None:
                found[half] = (first, within[0])
        if found:
            return found
        images = next((names[i] for i in self.images if i in names), None)
        others = next((names[o] for o in self.others if o in names), None)
        if images is None or others is None:
            return {}
        inner = {f.name.lower(): f for f in subfolders(others)}
        for sub in subfolders(images):
            if half_of(sub.name.lower()) and sub.name.lower() in inner:
                found[sub.name.lower()] = (sub, inner[sub.name.lower()])
        return found or {"": (images, others)}

    def _pairs(self, images: Path, others: Path) -> tuple[list[Pair], int]:
        """The pairs of two folders by name, and how many images have no partner."""
        partners = self._partners(others)
        found, left = [], 0
        for stem, image in by_stem(images).items():
            fitting = [partners[stem + e] for e in self.endings if stem + e in partners]
            if len(fitting) > 1:
                raise UserError(f"'{image}' has two partners, '{fitting[0]}' and '{fitting[1]}'; "
                                "keep one.")  # fmt: skip
            found += [Pair(image, fitting[0])] if fitting else []
            left += not fitting
        return found, left

    def _partners(self, folder: Path) -> dict[str, Path]:
        if self.suffixes is None:
            return by_stem(folder)
        found: dict[str, Path] = {}
        for name, _ in listing.walk(folder):
            if listing.suffix(name) in self.suffixes:
                stem = name[: -len(listing.suffix(name))]
                if stem in found:
                    raise UserError(f"'{found[stem]}' and '{folder / name}' are of one image; keep "
                                    "one.")  # fmt: skip
                found[stem] = folder / name
        return found


QUARTER_NOTE = (
    "it comes undivided; a quarter of its images, drawn by a constant seed, is the test half, so "
    "numbers compare with those of sslbench alone."
)


def half_of(name: str) -> str:
    """train, val or test, of a folder or list of that name; "" of another."""
    for half in (TRAIN, VAL, TEST):
        if name in half:
            return half[0]
    return ""


def divided(
    parts: Mapping[str, Sequence[Item]], *, where: Path, what: str
) -> tuple[list[Item], list[Item]]:
    """Training and test items: `test` is tested on where it has any, else `val`; all others train.

    Args:
        parts: items by the name of their half, as `half_of` knows it.
    Raises:
        UserError: there is neither, or nothing to train on.
    """
    by_half: dict[str, list[Item]] = {}
    for name, items in parts.items():
        by_half.setdefault(half_of(name), []).extend(items)
    test = next((half for half in ("test", "val") if by_half.get(half)), None)
    train = [item for half, items in by_half.items() if half != test for item in items]
    if test is None or not train:
        lacking = "test or val" if test is None else "train"
        raise UserError(
            f"'{where}' has no {what} of a {lacking} half; a set needs some to train on and some "
            "to test on."
        )
    return train, by_half[test]


def quartered(items: Sequence[Item], *, what: str) -> tuple[list[Item], list[Item]]:
    """Three quarters to train on and one to test, in their old order, by one constant seed. Raises
    UserError: there are fewer than two."""
    if len(items) < 2:
        raise UserError(f"Found {len(items)} {what}; use two or more, so that some can be tested.")
    count = max(1, round(QUARTER * len(items)))
    test = {*stratified(None, len(items), count, purpose="quarter").tolist()}
    return [x for i, x in enumerate(items) if i not in test], [items[i] for i in sorted(test)]
