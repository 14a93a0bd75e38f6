"""Specs: changes, coercion, YAML, digests and the sentences of wrong input."""

from __future__ import annotations

import pytest
import yaml

from sslbench.errors import UserError
from sslbench.recipes import RECIPES, Recipe
from sslbench.recipes.specs import EMA, Blur, InfoNCE, MemoryBank, Shared

byol = RECIPES["byol"]
simsiam = RECIPES["simsiam"]


def test_but_changes_a_nested_field_and_nothing_else():
    changed = byol.but({"target.momentum": 0.5})
    assert changed.target == EMA(momentum=0.5, schedule="cosine")
    assert changed.but({"target.momentum": byol.target.momentum}) == byol


def test_fields_that_need_each_other_come_in_any_order():
    changes = {"views.num_local": 2, "views.local": {"kind": "View", "size": 16}}
    expected = RECIPES["byol"].but(changes)
    assert expected.views.num_local == 2 and expected.views.local.size == 16
    assert RECIPES["byol"].but(dict(reversed(changes.items()))) == expected
    with pytest.raises(UserError, match="Views: num_local needs a local view"):
        RECIPES["byol"].but({"views.num_local": 2})
    with pytest.raises(UserError, match="temperature"):  # of a piece that is given whole
        RECIPES["dino"].but({"objective.assignment": {"kind": "Centering", "temperature": 0}})


def test_a_star_reaches_every_view_that_is_present():
    changed = byol.but({"views.*.flip": 0.0})
    assert changed.views.first.flip == changed.views.second.flip == 0.0
    assert simsiam.but({"views.*.flip": 0.0}).views.second is None


def test_a_kind_can_be_given_by_name_or_as_a_mapping():
    assert byol.but(target="Shared").target == Shared()
    assert byol.but(target={"kind": "EMA", "momentum": "0.9"}).target == EMA(momentum=0.9)


def test_numbers_are_coerced_by_annotation():
    assert byol.but({"optimizer.lr": "1e-3"}).optimizer.lr == 1e-3
    assert byol.but(batch_size=512.0).batch_size == 512


@pytest.mark.parametrize("name", RECIPES)
def test_yaml_round_trip_gives_the_same_recipe_and_digest(name):
    recipe = RECIPES[name]
    again = Recipe.from_dict(yaml.safe_load(yaml.safe_dump(recipe.to_dict())))
    assert again == recipe
    assert again.digest() == recipe.digest()


def test_digest_ignores_names_and_notes_but_no_setting():
    assert byol.but(name="other", source="x").digest() == byol.digest()
    leaves = dict(byol.leaves())
    assert byol.but(epochs=leaves["epochs"] + 1).digest() != byol.digest()
    assert byol.but({"views.second.solarize": 0.1}).digest() != byol.digest()


def test_equal_content_is_the_same_digest_however_it_was_reached():
    assert byol.but(epochs=7).but(epochs=byol.epochs).digest() == byol.digest()


def test_specs_are_hashable_and_frozen():
    assert len({byol, byol.but(epochs=1), byol.but(epochs=byol.epochs)}) == 2
    with pytest.raises(AttributeError):
        byol.epochs = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"objective.tempreture": 1}, ["tempreture", "NegativeCosine"]),
        ({"target.momentm": 0.9}, ["did you mean 'momentum'"]),
        ({"momentum": 0.9}, ["no such field 'momentum'", "target.momentum"]),
        ({"optimzer.lr": 1}, ["no such field 'optimzer'", "optimizer.lr"]),
        ({"batch_size": "many"}, ["batch_size", "whole number"]),
        ({"batch_size": 2.5}, ["batch_size", "whole number"]),
        ({"batch_size": True}, ["batch_size", "whole number"]),
        ({"batch_size": None}, ["batch_size", "not null"]),
        ({"epochs": -1}, ["epochs", ">= 0"]),
        ({"target": "EMMA"}, ["no kind 'EMMA'", "'EMA'"]),
        ({"target": {"kind": "EMA", "momentum": 2}}, ["momentum", "[0, 1]"]),
        ({"predictor.hidden": 3}, ["predictor.hidden", "list"]),
        ({"views.first.crop.scale": [0.5]}, ["2 values"]),
        ({"views.first.crop.scale": [0.9, 0.5]}, ["low <= high"]),
        ({"schedule.per": "batch"}, ["not one of", "epoch"]),
        ({"optimizer.lr": float("nan")}, ["finite number"]),
    ],
)
def test_wrong_changes_are_refused_with_a_sentence_that_names_the_field(changes, words):
    with pytest.raises(UserError) as caught:
        byol.but(changes)
    for word in words:
        assert word in str(caught.value)


