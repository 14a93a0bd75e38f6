"""Random streams as functions: every draw comes from (seed, purpose, epoch, step, sample).

No generator holds state, so a resumed run, a run on N processes and an uninterrupted run on one
see the same numbers. The mixing function is the 64-bit finaliser of SplitMix64, in int64
arithmetic that wraps, and runs on any device inside compiled code.
Source: Steele, Lea and Flood 2014, "Fast Splittable Pseudorandom Number Generators", Fig. 17.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as int64
_MIX1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX2 = -7723592293110705685  # 0x94D049BB133111EB
_SEED_MASK = 0x7FFFFFFFFFFFFFFF  # torch's generators refuse the highest bit


def stream_key(seed: int, purpose: str, *counters: int) -> int:
    """An int64 key for one purpose ("views", "order", "init", ...) at some epoch and step."""
    text = ":".join([str(seed), purpose, *map(str, counters)])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def uniform(key: int | Tensor, samples: Tensor, count: int) -> Tensor:
    """`count` uniform numbers in [0, 1) for each sample: N×count float32 on samples' device.

    Args:
        key: from `stream_key`, a number or an int64 scalar on samples' device; or N×1 int64, each
            sample's own.
        samples: N int64 positions in the *global* batch (or data set), so that a process that
            holds some of them draws what one process would draw for them.
    """
    bits = _shift(_bits(key, samples, count), 40)  # 24 bits: every value exact in float32
    return bits.to(torch.float32) * 2.0**-24


def integers(key: int | Tensor, samples: Tensor, count: int, *, high: int) -> Tensor:
    """`count` whole numbers, uniform in [0, high), for each sample: N×count int64."""
    return _shift(_bits(key, samples, count), 1) % high


def normal(key: int | Tensor, samples: Tensor, count: int) -> Tensor:
    """Standard normal numbers, N×count float32, by Box and Muller from two uniforms each."""
    u = uniform(key, samples, 2 * count)
    radius = torch.sqrt(-2.0 * torch.log1p(-u[:, :count]))
    return radius * torch.cos(2.0 * torch.pi * u[:, count:])


def beta(key: int | Tensor, samples: Tensor, count: int, *, alpha: float) -> Tensor:
    """Beta(alpha, alpha) numbers, N×count float32, alpha > 0: the inverse of the distribution
    function at uniform numbers, interpolated linearly between 4,097 of its values."""
    table = _beta_quantiles(alpha, samples.device)
    place = uniform(key, samples, count) * (len(table) - 1)
    below = place.long()
    return torch.lerp(table[below], table[below + 1], place - below)


def seed_generator(key: int, device: torch.device | None = None) -> None:
    """Seed torch's own generator of a device (None: of the CPU), from which networks draw their
    first weights and drop path its paths."""
    seed = key & _SEED_MASK
    if device is None or device.type == "cpu":
        # torch.manual_seed prepares the seed of a GPU as well, with a stack trace each time.
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def permutation(key: int, length: int) -> Tensor:
    """A permutation of range(length), int64 on the CPU."""
    generator = torch.Generator().manual_seed(key & _SEED_MASK)
    return torch.randperm(length, generator=generator)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _beta_quantiles(alpha: float, device: torch.device) -> Tensor:
    return _cached_beta_quantiles(alpha, device)


@lru_cache(maxsize=16)
def _cached_beta_quantiles(alpha: float, device: torch.device) -> Tensor:
    import numpy as np
    from scipy.stats import beta as distribution

    quantiles = distribution.ppf(np.linspace(0.0, 1.0, 4097), alpha, alpha)
    return torch.tensor(quantiles, dtype=torch.float32, device=device)


def _bits(key: int | Tensor, samples: Tensor, count: int) -> Tensor:
    """64 random bits as int64, N×count."""
    columns = torch.arange(count, device=samples.device, dtype=torch.int64)
    return _mix(_mix(samples[:, None] * _GOLDEN + key) + (columns + 1) * _GOLDEN)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64 (torch's is arithmetic)."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _MIX1
    x = (x ^ _shift(x, 27)) * _MIX2
    return x ^ _shift(x, 31)
