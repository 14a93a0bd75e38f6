"""A recipe that is another's with few fields changed shares the other's study and its budget."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sslbench.errors import UserError
from sslbench.recipes.scales import SCALES
from sslbench.tuning.request import TuneRequest
from tests.tuning.made import record, trial
from tests.tuning.small import FIXED, request


def asked(folder: Path, *recipes: str, **more) -> TuneRequest:
    return request(folder, *recipes, trials=8, fixed={}, data=SCALES["smoke"].data, **more)


@pytest.fixture
def parent(tmp_path: Path) -> TuneRequest:
    """The study of SimCLR, of eight trials: the best of the first four is 2, of all 6."""
    made = asked(tmp_path, "simclr")
    points = [
        {},
        {"rate": 0.01},
        {"rate": 0.03, "grey": 0.4, "temperature": 0.5},
        {},
        {},
        {},
        {},
        {},
    ]
    values = [(20.0, 20.0), (10.0,), (30.0,), (25.0,), (), (), (40.0, 41.0), ()]
    trials = [trial(n, v, p) for n, (v, p) in enumerate(zip(values, points, strict=True))]
    record(made.definition("simclr"), *trials, winner=6).save(made.path("simclr"))
    return made


def test_it_begins_where_the_parent_was_and_both_have_the_same_trials(parent: TuneRequest) -> None:
    own = parent.definition("dcl")
    assert own.parent is not None and own.parent.recipe == "simclr"
    assert (own.parent.trials, own.num_trials, own.parent.trial) == (4, 4, 2)
    # The temperature is its own: it begins at the recipe's, and is searched with the rate.
    assert own.base == {"rate": 0.03, "grey": 0.4}
    assert {d.name for d in own.space} == {"rate", "temperature"} and own.parent.own == (
        "temperature",
    )
    assert own.point({"rate": 0.05}) == {"rate": 0.05, "grey": 0.4}


def test_without_dimensions_of_its_own_it_searches_the_rate_in_a_quarter(
    parent: TuneRequest,
) -> None:
    own = parent.definition("simclr-linear-projector")
    assert own.parent is not None
    assert (own.parent.trials, own.num_trials, own.parent.own) == (6, 2, ())
    assert {d.name for d in own.space} == {"rate"}
    assert own.base == {"rate": 0.03, "grey": 0.4, "temperature": 0.5}


def test_a_dimension_that_the_parent_has_not_is_its_own(parent: TuneRequest) -> None:
    assert {d.name for d in parent.definition("directclr").space} == {"rate", "channels"}
    assert {d.name for d in parent.definition("dclw").space} == {"rate", "sigma", "temperature"}


def test_the_parent_comes_first_and_has_to_be_there(tmp_path: Path) -> None:
    made = asked(tmp_path, "dcl", "hcl", "simclr")
    assert made.recipes == ("simclr", "dcl", "hcl")
    with pytest.raises(UserError, match=r"run `sslbench tune simclr` with the same options first"):
        made.definition("dcl")
    planned = made.plan("dcl").definition
    assert (planned.num_trials, planned.base, planned.parent.digest) == (4, {}, "")


def test_a_study_that_does_not_fit_is_refused(parent: TuneRequest) -> None:
    longer = replace(parent, budget=replace(parent.budget, trials=40))
    with pytest.raises(UserError, match=r"first 20 trials of simclr's study, which has 8"):
        longer.definition("dcl")
    with pytest.raises(UserError, match=r"had other --set changes"):
        replace(parent, fixed={"epochs": 3}).definition("dcl")
    other = parent.data.but(num_train=500)
    with pytest.raises(UserError, match=r"was on other images"):
        replace(parent, data=other).definition("dcl")


def test_none_of_the_parents_trials_was_finished_in_time(parent: TuneRequest) -> None:
    trials = [trial(n) for n in range(7)] + [trial(7, (30.0,))]
    record(parent.definition("simclr"), *trials, winner=7).save(parent.path("simclr"))
    with pytest.raises(UserError, match=r"None of the first 4 trials .* nothing for dcl to begin"):
        parent.definition("dcl")


def test_both_are_studied_in_one_call(tmp_path: Path) -> None:
    made = request(tmp_path, "dcl", "simclr", trials=4, fixed={**FIXED, "epochs": 1})
    first, second = (made.run(name) for name in made.recipes)
    assert (first.total_trials, second.total_trials) == (4, 4)
    assert second.parent is not None and second.parent.digest == first.digest
    assert second.trials[0].changes == {}
    assert second.trials[1].point == made.definition("dcl").base
