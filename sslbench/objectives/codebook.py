"""A codebook of patches: the centre nearest to a patch is the class to be predicted."""

from __future__ import annotations

import hashlib
import warnings

import torch
from torch import Tensor

from sslbench import distributed
from sslbench.errors import DataWarning, UserError
from sslbench.objectives.k_means import k_means
from sslbench.objectives.patch_targets import PatchTargets, finish_fit, full_precision
from sslbench.objectives.patches import moments, patchify, standardize
from sslbench.recipes.specs import Codebook
from sslbench.streams import stream_key

_SCORES = 2**26  # of patches with centres at a time: 256 MB


class CodebookTargets(PatchTargets):
    """The number of the nearest of K centres, found by k-means.

    Attributes:
        centres: K×D, of patches as they are compared: standardised, if the spec says so.
        codes_used: percent of the centres that are the nearest of some patch it was fitted to.
        perplexity: of the nearest centres of those patches: as many, used equally often, would be
            as hard to guess.
    """

    needs_fit = True
    centres: Tensor
    codes_used: Tensor
    perplexity: Tensor

    def __init__(self, spec: Codebook, *, patch: int, seed: int) -> None:
        super().__init__(spec, patch=patch)
        self.normalize, self.iterations, self.seed = spec.normalize, spec.iterations, seed
        self.register_buffer("centres", torch.zeros(spec.size, 3 * patch**2))
        self.register_buffer("codes_used", torch.zeros(()))
        self.register_buffer("perplexity", torch.zeros(()))

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            patches = self._compared(patchify(full_precision(images), self.patch))
            return nearest(patches.flatten(0, 1), self.centres).view(patches.shape[:2])

    @torch.no_grad()
    def fit(self, patches: Tensor) -> None:
        if len(patches) < self.outputs:
            raise UserError(
                f"{len(patches)} patches cannot have {self.outputs} centres; set "
                f"objective.target.size to {len(patches)} or less, or train on more images."
            )
        if distributed.rank() == 0:
            self._find(self._compared(full_precision(patches)))
        finish_fit(self)

    def _find(self, rows: Tensor) -> None:
        centres = k_means(
            rows.float().cpu(), self.outputs, iterations=self.iterations,
            key=stream_key(self.seed, "codebook"),
            threads=1,  # how sums are split over threads must not decide what is learned
        )  # fmt: skip
        self.centres.copy_(centres)
        counts = torch.bincount(nearest(rows, self.centres), minlength=self.outputs)
        used, perplexity = usage(counts)
        self.codes_used.copy_(used)
        self.perplexity.copy_(perplexity)
        if used < 50:
            num_used = int((counts > 0).sum())
            sentence = (
                f"Only {num_used} of the codebook's {self.outputs} entries stand for any patch of "
                f"the training images; set objective.target.size to {max(num_used, 2)} or less."
            )
            warnings.warn(DataWarning(sentence), stacklevel=3)

    @torch.no_grad()
    def metrics(self, targets: Tensor, hidden: Tensor) -> dict[str, Tensor]:
        """`codes_used` and `code_perplexity` of one batch. A batch has less than the training set:
        it cannot use more codes than it has hidden patches."""
        counts = hidden.new_zeros(self.outputs, dtype=torch.float32)
        counts.scatter_add_(0, targets.flatten(), hidden.flatten().float())
        used, perplexity = usage(distributed.mean(counts))
        return {"codes_used": used, "code_perplexity": perplexity}

    @torch.no_grad()
    def to_pixels(self, predicted: Tensor, images: Tensor) -> Tensor:
        centres = self.centres[predicted.argmax(dim=2)]
        if not self.normalize:
            return centres
        mean, deviation = moments(patchify(full_precision(images), self.patch))
        return centres * deviation + mean

    def notes(self) -> dict[str, str]:
        """Codes used by the patches it was fitted to (percent), their perplexity, and the digest of
        the centres, which is equal for equal codebooks."""
        numbers = self.centres.float().cpu().numpy().astype("<f4")
        return {
            "codes_used": f"{float(self.codes_used):.1f}",
            "code_perplexity": f"{float(self.perplexity):.1f}",
            "codebook": hashlib.blake2b(numbers.tobytes(), digest_size=8).hexdigest(),
        }

    def _compared(self, patches: Tensor) -> Tensor:
        return standardize(patches) if self.normalize else patches


def nearest(rows: Tensor, centres: Tensor) -> Tensor:
    """The number of each row's nearest centre, M int64; of equally near ones the first.

    Args:
        rows: M×D.
        centres: K×D.
    """
    centres = centres.to(rows.dtype)
    # |x - c|^2 = |x|^2 + 2 (|c|^2 / 2 - x c), and |x|^2 is the same for every centre.
    offsets = centres.square().sum(dim=1) / 2
    parts = rows.split(max(1, _SCORES // len(centres)))
    return torch.cat([torch.addmm(offsets, x, centres.T, alpha=-1).argmin(dim=1) for x in parts])


def usage(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Percent of the codes that occur, and the perplexity of their shares, from how often each of
    K occurs."""
    shares = counts / counts.sum()
    return 100.0 * (counts > 0).float().mean(), torch.special.entr(shares).sum().exp()
