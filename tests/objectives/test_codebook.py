from __future__ import annotations

import hashlib
import math
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from sslbench.errors import DataWarning, UserError
from sslbench.objectives.codebook import CodebookTargets, nearest, usage
from sslbench.objectives.k_means import k_means
from sslbench.objectives.patches import standardize
from sslbench.objectives.reconstruction import patchify
from sslbench.recipes.specs import Codebook
from tests.reference import masked as reference

K, D = 6, 12  # patches of two pixels


def rows(count: int = 120, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, D, generator=generator)


def fitted(patches: Tensor, *, seed: int = 0, **fields: Any) -> CodebookTargets:
    target = CodebookTargets(Codebook(size=K, **fields), patch=2, seed=seed)
    target.fit(patches)
    return target


def found(iterations: int, *, threads: int = 1) -> Tensor:
    return k_means(rows(), K, iterations=iterations, key=3, threads=threads)


def test_k_means_is_as_good_as_plain_lloyd() -> None:
    points = rows().tolist()
    ours = reference.inertia(points, found(30).tolist())
    starts = [rows(seed=0)[torch.randperm(120, generator=torch.Generator().manual_seed(s))[:K]]
              for s in range(3)]  # fmt: skip
    plain = [reference.inertia(points, reference.lloyd(points, s.tolist(), 30)) for s in starts]
    assert ours <= 1.02 * sorted(plain)[1]


def test_k_means_ends_where_lloyd_would_stay() -> None:
    centres = found(100)
    step = reference.lloyd(rows().double().tolist(), centres.double().tolist(), 1)
    assert_close(centres.double(), torch.tensor(step, dtype=torch.float64), rtol=0, atol=1e-5)


def test_every_iteration_brings_centres_nearer() -> None:
    points = rows().tolist()
    course = [reference.inertia(points, found(i).tolist()) for i in (1, 2, 3, 5, 8)]
    assert course == sorted(course, reverse=True) and course[0] > course[-1]


def test_the_same_patches_and_seed_give_the_same_bytes() -> None:
    patches = rows(2000)
    first, again, other = (fitted(patches, seed=s) for s in (0, 0, 1))
    assert torch.equal(first.centres, again.centres) and first.notes() == again.notes()
    assert not torch.equal(first.centres, other.centres)


def test_threads_are_left_as_they_were_and_decide_nothing() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        two = fitted(rows()).centres
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert torch.equal(two, fitted(rows()).centres)


def test_a_centre_that_loses_its_patches_gets_others() -> None:
    # Most patches are alike, so that most of the centres start at the same place.
    patches = torch.cat([torch.zeros(200, D), rows(60)])
    assert float(fitted(patches, iterations=30).codes_used) == 100.0


@pytest.mark.parametrize("normalize", [False, True])
def test_a_patch_is_the_number_of_its_nearest_centre(normalize: bool) -> None:
    target = fitted(rows(), normalize=normalize)
    images = torch.randn(3, 3, 6, 6, generator=torch.Generator().manual_seed(4)).double()
    centres = target.centres.double().tolist()
    for image, codes in zip(images, target(images).tolist(), strict=True):
        patches = [[float(x) for x in p] for p in reference.patches(image, 2)]
        if normalize:
            patches = [reference.standardized(p) for p in reference.patches(image, 2)]
        assert codes == [reference.nearest(p, centres) for p in patches]


def test_the_centres_of_standardised_patches_are_of_those() -> None:
    patches = rows()
    ours = fitted(patches, normalize=True)
    assert torch.equal(ours.centres, fitted(standardize(patches)).centres)
    assert torch.equal(fitted(5 * patches + 1, normalize=True).centres.round(decimals=3),
                       ours.centres.round(decimals=3))  # fmt: skip


def test_of_equally_near_centres_the_first_is_taken() -> None:
    centres = torch.tensor([[3.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    points = torch.tensor([[0.0, 1.0], [0.0, 0.0], [2.0, 0.0]])
    assert nearest(points, centres).tolist() == [1, 1, 0]


def test_the_search_does_not_depend_on_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = nearest(rows(), found(2))
    monkeypatch.setattr("sslbench.objectives.codebook._SCORES", 5 * K)
    assert torch.equal(nearest(rows(), found(2)), whole)


def test_perplexity_by_hand() -> None:
    used, perplexity = usage(torch.tensor([2, 1, 1, 0]))
    assert float(used) == 75.0
    assert math.isclose(float(perplexity), 2.0**1.5, rel_tol=1e-6)  # 1/2 bit + 2 x 2/4 bits
    used, perplexity = usage(torch.tensor([5, 5, 5, 5]))
    assert (float(used), round(float(perplexity), 5)) == (100.0, 4.0)
    used, perplexity = usage(torch.tensor([0, 9, 0, 0]))
    assert (float(used), float(perplexity)) == (25.0, 1.0)


def test_metrics_are_of_hidden_patches_alone() -> None:
    target = fitted(rows())
    codes = torch.tensor([[0, 0, 5], [1, 2, 5]])
    hidden = torch.tensor([[True, True, False], [True, True, False]])
    found = target.metrics(codes, hidden)
    assert_close(float(found["codes_used"]), 50.0)
    assert_close(float(found["code_perplexity"]), 2.0**1.5)


def test_the_fit_reports_its_use_and_a_digest_of_the_centres() -> None:
    target = fitted(rows())
    counts = nearest(rows(), target.centres).bincount(minlength=K)
    assert_close(target.perplexity, usage(counts)[1])
    digest = hashlib.blake2b(target.centres.numpy().tobytes(), digest_size=8).hexdigest()
    assert target.notes() == {
        "codes_used": "100.0",
        "code_perplexity": f"{float(target.perplexity):.1f}",
        "codebook": digest,
    }


def test_a_centre_is_drawn_with_the_brightness_and_contrast_of_its_patch() -> None:
    images = torch.randn(1, 3, 4, 6, generator=torch.Generator().manual_seed(4)) * 2 + 1
    patches = patchify(images, 2)  # as many as centres: each is one
    for normalize in (False, True):
        target = fitted(patches[0], normalize=normalize)
        codes = torch.nn.functional.one_hot(target(images), K).float()
        assert_close(target.to_pixels(codes, images), patches)


def test_images_of_few_different_patches_are_warned_of() -> None:
    two = torch.tensor([[0.0], [1.0]]).repeat(50, D)
    sentence = r"Only 2 of the codebook's 6 entries stand .* set objective.target.size to 2 or less"
    with pytest.warns(DataWarning, match=sentence):
        target = fitted(two)
    assert round(float(target.codes_used), 3) == 33.333
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted(torch.arange(3.0)[:, None].repeat(50, D))  # half of them


def test_refusals() -> None:
    with pytest.raises(UserError, match=r"5 patches cannot have 6 centres; set .* to 5 or less"):
        fitted(rows(5))
    with pytest.raises(UserError, match="4 patches cannot have 6 centres; lower objective"):
        Codebook(size=6, patches=4)
    with pytest.raises(UserError, match="size must be >= 2"):
        Codebook(size=1)
    with pytest.raises(UserError, match="iterations must be >= 1"):
        Codebook(iterations=0)


def test_as_many_patches_as_centres_are_all_kept() -> None:
    target = fitted(rows(K))
    assert float(target.codes_used) == 100.0
    image = torch.zeros(1, 3, 2, 2)
    assert patchify(image, 2).shape == (1, 1, D)
    assert target(image).item() == nearest(torch.zeros(1, D), rows(K)[
        nearest(target.centres, rows(K))]).item()  # fmt: skip
