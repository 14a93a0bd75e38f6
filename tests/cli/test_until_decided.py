"""`--until-decided` as a user meets it, without training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sslbench.engine.hardware import device_class, pick_device
from sslbench.tables.jobs import Job, Tell
from tests.tables.fakes import TABLE, accuracy, finish, use

NEAR = {"id": "near", "says": "A faster target hurts.", "holds": {"greater": ["baseline", "fast"]}}
NOISE = {60.0: [5, -6, 1, 0, 0], 50.0: [1, -1, 0, 0, 0]}


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A table's file, decided at its second look; runs take no training."""

    def execute(job: Job, tell: Tell) -> None:
        mean, seed = accuracy(job), job.experiment.seed
        value = mean + NOISE.get(mean, [0] * 5)[seed] - 0.1 * seed
        finish(job, top1=value, device_class=device_class(pick_device("auto")))

    use(monkeypatch, execute)
    monkeypatch.setattr("sslbench.tables.schema.TABLES", {})
    path = tmp_path / "small.yaml"
    path.write_text(json.dumps({**TABLE, "claims": [NEAR]}))
    return str(path)


def test_seeds_are_added_until_the_claim_is_decided(run, table: str) -> None:
    words = ["ablate", table, "--scale", "smoke", "--until-decided"]
    code, out, err = run(*words, "--max-seeds", "5", "--json")
    assert code == 0, err
    [measured] = json.loads(out)
    assert measured["planned"] == [3, 5] and len(measured["looks"]) == 2
    assert [claim["ours"] for claim in measured["claims"]] == ["held"]
    assert {row["id"]: row["cells"]["top1"]["n"] for row in measured["rows"]} == {
        "baseline": 5, "fast": 5, "copy": 3, "paper-only": 0
    }  # fmt: skip
    assert "small: look 2 of 2 (5 seeds) for near: 4 runs." in err
    assert "small: no claim is undecided after look 2 of 2 (5 seeds)." in err
    code, out, _ = run("report", "small")
    assert code == 0 and "(3)" in out and "(5)" in out and "(5 seeds)" in out
    code, _, err = run(*words, "--max-seeds", "8")
    assert code == 2 and "begun with looks at 3, 5 seeds" in err


def test_a_dry_run_says_what_the_next_look_costs(run, table: str) -> None:
    words = ["ablate", table, "--scale", "smoke", "--until-decided", "--max-seeds", "5"]
    code, out, _ = run(*words, "--dry-run", "--json")
    [look] = json.loads(out)
    assert code == 0 and look["look"] == 1 and look["undecided"] == []
    assert len(look["runs"]) == 13 and look["seconds"] > 0
    run("ablate", table, "--scale", "smoke", "--seeds", "3")
    code, out, _ = run(*words, "--dry-run", "--json")
    [look] = json.loads(out)
    assert (look["look"], look["undecided"]) == (2, ["near"])
    assert look["seeds"] == {"baseline": 5, "fast": 5} and len(look["runs"]) == 4
    code, out, _ = run(*words, "--dry-run")
    assert code == 0 and "small: look 2 of 2 (5 seeds) for near." in out
    assert "4 to do" in out and "baseline (5), fast (5)" in out
    run(*words)
    code, out, _ = run(*words, "--dry-run")
    assert code == 0
    assert out.splitlines()[-1] == "small: no claim is undecided after look 2 of 2 (5 seeds)."


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--max-seeds", "5"], "--max-seeds goes with --until-decided"),
        (["--budget-minutes", "5"], "--budget-minutes goes with --until-decided"),
        (["--until-decided", "--max-seeds", "2"], "--max-seeds 2 is below the first look's 3"),
        (["--until-decided", "--seeds", "1"], "two seeds or more at its first look"),
        (["--until-decided", "--budget-minutes", "0"], "The budget must be above 0"),
        (["--until-decided", "--budget-minutes", "0.01"], "give --budget-minutes more"),
    ],
)
def test_what_decides_nothing_is_refused_in_a_sentence(
    run, table: str, words: list[str], sentence: str, tmp_path: Path
) -> None:
    code, _, err = run("ablate", table, "--scale", "smoke", *words)
    assert code == 2 and sentence in err and len(err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_leaderboard_decides_whether_the_first_is_above_the_others(
    run, monkeypatch: pytest.MonkeyPatch
) -> None:
    top1 = {"byol": 50.0, "simclr": 40.0, "simsiam": 60.0}

    def execute(job: Job, tell: Tell) -> None:
        finish(job, top1=top1.get(job.experiment.recipe.name, 20.0) + job.experiment.seed)

    use(monkeypatch, execute)
    words = ["leaderboard", "--recipes", "byol,simclr,simsiam", "--scale", "smoke"]
    code, out, err = run(*words, "--until-decided", "--json")
    assert code == 0, err
    [measured] = json.loads(out)
    assert {claim["says"]: claim["ours"] for claim in measured["claims"]} == {
        "byol is above simclr (linear top-1).": "held",
        "byol is above simsiam (linear top-1).": "not held",
    }
    code, _, err = run("leaderboard", "--recipes", "byol", "--scale", "smoke", "--until-decided")
    assert code == 2 and "has no claim that can be judged on shapes" in err
