"""Views that share an operation's parameters with the first view, and nothing else."""

from __future__ import annotations

import pytest
import torch

from sslbench import distributed
from sslbench.errors import UserError
from sslbench.recipes.specs import View, Views
from sslbench.recipes.views import PRESETS
from sslbench.views.augmenter import Augmenter, list_views, view_key
from sslbench.views.draws import COLUMNS, Source, draw
from tests.reference.processes import run_processes

NOTHING = View(crop=None, flip=0.0, jitter=None, grayscale=0.0, blur=None)
COLOUR = ("jitter", "grayscale")
SAMPLES = torch.arange(40)


def photos(count: int = 40, side: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


def drawn(views: Views, images: torch.Tensor, samples: torch.Tensor = SAMPLES, **options):
    augmenter = Augmenter(views, resolution=12, mean=(0.5,) * 3, std=(0.2,) * 3, **options)
    return augmenter(images, key=7, samples=samples)


@pytest.mark.parametrize("op", COLUMNS)
def test_a_shared_operation_has_the_columns_of_the_first_view_and_the_others_their_own(op):
    first, own = view_key(7, 1), view_key(7, 3)
    of_first, shared, alone = (
        draw([source], SAMPLES).uniforms
        for source in (Source(first), Source(own, (op,), first), Source(own))
    )
    columns = COLUMNS[op]
    assert torch.equal(shared[:, columns], of_first[:, columns])
    rest = torch.ones(shared.shape[1], dtype=torch.bool)
    rest[columns] = False
    assert torch.equal(shared[:, rest], alone[:, rest])
    assert not (shared == of_first)[:, rest].any() and not (shared == alone)[:, columns].any()


def test_a_view_that_shares_all_that_is_drawn_is_the_first_view():
    view = NOTHING.but(rotate=1.0, flip=0.5, noise=1.0, order=View().order)
    views = Views(first=view, shared=(("rotate", "flip", "noise"), ("rotate", "flip"), ("noise",)))
    first, second, all_of_it, _, noise_alone = drawn(views, photos())
    assert torch.equal(first.images, all_of_it.images)
    assert torch.equal(first.flipped, all_of_it.flipped)
    for other in (second, noise_alone):
        assert not torch.equal(first.images, other.images)


def turns_of(images: torch.Tensor, views: list[torch.Tensor]) -> list[list[int]]:
    """By how many quarter turns each view of each image was made."""
    return [
        [next(t for t in range(4) if torch.equal(image.rot90(t, (1, 2)), seen))
         for image, seen in zip(images, view, strict=True)]
        for view in views
    ]  # fmt: skip


def test_the_key_of_the_turns_is_turned_as_the_query_and_the_others_are_not():
    view = NOTHING.but(rotate=1.0, solarize=0.5, order=View().order)
    views = Views(first=view, shared=(("solarize",), ("rotate",)))
    images = photos()
    plain = drawn(Views(first=NOTHING, num_global=1), images)[0].images
    shown = [v.images for v in drawn(views.but({"first.solarize": 1e-9}), images)]
    query, first, colour, turned = turns_of(plain, shown)
    assert query == turned
    for other in (first, colour):
        same = sum(a == b for a, b in zip(query, other, strict=True))
        assert 0 < same < 25  # a quarter of 40 by chance


def test_colour_is_shared_and_place_is_not():
    grey = NOTHING.but(grayscale=0.5, flip=0.5)
    query, other, colour = drawn(Views(first=grey, shared=(("grayscale",),)), photos())

    def is_grey(view):
        return (view.images.amax(1) - view.images.amin(1)).flatten(1).amax(1) < 1e-5

    assert torch.equal(is_grey(query), is_grey(colour))
    assert not torch.equal(is_grey(query), is_grey(other))
    assert not torch.equal(query.flipped, colour.flipped)


def views_of_rows() -> torch.Tensor:
    """Of this process's half of the images, all views."""
    count = 40 // distributed.world_size()
    mine = slice(distributed.rank() * count, (distributed.rank() + 1) * count)
    found = drawn(PRESETS["looc"], photos()[mine], SAMPLES[mine])
    return torch.stack([view.images for view in found])


def test_an_image_has_the_same_views_in_any_batch_and_process(tmp_path):
    whole = views_of_rows()
    assert torch.equal(torch.cat(run_processes(views_of_rows, folder=tmp_path), dim=1), whole)
    rows = torch.tensor([31, 4])
    few = drawn(PRESETS["looc"], photos()[rows], rows)
    torch.testing.assert_close(torch.stack([v.images for v in few]), whole[:, rows])


def test_the_first_two_views_are_what_they_are_without_the_others():
    views = PRESETS["looc"]
    for one, two in zip(
        drawn(views.but(shared=()), photos()), drawn(views, photos())[:2], strict=True
    ):
        torch.testing.assert_close(one.images, two.images)
    assert views.but(shared=()).digest() == Views(first=views.first).digest() != views.digest()


def test_shared_views_come_before_local_crops():
    local = NOTHING.but(size=6)
    views = Views(first=NOTHING.but(flip=0.5), shared=(("flip",),), local=local, num_local=2)
    assert views.count == len(list_views(views)) == 5
    assert [v.images.shape[-1] for v in drawn(views, photos())] == [12, 12, 12, 6, 6]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"shared": [["solarize"]]}, "shared names solarize, which the first view does not use"),
        ({"first.rotate": 0.0}, r"shared names rotate.*views.first.rotate.*leave it out of shared"),
        ({"first.jitter": None}, "shared names jitter"),
        ({"shared": [[]]}, "an entry without operations"),
        ({"shared": [["spin"]]}, "'spin' is not one of crop"),
        ({"second": {"kind": "View"}}, "set second=null"),
        ({"num_global": 1}, "num_global=2"),
    ],
)
def test_what_cannot_be_shared_is_refused(changes, says):
    with pytest.raises(UserError, match=says):
        PRESETS["looc"].but(changes)
