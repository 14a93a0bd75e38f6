"""On which data tables are measured where none is named, and that the command says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sslbench.data import downloads
from sslbench.data.registry import DATASETS
from sslbench.errors import UserError
from sslbench.recipes.scales import SCALES
from sslbench.recipes.specs import Shapes
from sslbench.requests import usual_data
from tests.data.conftest import cifar10  # noqa: F401

DRY = ["ablate", "simsiam-stop-grad", "--seeds", "1", "--dry-run"]


@pytest.fixture
def root(cifar10: Path) -> Path:  # noqa: F811
    return cifar10


def chosen(run, *words: str) -> tuple[str, str]:
    """The data set that a dry run names, and its sentence."""
    code, out, err = run(*DRY, *words, "--json")
    assert code == 0, err
    plan = json.loads(out)
    return plan["dataset"], plan["why"]


def test_a_scale_takes_the_set_that_it_is_measured_on_where_it_lies(run, root: Path):
    name, why = chosen(run, "--data-root", str(root))
    assert name == "cifar10" and str(root) in why and "--dataset shapes" in why
    leaderboard = ["leaderboard", "--recipes", "simclr", "--dry-run", "--json", "--seeds", "1"]
    code, out, err = run(*leaderboard, "--data-root", str(root))
    assert code == 0 and json.loads(out)["dataset"] == "cifar10", err


def test_without_it_the_scales_own_set_is_taken_and_nothing_is_downloaded(run, monkeypatch):
    monkeypatch.setattr(downloads, "cifar10", lambda folder: pytest.fail("it was downloaded"))
    name, why = chosen(run)
    assert name == "shapes" and "cifar10 does not lie under data" in why


@pytest.mark.parametrize("part", DATASETS["cifar10"].files)
def test_half_a_copy_is_none(root: Path, part: str):
    (root / "cifar10" / part).unlink()
    assert usual_data("laptop", root=root)[0] is None


def test_a_set_that_is_named_is_taken(run, root: Path):
    for name in ("shapes", "cifar10"):
        found, why = chosen(run, "--data-root", str(root), "--dataset", name)
        assert found == name and "as asked for" in why
    runs = {}
    for words in (["--dataset", "shapes", "--data-root", str(root)], []):
        _, out, _ = run(*DRY, *words, "--json")
        runs[len(words)] = [r["run"] for r in json.loads(out)["runs"]]
    assert runs[0] == runs[4]  # the scale's own drawn set, as where no other is at hand


def test_the_choice_is_one_line_for_a_person_too(run, root: Path):
    _, out, _ = run(*DRY, "--data-root", str(root))
    assert [line for line in out.splitlines() if line.startswith("Data: ")] == out.splitlines()[:1]


def test_smoke_keeps_its_own_set_whatever_lies_there(root: Path):
    data, why = usual_data("smoke", root=root)
    assert data is None and "shapes" in why
    assert isinstance(SCALES["smoke"].data, Shapes)


def test_check_measures_the_scales_own_set_whatever_lies_there(run, root: Path):
    small = ["--set", "epochs=1", "--set", "data.num_train=100", "--set", "data.num_test=30"]
    words = ["simsiam-stop-grad", "--scale", "laptop", "--seeds", "2", *small]
    code, _, err = run("ablate", *words, "--dataset", "shapes", "--results", "reference")
    assert code == 0, err
    check = ["check", *words, "--against", "reference", "--data-root", str(root)]
    code, out, err = run(*check, "--json")
    assert code == 0, err
    assert {c["verdict"] for c in json.loads(out)["cells"]} == {"same"}


@pytest.mark.parametrize("scale", ["desktop", "cifar"])
def test_a_scale_of_real_images_alone_says_what_to_put_where(run, scale, monkeypatch):
    def offline(folder: Path) -> None:
        raise OSError("no network")

    monkeypatch.setattr(downloads, "cifar10", offline)
    code, _, err = run(*DRY, "--scale", scale)
    assert code == 2
    assert "Data set 'cifar10' is absent in 'data/cifar10'" in err and "put its files there" in err
    assert not Path("data").exists() or not any(Path("data").iterdir())


def test_a_set_of_a_scale_that_no_one_knows_is_refused():
    with pytest.raises(UserError, match="did you mean 'laptop'"):
        usual_data("labtop", root=Path())


def test_what_a_scale_is_measured_on_is_a_set_of_files():
    for scale in SCALES.values():
        assert all(DATASETS[name].files for name in scale.measured_on)
