"""What a protocol kept of each test image beside its score: found, read whole, and checked."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from sslbench.errors import UserError
from sslbench.evaluation.features import file_hash
from sslbench.evaluation.npz import Array, read_arrays
from sslbench.evaluation.scores import Score, load_score
from sslbench.evaluation.subject import Subject
from sslbench.recipes.specs import ImageSet

_ROOM = 8  # times the pixels of the test images: more bytes than any protocol keeps


def kept_score(subject: Subject, protocols: Sequence[str]) -> Score:
    """The score of the first of some protocols that the subject has one of, of its encoder and
    data as they are now.

    Args:
        protocols: full names.
    Raises:
        UserError: there is none; the sentence has the command that makes the first.
    """
    encoder = file_hash(subject.folder.encoder_path)
    for name in protocols:
        path = subject.folder.score_path(subject.label, name)
        if path.is_file():
            score = load_score(path)
            if (score.fingerprint, score.encoder) == (subject.dataset.fingerprint, encoder):
                return score
    raise UserError(
        f"{subject.folder.path.name} has no score of {' or '.join(protocols)} on "
        f"'{subject.label}'; make one with `{_command(subject, protocols[0])}`."
    )


def kept_arrays(
    subject: Subject, protocol: str, wanted: Mapping[str, tuple[str, str]]
) -> dict[str, Array]:
    """Arrays that are kept beside a score.

    Args:
        wanted: name to numpy's letters of its kind ("f", "iu") and its shape in letters and
            numbers ("K×4"); a letter is one size throughout, and N, H and W are known.
    Raises:
        UserError: an array is missing, or not as `wanted`, or the file is damaged.
    """
    path = subject.folder.predictions_path(subject.label, protocol)
    images = subject.dataset.test.images
    sizes = dict(zip("NHW", (len(images), *images.shape[2:]), strict=True))
    again = f"`{_command(subject, protocol, force=True)}`"
    try:
        found = read_arrays(path, wanted, limit=_ROOM * images.numel() + 2**20)
        for name, array in found.items():
            _check(name, array, *wanted[name], sizes)
    except KeyError as error:
        raise UserError(
            f"{path} has no {error}, which this needs: the protocol keeps none, or an earlier "
            f"version wrote it; score again with {again}."
        ) from None
    except ValueError as error:
        raise UserError(
            f"{path} is missing or damaged ({error}); write it again with {again}."
        ) from None
    return found


def _check(name: str, array: Array, kind: str, shape: str, sizes: dict[str, int]) -> None:
    letters = shape.split("×")
    expected = [int(x) if x.isdigit() else sizes.get(x) for x in letters]
    if (
        array.dtype.kind not in kind
        or array.ndim != len(letters)
        or any(e not in (None, n) for e, n in zip(expected, array.shape, strict=True))
    ):
        raise ValueError(f"its {name} is not {shape}")
    sizes.update(zip(letters, array.shape, strict=True))


def _command(subject: Subject, protocol: str, *, force: bool = False) -> str:
    """What scores the run on this data."""
    words = ["sslbench", "eval", str(subject.folder.path), "--protocol", protocol]
    if subject.label != subject.dataset.name:
        path = subject.data.path if isinstance(subject.data, ImageSet) else None
        words += ["--dataset", f"{subject.dataset.name}:{path}" if path else subject.dataset.name]
    return shlex.join(words + ["--force"] * force)
