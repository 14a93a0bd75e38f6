"""Views are functions of key, sample and index; every preset runs; compiled equals eager."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sslbench.batch import ViewBatch
from sslbench.errors import UserError
from sslbench.recipes.specs import Blur, Crop, Jitter, View, Views
from sslbench.recipes.views import PRESETS
from sslbench.views import OPS, Augmenter, normalize, rows
from sslbench.views.augmenter import view_key
from sslbench.views.draws import COLUMNS, NUM_COLUMNS, Frame, Source, draw
from sslbench.views.geometry import full_boxes
from sslbench.views.pipeline import Pipeline, plan

MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)
NOTHING = View(crop=None, flip=0.0, jitter=None, grayscale=0.0, blur=None)
EVERYTHING = View(
    crop=Crop(interpolation="bicubic"),
    solarize=0.3,
    cutout=0.3,
    rotate=0.5,
    noise=0.3,
    sobel=0.2,
    size=20,
)


def photos(count: int = 6, side: int = 24) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


def augment(views: Views, images: torch.Tensor, *, key: int = 7, samples=None, **options):
    augmenter = Augmenter(views, resolution=24, mean=MEAN, std=STD, **options)
    samples = torch.arange(len(images)) if samples is None else samples
    return augmenter(images, key=key, samples=samples)


def pixels(view: View, images: torch.Tensor, **options) -> torch.Tensor:
    """One view's images before normalisation."""
    (batch,) = augment(Views(first=view, num_global=1), images, **options)
    return batch.images * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_gives_views_of_its_sizes(name):
    views = PRESETS[name]
    batches = augment(views, photos(3))
    num_large = views.num_global + len(views.shared)
    sizes = [views.first.size or 24] * num_large + [96] * views.num_local
    assert [tuple(batch.images.shape) for batch in batches] == [(3, 3, s, s) for s in sizes]
    for batch in batches:
        assert batch.images.dtype == torch.float32
        assert batch.images.isfinite().all()
        assert batch.box.shape == (3, 4) and batch.flipped.dtype == torch.bool


def test_every_operation_has_a_step_and_columns_of_its_own():
    assert set(OPS) == set(COLUMNS) == set(View().order)
    used = [c for columns in COLUMNS.values() for c in range(columns.start, columns.stop)]
    assert used == list(range(NUM_COLUMNS))


