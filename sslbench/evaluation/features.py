"""Features: the encoder runs once over train and test images, and every protocol reads the result.

Images are normalised and nothing else. The cache beside the run belongs to one encoder file, data
set and normalisation; anything else found in its place is computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sslbench.data import Dataset, Reader
from sslbench.errors import UserError
from sslbench.files import write_atomically
from sslbench.views import normalize

BATCH_SIZE = 256  # images encoded at a time
NOT_FINITE = "The encoder gives features that are not finite; {}"
DIVERGED = "its training diverged. Train it again with a lower optimizer.lr."


@dataclass(frozen=True)
class Features:
    """float32 on the CPU, in the order of the data set's splits.

    Attributes:
        train: N×D.
        test: M×D.
    """

    train: Tensor
    test: Tensor


def extract(
    encoder: nn.Module,
    dataset: Dataset,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    batch_size: int = BATCH_SIZE,
    advice: str = DIVERGED,
) -> Features:
    """The features of both splits.

    Args:
        encoder: on the device that is to compute; N×3×H×W to N×D.
        mean, std: three channel values in [0, 1], the normalisation the encoder was trained with.
        advice: what a feature that is not finite means for the user.
    Raises:
        UserError: a feature is not finite.
    """
    parts = [
        encode(encoder, split.images, mean=mean, std=std, batch_size=batch_size)
        for split in (dataset.train, dataset.test)
    ]
    if not all(bool(torch.isfinite(part).all()) for part in parts):
        raise UserError(NOT_FINITE.format(advice))
    return Features(*parts)


def encode(
    encoder: nn.Module,
    images: Tensor,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    batch_size: int = BATCH_SIZE,
) -> Tensor:
    """Features of uint8 images in evaluation mode, without augmentation: N×D float32 on the CPU.

    The encoder's modules are left in the modes that they had.
    """
    batches = encode_batches(encoder, images, mean=mean, std=std, batch_size=batch_size)
    return torch.cat(list(batches))


def encode_batches(
    encoder: nn.Module,
    images: Tensor,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    batch_size: int,
) -> Iterator[Tensor]:
    """What `encode` gives, batch by batch."""
    device = encoder_device(encoder, images.device)
    for batch in in_order(images, batch_size):
        # float32 also of a run in bf16: one cache for every protocol, on whatever machine.
        with (
            torch.no_grad(),
            evaluation_mode(encoder),
            torch.autocast(device.type, enabled=False),
        ):
            features = forward(encoder, normalize(batch.to(device), mean, std)).cpu()
        yield features


def in_order(images: Tensor, batch_size: int) -> Iterator[Tensor]:
    """All images in batches, streamed ones read ahead."""
    count = math.ceil(len(images) / batch_size)
    order = torch.arange(len(images))
    reader = Reader(images, lambda n: order[n * batch_size : (n + 1) * batch_size], count)
    return map(reader.batch, range(count))


def forward(encoder: nn.Module, images: Tensor) -> Tensor:
    """N×D float32 of normalised images; convolutions are up to three times faster channels last."""
    features: Tensor = encoder(images.contiguous(memory_format=torch.channels_last))
    return features.float()


def encoder_device(encoder: nn.Module, default: torch.device) -> torch.device:
    """Where the encoder's parameters lie; the default for one that has none."""
    return next((p.device for p in encoder.parameters()), default)


@contextlib.contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards every submodule is in the mode it was in before."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, training in modes:
            m.training = training


def file_hash(path: Path) -> str:
    """Hex SHA-256 of a file's bytes. Raises UserError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from None


def cache_key(
    *,
    encoder: str,
    fingerprint: str,
    mean: Sequence[float],
    std: Sequence[float],
    read: str = "",
) -> str:
    """What cached features belong to: encoder file, data and normalisation, and how they are read
    from the encoder where it is not its own output."""
    text = f"{encoder}:{fingerprint}:{tuple(mean)}:{tuple(std)}{f':{read}' if read else ''}"
    return hashlib.sha256(text.encode()).hexdigest()


def read_features(path: Path, *, key: str) -> Features | None:
    """Cached features; None when there are none, they are damaged, or belong to something else."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            # The header alone is read before the key is known to fit.
            if (file.metadata() or {}).get("key") != key:
                return None
            return Features(file.get_tensor("train"), file.get_tensor("test"))
    except (OSError, SafetensorError):
        return None


def write_features(path: Path, features: Features, *, key: str) -> None:
    """Keep features for the next protocol. Raises UserError when the disk is full."""
    from safetensors.torch import save

    tensors = {"train": features.train, "test": features.test}
    write_atomically(path, save(tensors, {"key": key}))
