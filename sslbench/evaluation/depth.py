"""Depth by a linear probe of a frozen map, beside one depth everywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbench.data.split import Split
from sslbench.errors import UserError
from sslbench.evaluation.accuracy import Outcome, chunks, complement
from sslbench.evaluation.dense_kinds import Depth
from sslbench.evaluation.dense_maps import (
    Pixels,
    cells_of,
    check_apart,
    check_maps,
    map_batches,
    resized,
    rows_at_once,
    statistics,
    train,
)
from sslbench.evaluation.linear import Standardization
from sslbench.evaluation.subject import Subject

KEPT = 64  # test images of which the predicted depth is kept
_ONE = math.log(math.e - 1)  # whose softplus is 1


def check(protocol: Depth, subject: Subject) -> None:
    """Raise UserError for an encoder without the map, or depth that makes no sense."""
    name, dataset = protocol.name, subject.dataset
    check_maps(name, subject, protocol.level)
    check_apart(name, dataset.train, dataset.test)
    for what, split in (
        ("training", dataset.train),
        ("training (held-out)", dataset.train[dataset.heldout]),
        ("test", dataset.test),
    ):
        depth = truth_of(split)
        known = depth[~depth.isnan()]
        if not len(known):
            raise UserError(
                f"{name}: the depth of no pixel of the {what} images is known; give images whose "
                "depth was measured."
            )
        least, most = (float(x) for x in known.aminmax())
        if least <= 0 or math.isinf(most):
            raise UserError(
                f"{name}: the {what} images have a depth of {least if least <= 0 else most:g}; a "
                "depth is finite and above 0, and NaN where it is not known."
            )
        if what == "training" and least == most:
            raise UserError(
                f"{name}: all pixels of the training images have the depth {least:g}, so that "
                "there is nothing to learn; give images whose depth differs."
            )


def truth_of(split: Split) -> Tensor:
    """float32 N×H×W depth of a split that has it; NaN where it is not known."""
    assert split.depth is not None  # the protocol needs it
    return split.depth


class DepthSweep:
    """S independent regressions of depth on the same pixels, one for each rate.

    Depth is softplus(w·x + b) in units of `scale`; the loss of a pixel is the absolute error in
    that unit. Weights start at 0 and the bias where depth is `scale` everywhere. SGD with momentum,
    as in `linear.Sweep`.

    Args:
        rates: S learning rates.
        scale: a depth; with the training median the rates fit every unit.
    """

    def __init__(
        self, rates: list[float], *, num_features: int, momentum: float, scale: float,
        device: torch.device,
    ) -> None:  # fmt: skip
        self.scale, self._momentum = scale, momentum
        self.rates = torch.tensor(rates, device=device)
        self._weights = torch.zeros(num_features + 1, len(rates), device=device)  # last: biases
        self._weights[-1] = _ONE
        self._velocity = torch.zeros_like(self._weights)

    def before(self, x: Tensor) -> Tensor:
        """N×C features to N×S, of which the softplus is depth in units of `scale`."""
        return torch.addmm(self._weights[-1], x, self._weights[:-1])

    def step(self, x: Tensor, targets: Tensor, *, factor: float) -> None:
        """One SGD step of all regressions on N×C features and N depths."""
        z = self.before(x)
        error = F.softplus(z) - targets[:, None] / self.scale
        gradient = error.sign_().mul_(z.sigmoid()).div_(len(x))  # N×S
        self._velocity.mul_(self._momentum)
        self._velocity[:-1].addmm_(x.T, gradient)
        self._velocity[-1] += gradient.sum(0)
        self._weights.addcmul_(self._velocity, self.rates, value=-factor)


@dataclass
class Errors:
    """Sums over known pixels, of which the measures are made; float64.

    Attributes:
        absolute: of |d - d*|, relative: of |d - d*| / d*, square: of (d - d*)^2, near: of pixels
            where the larger of d / d* and d* / d is below 1.25; count: of pixels.
    """

    absolute: float = 0.0
    relative: float = 0.0
    square: float = 0.0
    near: float = 0.0
    count: int = 0

    def add(self, depth: Tensor, truth: Tensor) -> None:
        """The pixels of predicted and true depth of one shape; NaN in the truth is not counted."""
        known = ~truth.isnan()
        d, t = depth[known].double(), truth[known].double()
        error = (d - t).abs()
        self.absolute += float(error.sum())
        self.relative += float((error / t).sum())
        self.square += float(error.square().sum())
        self.near += float((torch.maximum(d / t, t / d) < 1.25).sum())
        self.count += len(t)

    def values(self) -> dict[str, float]:
        """`abs_rel`, `rmse`, `mse`, and `delta1` in percent.

        Source: Eigen et al. 2014, arXiv:1406.2283, Sec. 4.1, over all pixels of the set.
        """
        mse = self.square / self.count
        return {
            "abs_rel": self.relative / self.count, "rmse": math.sqrt(mse), "mse": mse,
            "delta1": 100 * self.near / self.count,
        }  # fmt: skip


def run(protocol: Depth, subject: Subject) -> Outcome:
    """Choose the rate on the held-out part, fit on all training images, test once.

    Raises:
        UserError: memory does not suffice, or a map is not finite.
    """
    device, dataset = subject.device, subject.dataset
    depth = truth_of(dataset.train).to(device)
    pixels = Pixels(cells_of(subject, dataset.train.images, protocol.level), depth, ~depth.isnan())
    heldout = subject.heldout.to(device)
    rest = complement(heldout, len(depth)).to(device)
    probe = _Probe.fitted(pixels, rest, protocol.learning_rates, protocol)
    best, heldout_error = probe.best(pixels.cells[heldout], depth[heldout])
    rate = protocol.learning_rates[best]
    probe = _Probe.fitted(pixels, torch.arange(len(depth), device=device), (rate,), protocol)
    return _tested(probe, protocol, subject, rate, heldout_error)


def _tested(
    probe: _Probe, protocol: Depth, subject: Subject, rate: float, heldout_error: float
) -> Outcome:
    """The outcome on the test images, batch by batch."""
    test = subject.dataset.test
    truth = truth_of(test).cpu()
    found, constant, each = Errors(), Errors(), []
    first = torch.empty(0)
    start = 0
    for cells in map_batches(subject, test.images, protocol.level):
        depth = probe.depths(cells)[:, 0].cpu()
        part = truth[start : start + len(depth)]
        found.add(depth, part)
        constant.add(torch.full_like(part, probe.sweep.scale), part)
        each.append(((depth - part).abs() / part).flatten(1).nanmean(1))
        if start == 0:  # a batch has more than are kept
            first = depth[:KEPT]
        start += len(depth)
    beside = constant.values()
    medians = {f"median_{key}": beside[key] for key in ("abs_rel", "mse", "delta1")}
    return Outcome(
        values=found.values() | medians,
        chosen={"learning_rate": rate},
        heldout={"abs_rel": heldout_error},
        kept={
            "depth": first.half().numpy(),
            "abs_rel": torch.cat(each).float().numpy(),  # NaN where nothing is known
            "depth_known": (~truth.isnan()).flatten(1).sum(1).int().numpy(),
        },
    )


@dataclass(frozen=True)
class _Probe:
    """S regressions of depth on the cells of a map."""

    sweep: DepthSweep
    change: Standardization
    side: tuple[int, int]

    @classmethod
    def fitted(
        cls, pixels: Pixels, rows: Tensor, rates: tuple[float, ...], protocol: Depth
    ) -> _Probe:
        """Trained on the images at some int64 positions."""
        # The held-out part is unseen here too.
        change = statistics(pixels.cells[rows], protocol)
        median = pixels.targets[rows].nanmedian()
        sweep = DepthSweep(list(rates), num_features=pixels.cells.shape[3],
                           momentum=protocol.momentum, scale=float(median),
                           device=rows.device)  # fmt: skip
        train(sweep, pixels, rows, change, protocol)
        height, width = pixels.targets.shape[1:]
        return cls(sweep, change, (height, width))

    def depths(self, cells: Tensor) -> Tensor:
        """n×S×H×W of n×h×w×C maps."""
        z = self.sweep.before(self.change(cells).flatten(0, 2)).view(*cells.shape[:3], -1)
        return F.softplus(resized(z, self.side)) * self.sweep.scale

    def best(self, cells: Tensor, truth: Tensor) -> tuple[int, float]:
        """The regression of the lowest AbsRel on n×h×w×C maps, of equal ones that of the lowest
        absolute error, then the first; and its AbsRel. One that diverged comes last."""
        at_once = rows_at_once(len(self.sweep.rates) * self.side[0] * self.side[1])
        errors = [Errors() for _ in self.sweep.rates]
        for x, part in zip(chunks(cells, at_once), chunks(truth, at_once), strict=True):
            depths = self.depths(x)
            for index, found in enumerate(errors):
                found.add(depths[:, index], part)
        ranks = [
            (_last(found.relative), _last(found.absolute), index)
            for index, found in enumerate(errors)
        ]
        index = min(ranks)[2]
        return index, errors[index].relative / errors[index].count


def _last(value: float) -> float:
    return value if math.isfinite(value) else math.inf