def test_a_view_does_not_depend_on_the_chunk_it_is_rendered_in(monkeypatch):
    images, samples = photos(40), torch.arange(40)
    whole = augment(PRESETS["simclr"], images)
    for floats in (3 * 24 * 24, 7 * 3 * 24 * 24):
        monkeypatch.setattr(rows, "CACHED_FLOATS", floats // torch.get_num_threads() + 1)
        for one, other in zip(whole, augment(PRESETS["simclr"], images), strict=True):
            assert torch.equal(one.images, other.images)
    assert len(rows.equal_chunks(samples, floats=3 * 24 * 24)) > 5


class LargeStorages(TorchDispatchMode):
    """The storages of so many bytes that operations write to."""

    def __init__(self, least: int) -> None:
        super().__init__()
        self.least, self.found = least, set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                storage = tensor.untyped_storage()
                if storage.nbytes() >= self.least:
                    self.found.add(storage.data_ptr())
        return result


def test_the_views_are_the_only_float_tensor_of_a_batchs_size(monkeypatch):
    images = photos(64, side=32)
    monkeypatch.setattr(rows, "CACHED_FLOATS", 8 * 3 * 32 * 32 // torch.get_num_threads())
    with LargeStorages(64 * 3 * 24 * 24 * 4) as large:
        first, second = augment(PRESETS["simclr"], images)
    assert large.found == {first.images.untyped_storage().data_ptr()}
    assert second.images.untyped_storage().data_ptr() in large.found


@pytest.mark.parametrize("parts", [(1, 5), (3, 3), (1, 1, 1, 1, 1, 1)])
def test_a_view_does_not_depend_on_the_batch_it_is_drawn_in(parts):
    images, views = photos(), Views(first=EVERYTHING, local=View(size=12), num_local=1)
    whole, start = augment(views, images), 0
    for length in parts:
        rows = torch.arange(start, start + length)
        for all_rows, some in zip(whole, augment(views, images[rows], samples=rows), strict=True):
            torch.testing.assert_close(some.images, all_rows.images[rows], atol=1e-4, rtol=0)
            assert torch.equal(some.box, all_rows.box[rows])
            assert torch.equal(some.flipped, all_rows.flipped[rows])
        start += length


def test_other_keys_samples_and_views_are_other_views():
    images = photos(1).expand(64, 3, 24, 24)
    first, second = augment(PRESETS["simclr"], images)
    other_key, _ = augment(PRESETS["simclr"], images, key=8)
    assert len(first.box.unique(dim=0)) > 50
    for other in (second, other_key):
        assert (first.box != other.box).any(1).float().mean() > 0.9
        assert (first.flipped != other.flipped).float().mean() > 0.2


def test_views_of_samples_of_one_image_set_agree_for_the_same_key():
    images = photos()
    for a, b in zip(*(augment(PRESETS["byol"], images) for _ in range(2)), strict=True):
        assert torch.equal(a.images, b.images)


def test_switched_off_operations_leave_the_normalised_image():
    images = photos()
    (batch,) = augment(Views(first=NOTHING, num_global=1), images)
    torch.testing.assert_close(batch.images, normalize(images, MEAN, STD))
    assert batch.box.tolist() == [[0.0, 0.0, 24.0, 24.0]] * 6
    assert not batch.flipped.any()
    zero = NOTHING.but(jitter=Jitter(probability=0.0), blur=Blur(probability=0.0))
    assert zero.active() == frozenset()


def test_normalize_is_less_the_mean_over_the_deviation():
    images = photos(2)
    expected = (images / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(normalize(images, MEAN, STD), expected)


@pytest.mark.parametrize("op", ["flip", "grayscale", "solarize", "rotate", "noise", "sobel",
                                "cutout"])  # fmt: skip
@pytest.mark.parametrize("probability", [0.2, 1.0])
def test_operations_touch_their_share_of_the_samples(op, probability):
    images = photos(1, 24).expand(2000, 3, 24, 24)
    view = NOTHING.but({op: probability, "size": 24})
    changed = (pixels(view, images) - images / 255).abs().flatten(1).amax(1) > 1e-3
    share = probability * (0.75 if op == "rotate" else 1.0)  # one of the four turns is none
    assert changed.float().mean().item() == pytest.approx(share, abs=0.04)


@pytest.mark.parametrize("name", ["jitter", "blur"])
def test_jitter_and_blur_touch_their_share_of_the_samples(name):
    images = photos(1).expand(2000, 3, 24, 24)
    view = NOTHING.but({name: Jitter(probability=0.3) if name == "jitter" else
                        Blur(probability=0.3, sigma=(1.0, 2.0))})  # fmt: skip
    changed = (pixels(view, images) - images / 255).abs().flatten(1).amax(1) > 1e-3
    assert changed.float().mean().item() == pytest.approx(0.3, abs=0.04)


def test_switching_an_operation_off_leaves_the_draws_of_the_others():
    images = photos()
    with_blur, without = (augment(Views(first=v, num_global=1), images)[0]
                          for v in (View(), View(blur=None)))  # fmt: skip
    assert torch.equal(with_blur.box, without.box)
    assert torch.equal(with_blur.flipped, without.flipped)
    # Where the blur was not drawn, the images are the same too.
    same = (with_blur.images - without.images).abs().flatten(1).amax(1) < 1e-4
    assert 0 < same.sum() < len(images)


def test_a_late_flip_joins_the_crop_only_behind_mirror_symmetric_operations():
    assert plan(PRESETS["mocov2"].first) == (("crop", "jitter", "grayscale", "blur"), True)
    rotated = NOTHING.but(crop=Crop(), rotate=0.5, flip=0.5, order=("crop", "rotate", "flip"))
    assert plan(rotated) == (("crop", "rotate", "flip"), False)
    late = PRESETS["mocov2"].first
    early = late.but(order=("crop", "flip", "jitter", "grayscale", "blur"))
    assert torch.equal(pixels(late, photos()), pixels(early, photos()))


def test_the_order_decides():
    images = photos()
    gray_last = NOTHING.but(grayscale=1.0, jitter=Jitter(probability=1.0),
                            order=("jitter", "grayscale"))  # fmt: skip
    result = pixels(gray_last, images)
    torch.testing.assert_close(result[:, 0], result[:, 2], atol=1e-5, rtol=0)
    gray_first = gray_last.but(order=("grayscale", "jitter"))
    assert not torch.allclose(pixels(gray_first, images), result, atol=1e-2)


def test_an_operation_that_the_order_forgets_is_refused():
    with pytest.raises(UserError, match="uses solarize but its order does not name it"):
        augment(Views(first=View(solarize=0.1, order=("crop", "flip", "jitter", "grayscale",
                                                      "blur"))), photos())  # fmt: skip


def test_a_common_crop_is_shared_and_later_crops_lie_inside_it():
    common = NOTHING.but(crop=Crop(scale=(0.2, 0.5)), flip=0.5)
    inner = NOTHING.but(crop=Crop(scale=(0.3, 0.5)))
    images = photos()
    same, cropped = augment(Views(first=NOTHING, second=inner, common=common), images)
    again, _ = augment(Views(first=NOTHING, second=NOTHING, common=common), images)
    assert torch.equal(same.images, again.images) and torch.equal(same.box, again.box)
    assert (same.box[:, 2:].prod(1) < 0.6 * 24 * 24).all() and same.flipped.any()
    assert torch.equal(same.flipped, cropped.flipped)
    assert (cropped.box[:, :2] >= same.box[:, :2] - 1e-3).all()
    ends = [box[:, :2] + box[:, 2:] for box in (cropped.box, same.box)]
    assert (ends[0] <= ends[1] + 1e-3).all()


def test_the_returned_geometry_is_that_of_the_pixels():
    ramp = torch.arange(24, dtype=torch.uint8).mul(10).repeat(40, 3, 24, 1)  # column number × 10
    view = NOTHING.but(crop=Crop(), flip=0.5)
    (batch,) = augment(Views(first=view, num_global=1), ramp)
    columns = pixels(view, ramp)[:, 0, 0] * 25.5  # N×24 source column at each output column
    middle = batch.box[:, 1] + batch.box[:, 3] / 2 - 0.5
    torch.testing.assert_close(columns.mean(1), middle, atol=0.3, rtol=0)
    falling = columns[:, 0] > columns[:, -1]
    wide = batch.box[:, 3] > 2
    assert torch.equal(falling[wide], batch.flipped[wide])


def test_images_of_another_side_are_resized_when_there_is_no_crop():
    (batch,) = augment(Views(first=NOTHING, num_global=1), photos(2, side=48))
    assert batch.images.shape == (2, 3, 24, 24)
    assert batch.box.tolist() == [[0.0, 0.0, 48.0, 48.0]] * 2


@pytest.mark.parametrize("common", [None, NOTHING.but(crop=Crop(), flip=0.5)])
@pytest.mark.parametrize(
    "view",
    [
        EVERYTHING,
        View(size=11, order=("flip", "jitter", "grayscale", "blur", "crop")),
        NOTHING.but(flip=0.5, noise=0.5),
        NOTHING.but(size=11),
    ],
)
def test_views_of_a_kind_made_together_are_those_made_alone(view, common):
    images, samples = photos(), torch.arange(6)
    views = Views(first=View(), local=view, num_local=3, common=common)
    together = augment(views, images)[2:]
    pipeline = Pipeline(view, side=24, mean=MEAN)
    for index, batch in enumerate(together, start=3):
        boxes, unflipped = full_boxes(6, (24, 24), images.device), torch.zeros(6, dtype=torch.bool)
        frame = Frame(images / 255, boxes, unflipped)
        if common is not None:
            crop = Pipeline(common, side=24, mean=MEAN)
            frame = crop(frame, draw([Source(view_key(7, 0))], samples))
        alone = pipeline(frame, draw([Source(view_key(7, index))], samples))
        expected = (alone.images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(
            3, 1, 1
        )
        torch.testing.assert_close(batch.images, expected, atol=1e-5, rtol=0)
        assert torch.equal(batch.box, alone.box) and torch.equal(batch.flipped, alone.flipped)


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "graphs"), [
    (0.0, 1),
    (0.5, 5),  # columns, blend, hue, blur, normalisation: each once
])  # fmt: skip
def test_compiled_views_are_the_eager_ones_and_no_key_recompiles(noise, graphs):
    torch._dynamo.utils.counters.clear()
    views, images = Views(first=EVERYTHING.but(noise=noise)), photos(8)  # two of a kind
    eager = Augmenter(views, resolution=24, mean=MEAN, std=STD)
    compiled = Augmenter(views, resolution=24, mean=MEAN, std=STD, compile=True)
    samples = torch.arange(8)
    for key in (1, -5, 2**62):
        pairs = [a(images, key=key, samples=samples) for a in (eager, compiled)]
        for expected, got in zip(*pairs, strict=True):
            assert isinstance(got, ViewBatch)
            torch.testing.assert_close(got.images, expected.images, atol=2e-3, rtol=0)
            assert torch.equal(got.box, expected.box)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs
