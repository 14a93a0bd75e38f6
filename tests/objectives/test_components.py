from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from sslbench.errors import UserError
from sslbench.objectives.components import principal_components
from sslbench.objectives.reconstruction import build_target, patchify
from sslbench.recipes.specs import PrincipalComponents

D = 12  # of patches of two pixels


def rows(count: int = 300) -> Tensor:
    """Of clearly different variances in mixed directions, and not centred."""
    generator = torch.Generator().manual_seed(0)
    spread = torch.linspace(3.0, 0.3, D)
    turned = torch.linalg.qr(torch.randn(D, D, generator=generator)).Q
    return (torch.randn(count, D, generator=generator) * spread) @ turned + 2.0


def test_the_components_are_those_of_a_singular_value_decomposition() -> None:
    mean, components = principal_components(rows(), 5)
    x = rows().double().numpy()
    directions = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[2][:5]
    assert_close(mean, torch.from_numpy(x.mean(axis=0)))
    signs = np.sign((components.numpy() * directions).sum(axis=1, keepdims=True))
    assert_close(components, torch.from_numpy(signs * directions))


def test_coefficients_are_those_of_scikit_learn() -> None:
    from sklearn.decomposition import PCA

    target = build_target(PrincipalComponents(components=4), patch=2, seed=0)
    images = torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    patches = patchify(images, 2)
    target.fit(patches.flatten(0, 1))
    peer = PCA(4, svd_solver="full").fit(patches.flatten(0, 1).numpy())
    expected = torch.from_numpy(peer.transform(patches.flatten(0, 1).numpy()))
    ours = target(images).flatten(0, 1)
    signs = (ours * expected).sum(dim=0).sign()
    assert_close(ours, signs * expected, rtol=1e-4, atol=1e-5)  # it is kept in float32


def test_they_are_orthonormal_and_fall_in_variance() -> None:
    mean, components = principal_components(rows(), D)
    assert_close(components @ components.T, torch.eye(D, dtype=torch.float64))
    variances = ((rows().double() - mean) @ components.T).var(dim=0).tolist()
    assert variances == sorted(variances, reverse=True)


def test_the_largest_entry_of_each_is_positive() -> None:
    for x in (rows(), -rows(), rows().flip(0)):
        found = principal_components(x, D)[1]
        largest = found.gather(1, found.abs().argmax(dim=1, keepdim=True))
        assert bool((largest > 0).all())


def test_the_sum_does_not_depend_on_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = principal_components(rows(), 4)
    monkeypatch.setattr("sslbench.objectives.components._CHUNK", 7)
    assert_close(principal_components(rows(), 4), whole)


def test_the_same_patches_give_the_same_bytes() -> None:
    pair = [build_target(PrincipalComponents(components=6), patch=2, seed=s) for s in (0, 1)]
    for target in pair:
        target.fit(rows())
    assert torch.equal(pair[0].components, pair[1].components)


def test_all_components_give_the_patch_back() -> None:
    target = build_target(PrincipalComponents(components=D), patch=2, seed=0)
    target.fit(rows())
    images = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    assert_close(target.to_pixels(target(images), images), patchify(images, 2),
                 rtol=1e-4, atol=1e-4)  # fmt: skip


def test_refusals() -> None:
    with pytest.raises(UserError, match="6 principal components need more than 6 patches; lower"):
        build_target(PrincipalComponents(components=6), patch=2, seed=0).fit(rows(6))
    with pytest.raises(UserError, match="components must be >= 1"):
        PrincipalComponents(components=0)
    with pytest.raises(UserError, match="6 components need more than 6 patches; raise"):
        PrincipalComponents(components=6, patches=6)
