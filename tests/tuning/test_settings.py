"""A setting of a scale is what its study says, or it is refused."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from sslbench.errors import UserError
from sslbench.recipes.resolve import resolve
from sslbench.recipes.scales import SCALES
from sslbench.recipes.scales.reading import FOLDER, parse_set
from sslbench.recipes.scales.scale import Scale
from sslbench.tuning import settings
from sslbench.tuning.record import Record
from sslbench.tuning.settings import unfounded, write_setting
from tests.test_architecture import REPOSITORY
from tests.tuning.made import record, trial
from tests.tuning.small import request

CHANGES = {"optimizer.lr": 0.05, "views.first.crop.scale": [0.2, 1.0]}


def test_every_setting_of_every_scale_is_its_studys() -> None:
    assert not list(unfounded(REPOSITORY))


@pytest.fixture
def found(tmp_path: Path) -> Record:
    """A study of SimCLR on the smoke scale's own set, kept below the folder."""
    made = request(tmp_path, data=SCALES["smoke"].data, fixed={})
    trials = [trial(0, (20.0, 21.0)), trial(1, (30.0, 31.0), {"rate": 0.05}, CHANGES)]
    study = record(made.definition("simclr"), *trials, winner=1)
    study.save(made.path("simclr"))
    return study


@pytest.fixture
def scales(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER, tmp_path / "scales"))


@pytest.fixture
def in_use(scales: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes the smoke scale that of the folder, and returns what is unfounded in it."""

    def use() -> list[str]:
        text = (scales / "smoke/shapes/tuned.yaml").read_text()
        on = parse_set("smoke/shapes", {"tuned": yaml.safe_load(text)})
        scale: Scale = replace(SCALES["smoke"], on={"shapes": on})
        monkeypatch.setattr("sslbench.recipes.scales.read_scale", lambda name: scale)
        monkeypatch.setattr(settings, "SCALES", {"smoke": scale})
        return list(unfounded(tmp_path))

    return use


def test_a_winner_that_is_written_is_what_the_recipe_is_there(
    found: Record, scales: Path, in_use
) -> None:
    before = {p: p.read_text() for p in scales.rglob("*.yaml")}
    path = write_setting(found, folder=scales)
    assert path == scales / "smoke/shapes/tuned.yaml"
    assert all(p.read_text() == text for p, text in before.items())
    assert path.read_text().startswith("# What studies found on this data set: written by")
    assert in_use() == []
    resolved = resolve("simclr", scale="smoke")
    assert resolved.experiment.recipe.optimizer.lr == 0.05
    assert resolved.experiment.recipe.views.first.crop.scale == (0.2, 1.0)
    assert resolved.provenance["optimizer.lr"] == "scale smoke on shapes, study of simclr"
    evidence = SCALES["smoke"].evidence("simclr", "joint", dataset="shapes")
    assert evidence.study == "results/tuning/smoke/shapes/simclr.json"
    # A study begins at what was there before it.
    assert resolve("simclr", scale="smoke", tuned=False).experiment.digest() == found.start


def test_writing_twice_or_another_recipe_keeps_the_rest(found: Record, scales: Path) -> None:
    path = write_setting(found, folder=scales)
    once = path.read_text()
    assert write_setting(found, folder=scales).read_text() == once
    start = resolve("byol", scale="smoke").experiment.digest()
    write_setting(replace(found, recipe="byol", start=start), folder=scales)
    assert list(yaml.safe_load(path.read_text())) == ["simclr", "byol"]
    assert once in path.read_text()


@pytest.mark.parametrize(
    ("was", "now", "words"),
    [
        ("0.05", "0.06", "its changes are not those of the study's winner"),
        ("digest: ", "digest: x", r"its study is \w{16}, not x"),
        ("shapes/simclr.json", "shapes/dcl.json", "is not there"),
    ],
)
def test_a_setting_that_was_edited_is_refused(
    found: Record, scales: Path, in_use, was: str, now: str, words: str
) -> None:
    path = write_setting(found, folder=scales)
    path.write_text(path.read_text().replace(was, now))
    [sentence] = in_use()
    assert re.search(words, sentence)
    assert sentence.startswith("smoke/shapes/tuned.yaml: simclr: ")


def test_a_study_of_another_start_is_refused(
    found: Record, scales: Path, in_use, tmp_path: Path
) -> None:
    write_setting(found, folder=scales)
    replace(found, start="0" * 64).save(tmp_path / "results/tuning/smoke/shapes/simclr.json")
    [sentence] = in_use()
    assert "began at another setting than the scale has now; run it again" in sentence


def test_what_no_setting_can_be_is_not_written(found: Record, scales: Path) -> None:
    with pytest.raises(UserError, match=r"had --set changes \(epochs\)"):
        write_setting(replace(found, fixed={"epochs": 3}), folder=scales)
    with pytest.raises(UserError, match=r"began at another setting, or on other images"):
        write_setting(replace(found, start="0" * 64), folder=scales)
    with pytest.raises(UserError, match=r"has no scale 'none'"):
        write_setting(replace(found, scale="none"), folder=scales)
    assert not list(scales.glob("*/shapes"))
