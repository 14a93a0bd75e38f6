"""The drawn sets of several objects: what their annotations say is what the pixels show."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from sslbench.data import Instances, Split, load
from sslbench.data.drawing import Draws
from sslbench.data.moving import MOTIONS, Pose, moved
from sslbench.data.outlines import OUTLINES, REACH
from sslbench.data.scenes import SHOWN, clips, render, scenes
from sslbench.data.shapes import render as render_shapes
from sslbench.errors import UserError
from sslbench.recipes.specs import Clips, Scenes, Shapes

FEW = Scenes(num_train=200, num_test=40)
MOVING = Clips(num_train=30 * 8, num_test=16)


@pytest.fixture(scope="module")
def still() -> Split:
    return scenes(FEW).train


@pytest.fixture(scope="module")
def film() -> Split:
    return clips(MOVING).train


@pytest.fixture(params=["still", "film"])
def split(request: pytest.FixtureRequest) -> Split:
    chosen: Split = request.getfixturevalue(request.param)
    return chosen


def objects(split: Split) -> tuple[Instances, Tensor]:
    """The objects and their masks."""
    assert split.instances is not None and split.instances.mask is not None
    return split.instances, split.instances.mask


def centres(masks: Tensor) -> Tensor:
    """Of each mask, M×2, in pixels."""
    side = torch.arange(masks.shape[-1]) + 0.5
    sums = [(masks.sum(axis) * side).sum(1) for axis in (1, 2)]
    return torch.stack(sums, 1) / masks.sum((1, 2))[:, None]


# --- annotations are of the pixels ----------------------------------------------------------------


def test_no_instance_is_hidden(split: Split) -> None:
    assert objects(split)[1].flatten(1).any(1).all()


def test_a_box_bounds_the_visible_mask(split: Split) -> None:
    found, masks = objects(split)
    for box, mask in zip(found.box.tolist(), masks, strict=True):
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        assert box == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def test_no_pixel_belongs_to_two_objects(split: Split) -> None:
    found, masks = objects(split)
    counts = torch.zeros(split.depth.shape, dtype=torch.int64)  # type: ignore[union-attr]
    assert int(counts.index_add_(0, found.image, masks.long()).max()) == 1


def test_multilabels_are_the_classes_of_the_instances(split: Split) -> None:
    found, _ = objects(split)
    assert split.multilabels is not None and split.labels is None
    named = {(i, c) for i, c in zip(found.image.tolist(), found.label.tolist(), strict=True)}
    assert named == {(i, c) for i, c in split.multilabels.nonzero().tolist()}
    assert split.multilabels.any(1).all()


def test_every_object_lies_wholly_inside_the_image(split: Split) -> None:
    masks = objects(split)[1]
    edges = (masks[:, 0], masks[:, -1], masks[:, :, 0], masks[:, :, -1])
    assert not torch.cat(edges).any()


def test_what_is_before_is_nearer() -> None:
    """Of two objects of one size the one of which more is seen hides the other."""
    pair = render(FEW.but(num_objects=(2, 2), size=(0.45, 0.45)), torch.arange(100))
    found, masks = objects(pair)
    assert pair.depth is not None
    seen, hidden = masks.flatten(1).sum(1).tolist(), 0
    for image in range(100):
        rows = (found.image == image).nonzero().flatten().tolist()
        if len(rows) == 2 and min(seen[i] for i in rows) < 0.7 * max(seen[i] for i in rows):
            far, near = sorted(rows, key=seen.__getitem__)
            assert pair.depth[image][masks[near]].max() < pair.depth[image][masks[far]].min()
            hidden += 1
    assert hidden > 20


def test_objects_are_nearer_than_the_background(split: Split) -> None:
    front = split.foreground()
    assert split.depth is not None and front is not None
    for depth, mask in zip(split.depth, front, strict=True):
        assert float(depth[mask].max()) < float(depth[~mask].min())


def test_an_image_differs_from_its_background_where_its_masks_are(still: Split) -> None:
    found, masks = objects(still)
    for image, mask in zip(found.image.tolist(), masks, strict=True):
        colours = still.images[image][:, mask].double()
        assert float(colours.std(1).max()) > 3  # a pattern of two colours, not a ground


# --- scenes ---------------------------------------------------------------------------------------


def test_scenes_have_as_many_objects_as_asked_for_less_the_hidden(still: Split) -> None:
    counts = objects(still)[0].image.bincount(minlength=len(still))
    assert set(counts.tolist()) == {1, 2, 3, 4}
    three = render(FEW.but(num_objects=(3, 3)), torch.arange(200))
    counts = objects(three)[0].image.bincount(minlength=200)
    assert int(counts.max()) == 3 and 2.7 < float(counts.double().mean()) < 3


def test_an_object_of_a_scene_shows_a_quarter_of_itself(still: Split) -> None:
    found, masks = objects(still)
    least = 1.8 / 4 * FEW.size[0] ** 2 * FEW.resolution**2  # pixels of the smallest object
    assert float(masks.flatten(1).sum(1).min()) > 0.9 * SHOWN * least
    assert found.track is None


def test_classes_are_equally_frequent_over_a_set() -> None:
    found = scenes(FEW.but(num_train=600)).train.multilabels
    assert found is not None
    share = found.double().mean(0)
    assert float(share.min()) > 0.15 and float(share.max()) < 0.3


def test_fewer_classes_are_the_first_ones() -> None:
    raw = scenes(FEW.but(num_classes=3, num_train=50))
    assert len(raw.classes) == 3 and raw.train.multilabels is not None
    assert raw.train.multilabels.shape == (50, 3)
    assert int(objects(raw.train)[0].label.max()) == 2


def test_a_scene_does_not_depend_on_its_neighbours(still: Split) -> None:
    alone = render(FEW, torch.tensor([137, 12]))
    expected = still[torch.tensor([137, 12])]
    assert int((alone.images.short() - expected.images.short()).abs().max()) <= 1
    assert torch.equal(objects(alone)[0].label, objects(expected)[0].label)
    assert torch.equal(objects(alone)[0].box, objects(expected)[0].box)


def test_another_seed_and_the_test_half_are_other_scenes(still: Split) -> None:
    other, test = scenes(FEW.but(seed=1)).train, scenes(FEW).test
    assert not torch.equal(other.images, still.images)
    assert not torch.equal(test.images, still.images[: len(test)])


def test_no_outline_reaches_farther_than_said() -> None:
    side = torch.linspace(-2, 2, 801)
    y, x = torch.meshgrid(side, side, indexing="ij")
    reach = max(float(torch.hypot(x, y)[f(x, y) < 0].max()) for f in OUTLINES.values())
    assert REACH - 0.02 < reach <= REACH


# --- clips ----------------------------------------------------------------------------------------


def test_a_clip_is_its_frames_in_order(film: Split) -> None:
    assert film.clip is not None and film.frame is not None
    assert film.clip.tolist() == [i // 8 for i in range(240)]
    assert film.frame.tolist() == list(range(8)) * 30


def test_an_object_keeps_its_track_and_its_class(film: Split) -> None:
    found, _ = objects(film)
    assert film.clip is not None and found.track is not None
    seen: dict[tuple[int, int], set[int]] = {}
    keys = zip(film.clip[found.image].tolist(), found.track.tolist(), strict=True)
    for key, label in zip(keys, found.label.tolist(), strict=True):
        seen.setdefault(key, set()).add(label)
    assert all(len(labels) == 1 for labels in seen.values()) and len(seen) > 45
    frames = zip(found.image.tolist(), found.track.tolist(), strict=True)
    assert len({*frames}) == len(found)  # once in a frame


def test_every_object_of_a_clip_is_in_its_first_frame(film: Split) -> None:
    found, _ = objects(film)
    assert film.clip is not None and film.frame is not None and found.track is not None
    clip, frame = film.clip[found.image], film.frame[found.image]
    everywhere = {*zip(clip.tolist(), found.track.tolist(), strict=True)}
    first = frame == 0
    assert {*zip(clip[first].tolist(), found.track[first].tolist(), strict=True)} == everywhere


def test_motion_is_continuous_in_the_image() -> None:
    film = render(MOVING.but(num_objects=(1, 1)), torch.arange(40))
    found, masks = objects(film)
    assert len(found) == 40 * 8
    places = centres(masks).view(40, 8, 2)
    step = torch.linalg.vector_norm(places.diff(dim=1), dim=2)
    assert float(step.max()) < 0.2 * 32 + 1.5  # the centre of a mask shifts a little as it turns
    assert float((step.sum(1) > 4).double().mean()) > 0.4  # and there is motion


def test_something_moves_in_most_clips(film: Split) -> None:
    frames = film.images.view(30, 8, 3, 64, 64).short()
    change = (frames[:, 1:] - frames[:, :-1]).abs().double().mean((1, 2, 3, 4))
    assert float((change > 0.5).double().mean()) > 0.8


def _paths(frames: int) -> tuple[Pose, Tensor]:
    draws = Draws(0, "test", torch.arange(600), 7)
    room = torch.full((600, 1, 1), 0.4)
    start = Pose(*(torch.full((600, 1, 1), value) for value in (0.3, -0.4, 0.3, 0.1)))
    kinds = (Draws(0, "test", torch.arange(600), 7).between(0, 6)).long().flatten()
    return moved(start, room, draws, frames), kinds


def test_every_motion_stays_in_its_room_and_never_jumps() -> None:
    poses, kinds = _paths(40)
    assert float(torch.stack([poses.x, poses.y]).abs().max()) <= 0.4 + 1e-6
    assert float(torch.hypot(poses.x.diff(), poses.y.diff()).max()) <= 0.2
    assert float(poses.size.max()) <= 0.3 + 1e-6 and float(poses.size.min()) > 0.14
    assert float(poses.size.diff().abs().max()) < 0.05
    assert float(poses.angle.diff().abs().max()) <= 0.4 + 1e-6
    assert set(kinds.tolist()) == set(range(len(MOTIONS)))


def test_a_motion_changes_what_its_name_says() -> None:
    poses, kinds = _paths(12)
    changes = {
        "place": (poses.x.amax(1) - poses.x.amin(1)) + (poses.y.amax(1) - poses.y.amin(1)),
        "size": poses.size.amax(1) - poses.size.amin(1),
        "angle": poses.angle.amax(1) - poses.angle.amin(1),
    }
    expected = dict.fromkeys(("slide", "swing", "circle"), "place")
    expected |= {"zoom": "size", "spin": "angle"}
    for number, name in enumerate(MOTIONS):
        for what, change in changes.items():
            moves = expected.get(name) == what
            rows = change[kinds == number]
            assert bool((rows > 0.05).all() if moves else (rows < 1e-5).all()), (name, what)


def test_a_longer_clip_starts_with_the_shorter_one(film: Split) -> None:
    longer = render(MOVING.but(num_frames=12, num_train=24, num_test=12), torch.arange(2))
    longer_frames, frames = longer.images.view(2, 12, -1), film.images.view(30, 8, -1)
    assert int((longer_frames[:, :8].short() - frames[:2].short()).abs().max()) <= 1


# --- as data sets ---------------------------------------------------------------------------------


def test_loaded_sets_have_no_class_of_the_image_and_no_half_clip_held_out() -> None:
    data = load(MOVING, root=Path())
    assert data.counts()["classes"] == 0 and len(data.classes) == 10
    assert data.train.clip is not None
    assert set(data.train.clip[data.heldout].bincount().tolist()) == {0, 8}
    with pytest.raises(UserError, match="'clips' has no labels"):
        data.require_labels()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"num_train": 20}, "num_train counts frames of whole clips.*20 is no multiple.*use 16"),
        ({"num_frames": 1}, "num_frames must lie in 2..64"),
        ({"num_objects": [3, 2]}, "num_objects needs 1 <= least <= most <= 8"),
        ({"size": [0.3, 2.0]}, "size needs 0.1 <= least"),
        ({"num_train": 10**7 * 8}, "80,000,000 images of 64 pixels: about .* memory"),
    ],
)
def test_what_cannot_be_drawn_is_refused(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        clips(MOVING.but(change))


def test_a_scale_limits_drawn_sets_by_whole_clips() -> None:
    assert Clips().at_most(1001).num_train == 1000
    assert Clips().at_most(3).num_train == 8 and Clips().at_most(None) == Clips()
    assert Scenes().at_most(100).num_train == 100 and Shapes().at_most(10**6) == Shapes()


def test_shapes_say_where_their_object_is() -> None:
    found = render_shapes(Shapes(), torch.arange(5)).annotations
    assert found == {"labels", "boxes", "masks", "semantic", "depth"}
