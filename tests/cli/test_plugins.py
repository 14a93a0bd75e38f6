"""One's own method, table and comparison by the command line, from files in an empty folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sslbench.tables.schema import TABLES
from tests.own import METHOD, PROTOCOL

Write = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]

TABLE = """
id: my-table
title: Mine beside another
source: me
base: mine
columns:
  - {key: knn, name: kNN top-1, metric: "knn.v1:top1"}
  - {key: brightness, name: brightness, metric: "brightness.v1:mean"}
rows:
  - {id: mine, label: mine}
  - {id: one-layer, label: one layer, recipe: one-layer}
  - {id: byol, label: BYOL, recipe: byol}
"""
SMALL = ("--set", "data.num_train=96", "--set", "data.num_test=32", "--set", "data.resolution=16",
         "--set", "batch_size=16", "--set", "epochs=1", "--set", "projector=null",
         "--set", "predictor=null", "--set", "encoder.width=4")  # fmt: skip


@pytest.fixture
def own(plugin_file: Write) -> None:
    plugin_file(METHOD + PROTOCOL)
    plugin_file(TABLE, "my-table.yaml")


def test_a_plugin_is_loaded_before_any_command(run: Run, own: None) -> None:
    listed = json.loads(run("--plugin", "mine.py", "list", "--json")[1])
    assert {"mine", "one-layer", "plain"} < {row["name"] for row in listed}
    shown = run("--plugin", "mine.py", "pretrain", "mine", "--scale", "smoke", "--show")
    assert "kind: Spread" in shown[1]


def test_a_plugin_of_the_environment_is_loaded(
    run: Run, own: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLBENCH_PLUGINS", "mine.py")
    assert '"mine"' in run("list", "--json")[1]
    assert os.environ["SSLBENCH_PLUGINS"] == str(Path("mine.py").resolve())  # for its children


def test_a_plugin_that_is_not_there_is_one_sentence(run: Run) -> None:
    code, out, err = run("--plugin", "no.py", "list")
    assert (code, out) == (2, "")
    assert err.endswith("/no.py cannot be read: no such file; check the path.\n")


def test_two_workers_measure_a_table_of_ones_own(run: Run, own: None) -> None:
    words = ("--plugin", "mine.py", "ablate", "my-table.yaml", "--scale", "smoke", "--seeds", "1")
    code, out, err = run(*words, "--jobs", "2", "--device", "cpu", *SMALL)
    assert code == 0, err
    assert "Mine beside another" in out
    result = json.loads(next(Path("results").rglob("my-table.json")).read_text())
    assert {row["cells"]["brightness"]["state"] for row in result["rows"]} == {"measured"}
    assert "plugins mine.py (" in " ".join(out.split())
    used = {path.parent.name.split("-s0-")[0]: json.loads(path.read_text())["plugins"]
            for path in Path("runs").glob("*/run.json")}  # fmt: skip
    assert list(used.pop("mine")) == list(used.pop("one-layer")) == ["mine.py"]
    assert used.pop("byol") == {}
    assert "mine.py (" in run("list", "runs", "--json")[1]
    for word in ("my-table.yaml", "my-table"):
        assert "Mine beside another" in run("report", word)[1]
    plan = json.loads(run(*words, "--dry-run", "--json", *SMALL)[1])
    assert all(item["finished"] for item in plan["runs"])
    measured = ("--scale", "smoke", "--seeds", "1", "--device", "cpu", *SMALL)
    assert run("check", "my-table.yaml", *measured)[0] == 0

    recipes = ("--recipes", "mine,byol", "--scale", "smoke", "--seeds", "1", "--device", "cpu")
    code, out, err = run("leaderboard", *recipes, *SMALL)  # what is trained is taken
    assert code == 0, err
    assert "mine, byol under the same protocols" in out
    assert "mine, byol under the same protocols" in run("report", "leaderboard-mine-byol")[1]

    for table in ("my-table", "leaderboard-mine-byol"):
        del TABLES[table]  # as in another process
    _, _, err = run("report", "--format", "markdown")
    assert "Of table my-table there is the result only" in err
    assert "leaderboard" not in err
    code, _, err = run("check", "my-table", *measured)
    assert code == 2
    assert "Only the results are here of leaderboard-mine-byol" not in err
    assert err.startswith("sslbench: Only the results are here of my-table")


def test_a_leaderboard_plans_its_recipes_and_the_baselines(run: Run, own: None) -> None:
    words = ("--recipes", "mine,simclr", "--scale", "smoke", "--seeds", "2", "--dry-run", "--json")
    plan = json.loads(run("--plugin", "mine.py", "leaderboard", *words)[1])
    feeds = {place["row"] for item in plan["runs"] for place in item["feeds"]}
    assert feeds == {"mine", "simclr", "untrained", "raw-pixels"}


def test_a_leaderboard_of_an_unknown_recipe_names_the_nearest(run: Run) -> None:
    code, _, err = run("leaderboard", "--recipes", "simcrl,byol")
    assert code == 2
    assert err.startswith("sslbench: No recipe 'simcrl'; did you mean 'simclr'")


def test_the_id_of_a_table_of_ones_own_must_be_new(run: Run, own: None, plugin_file: Write) -> None:
    plugin_file(TABLE.replace("my-table", "byol-target"), "t.yaml")
    code, _, err = run("--plugin", "mine.py", "ablate", "t.yaml", "--dry-run")
    assert code == 2
    assert err.startswith("sslbench: The id 'byol-target' is that of ")


def test_a_mistake_in_a_table_of_ones_own_names_the_file(run: Run, plugin_file: Write) -> None:
    plugin_file(TABLE.replace("label: mine", "labl: mine"), "t.yaml")
    code, _, err = run("ablate", "t.yaml", "--scale", "smoke", "--dry-run")
    assert code == 2
    assert err.startswith("sslbench: t.yaml: rows[0]: no such field 'labl'; did you mean 'label'?")
