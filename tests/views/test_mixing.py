"""Mixup, cutmix, soft labels and erasing against plain versions, one image at a time."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from sslbench import streams
from sslbench.views.mixing import erase, mix, soft_labels

KEYS = [streams.stream_key(0, "test", step) for step in range(400)]


def images_of(count: int, *, side: int = 12) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def one_hot(count: int) -> torch.Tensor:
    return F.one_hot(torch.arange(count) % 5, 5).float()


def test_soft_labels_are_the_true_class_less_what_all_share():
    found = soft_labels(torch.tensor([2, 0]), 4, smoothing=0.2)
    expected = torch.tensor([[0.05, 0.05, 0.85, 0.05], [0.85, 0.05, 0.05, 0.05]])
    torch.testing.assert_close(found, expected)
    assert torch.equal(soft_labels(torch.tensor([1]), 3, smoothing=0.0), one_hot(2)[1:, :3])


@pytest.mark.parametrize("count", [2, 5, 8])
def test_mixup_is_a_weighted_mean_with_the_batch_in_reverse(count):
    images, targets = images_of(count), one_hot(count)
    for key in KEYS[:10]:
        mixed, soft = mix(images, targets, key=key, mixup=0.8, cutmix=0.0)
        share = float(streams.beta(key, torch.tensor([0]), 1, alpha=0.8))
        for i in range(count):
            partner = count - 1 - i
            plain = share * images[i] + (1 - share) * images[partner]
            torch.testing.assert_close(mixed[i], plain)
            torch.testing.assert_close(soft[i], share * targets[i] + (1 - share) * targets[partner])
    torch.testing.assert_close(soft.sum(1), torch.ones(count))


@pytest.mark.parametrize("height", [12, 13])
def test_cutmix_pastes_a_clipped_rectangle_and_weighs_by_what_is_left(height):
    images = torch.randn(6, 3, height, 12, generator=torch.Generator().manual_seed(1))
    targets, shares, clipped = one_hot(6), [], 0
    for key in KEYS:
        mixed, soft = mix(images, targets, key=key, mixup=0.0, cutmix=1.0)
        _, row, column = streams.uniform(key, torch.tensor([2]), 3)[0].tolist()
        side = math.sqrt(1 - float(streams.beta(key, torch.tensor([1]), 1, alpha=1.0)))
        plain, half_h, half_w = images.clone(), int(height * side) // 2, int(12 * side) // 2
        top, bottom = int(row * height) - half_h, int(row * height) + half_h
        left, right = int(column * 12) - half_w, int(column * 12) + half_w
        box = (slice(max(top, 0), min(bottom, height)), slice(max(left, 0), min(right, 12)))
        plain[:, :, box[0], box[1]] = images.flip(0)[:, :, box[0], box[1]]
        area = (box[0].stop - box[0].start) * (box[1].stop - box[1].start)
        clipped += area < 4 * half_h * half_w
        assert torch.equal(mixed, plain)
        share = 1 - area / (12 * height)
        torch.testing.assert_close(soft, share * targets + (1 - share) * targets.flip(0))
        shares.append(share)
    assert clipped > 50
    assert 0.6 < sum(shares) / len(shares) < 0.8  # a half before boxes are clipped


def test_each_of_both_comes_in_half_of_the_batches():
    images, targets = images_of(4), one_hot(4)
    mixups = 0
    for key in KEYS:
        mixed, soft = mix(images, targets, key=key, mixup=0.8, cutmix=1.0)
        alone = [mix(images, targets, key=key, mixup=m, cutmix=c) for m, c in ((0.8, 0), (0, 1.0))]
        same = [torch.equal(mixed, x) and torch.equal(soft, y) for x, y in alone]
        assert any(same)
        mixups += same[0]
    assert 160 < mixups < 240  # 200 +- 4 standard deviations


def test_what_is_switched_off_changes_nothing():
    images, targets = images_of(4), one_hot(4)
    mixed, soft = mix(images, targets, key=1, mixup=0.0, cutmix=0.0)
    assert mixed is images and soft is targets
    assert erase(images, key=1, samples=torch.arange(4), probability=0.0) is images


def test_erasing_is_a_rectangle_of_one_colour_as_large_as_is_drawn():
    images, samples = torch.full((300, 3, 32, 32), 7.0), torch.arange(300)
    found = erase(images, key=KEYS[0], samples=samples, probability=0.25)
    changed = (found != 7.0).all(1)
    assert torch.equal(changed, (found != 7.0).any(1))  # in all channels
    u = streams.uniform(KEYS[0], samples, 23)
    for image, row in zip(changed, u.tolist(), strict=True):
        assert bool(image.any()) == (row[0] < 0.25)
        if image.any():
            attempts = zip(row[1:11], row[11:21], strict=True)
            for share, place in attempts:
                area = 1024 * (0.02 + (1 / 3 - 0.02) * share)
                aspect = math.exp(math.log(0.3) * (1 - 2 * place))
                h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
                if h < 32 and w < 32:
                    break
            top, left = int(row[21] * (33 - h)), int(row[22] * (33 - w))
            expected = torch.zeros(32, 32, dtype=torch.bool)
            expected[top : top + h, left : left + w] = True
            assert torch.equal(image, expected)
    erased = torch.where(changed[:, None], found, torch.nan).flatten(2)  # 300×3×1024
    colours = erased[changed.flatten(1).any(1)].nanmean(2)
    spread = (erased - erased.nanmean(2, keepdim=True)).abs()
    assert float(spread.nan_to_num(0).max()) < 1e-5
    assert abs(float(colours.mean())) < 0.3 and 0.8 < float(colours.std()) < 1.2


def test_an_image_loses_the_same_in_whatever_batch_it_is():
    images, samples = images_of(20), torch.arange(20)
    whole = erase(images, key=KEYS[1], samples=samples, probability=0.5)
    part = erase(images[7:9], key=KEYS[1], samples=samples[7:9], probability=0.5)
    assert torch.equal(whole[7:9], part)


def test_no_global_generator_is_asked():
    before = torch.random.get_rng_state()
    images, targets = images_of(4), one_hot(4)
    mix(images, targets, key=3, mixup=0.8, cutmix=1.0)
    erase(images, key=3, samples=torch.arange(4), probability=1.0)
    assert torch.equal(before, torch.random.get_rng_state())