def test_a_field_of_an_absent_piece_says_that_it_is_absent():
    with pytest.raises(UserError, match="absent"):
        simsiam.but({"views.second.flip": 0.0})


def test_a_queue_must_be_a_multiple_of_the_batch():
    recipe = RECIPES["moco-v2"].but(batch_size=100)
    with pytest.raises(UserError, match="multiple of the batch"):
        recipe.validate()


def test_a_ring_left_empty_is_refused_before_the_run():
    ring = {"objective.ring": {"outer": 0.01, "inner": 0.5}}
    with pytest.raises(UserError, match=r"the ring is empty: outer 0\.01 of 30 negatives is 0"):
        RECIPES["simclr"].but(ring | {"batch_size": 16}).validate()
    with pytest.raises(UserError, match=r"outer 0\.01 of 32 negatives is 0"):
        RECIPES["moco-v2"].but(ring | {"objective.queue": 32, "batch_size": 16}).validate()
    RECIPES["simclr"].but(ring).validate()


def test_an_option_at_its_default_leaves_the_digest_as_it_was():
    plain = InfoNCE()
    assert "hardness" in plain.to_dict() and "hardness" not in plain.to_dict(for_digest=True)
    others = [plain.but(hardness=1.0), plain.but(class_prior=0.1), plain.but(ring={"outer": 0.5})]
    assert len({plain.digest(), *(o.digest() for o in others)}) == 4


def test_a_queue_smaller_than_the_batch_is_refused():
    recipe = RECIPES["align-uniform-queue"].but({"objective.queue": 64})
    with pytest.raises(UserError, match=r"queue \(64\) must be .* batch \(128\); try .*=128"):
        recipe.validate()


@pytest.mark.parametrize(
    ("recipe", "changes", "words"),
    [
        ("npid", {"target": "EMA"}, "NoiseContrastive contrasts with a memory bank; set target="),
        ("simple", {"target": "Shared"}, "SimpleContrast contrasts with a memory bank"),
        ("moco-v2", {"objective": {"kind": "InfoNCE", "negatives": "bank"}}, "set target=Memory"),
        ("moco-v2", {"target": "MemoryBank"}, "cannot use a memory bank beside a queue"),
        ("align-uniform-queue", {"target": "MemoryBank"}, "objective.queue=null"),
        ("supervised", {"target": "MemoryBank"}, "no such field 'target' of SupervisedRecipe"),
        ("byol", {"views.second": None, "views.num_global": 1}, "compares two views; set views"),
        ("simclr", {"views.num_global": 1}, "set views.num_global=2, or target=MemoryBank"),
        ("instdisc", {"objective.symmetric": True}, "set objective.symmetric=false"),
    ],
)
def test_memory_bank_and_objective_must_fit(recipe, changes, words):
    with pytest.raises(UserError) as caught:
        RECIPES[recipe].but(changes).validate()
    assert words in str(caught.value)


@pytest.mark.parametrize("momentum", [-0.1, 1.0])
def test_the_banks_momentum_is_a_share_below_one(momentum):
    with pytest.raises(UserError, match="momentum must lie in"):
        MemoryBank(momentum=momentum)


def test_info_nce_wants_a_queue_exactly_when_it_reads_one():
    with pytest.raises(UserError, match="queue"):
        InfoNCE(negatives="queue")
    with pytest.raises(UserError, match="queue"):
        InfoNCE(queue=128)


def test_ranges_are_checked():
    with pytest.raises(UserError, match="odd"):
        Blur(kernel=4)
    with pytest.raises(UserError, match="temperature"):
        InfoNCE(temperature=0)
