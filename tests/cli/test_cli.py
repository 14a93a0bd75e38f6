"""The commands as a user meets them: output, exit codes, one sentence for every wrong input."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sslbench.engine.folder import NUMERICS, RunFolder
from sslbench.evaluation import subject
from sslbench.tables.results import MeasuredTable
from tests.tiny import summary, tiny

STORED = Path(__file__).parents[1] / "stored/simsiam-stop-grad.json"  # of numerics 1, as measured
SMALL = ["--scale", "smoke", "--set", "data.num_train=160", "--set", "data.num_test=60",
         "--set", "data.resolution=16"]  # fmt: skip
QUICK = [*SMALL, "--set", "epochs=1"]


def trained(run, recipe: str, *more: str) -> str:
    code, out, err = run("pretrain", recipe, *QUICK, "--no-tensorboard", "--json", *more)
    assert code == 0, err
    return json.loads(out)["run"]


def test_a_finished_run_with_fewer_monitor_points_says_so(run):
    path = Path(trained(run, "simclr"))
    again = ["pretrain", "simclr", *QUICK, "--no-tensorboard", "--monitor-points"]
    code, _, err = run(*again, "2")
    assert code == 0
    assert "kNN curve has 1 points, not 2" in err
    assert "kNN curve" not in run(*again, "1")[2]
    shutil.rmtree(path)
    assert "kNN curve" not in run(*again, "2")[2]
    steps = [p["step"] for p in RunFolder(path).metrics() if "knn" in p]
    assert len(steps) == 2


@pytest.mark.parametrize("kind", ["recipes", "tables", "datasets", "scales", "protocols"])
def test_list_names_things_as_text_and_as_json(run, kind):
    code, out, _ = run("list", kind, "--json")
    names = [row["name"] for row in json.loads(out)]
    assert code == 0 and len(names) > 2
    assert names[0] in run("list", kind)[1]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["list", "recipe"], "did you mean 'recipes'"),
        (["pretrain", "simclar"], "did you mean 'simclr'"),
        (["pretrain", "simclr", "--scale", "labtop"], "did you mean 'laptop'"),
        (["pretrain", "simclr", "--dataset", "cifar11"], "did you mean 'cifar1"),
        (["pretrain", "simclr", "--set", "objective.tempreture=1"], "'temperature'"),
        (["pretrain", "simclr", "--set", "epochs"], "FIELD=VALUE"),
        (["pretrain", "simclr", "--set", "epochs=ten"], "epochs: needs a whole number"),
        (["pretrain", "simclr", "--set", "batch_size=100000", "--scale", "smoke"], "larger than"),
        (["pretrain", "moco-v2", "--set", "batch_size=60"], "multiple of the batch"),
        (["pretrain", "simclr", "--dataset", "folder:nowhere"], "nowhere"),
        (["pretrain", "simclr", "--dataset", "shapes:/tmp"], "shapes is drawn and has no folder"),
        (["pretrain", "simclr", "--dataset", "folder:"], "give the folder after the colon"),
        (
            ["pretrain", "simclr", "--scale", "smoke", "--set", "data.num_train=1"],
            "use more images",
        ),
        (["pretrain", "simclr", "--device", "gpu"], "gpu"),
        (["pretrain", "missing.yaml"], "missing.yaml"),
        (["eval", "no-such-run"], "No run 'no-such-run'"),
        (["ablate", "byol-targets"], "did you mean 'byol-target'"),
        (["ablate", "byol-target", "--rows", "ema-0.8"], "ema-0.9"),
        (["ablate", "byol-target", "--seeds", "0"], "at least 1"),
        (["ablate", "byol-target", "--seeds", "1000000000"], "at most 1000 seeds"),
        (["ablate", "byol-target", "--jobs", "1" + 30 * "0"], "--jobs must be 1 to 1024"),
        (["pretrain", "simclr", "--threads", "1000000"], "more than the 1024"),
        (["pretrain", "simclr", "--checkpoint-seconds", "nan"], "a finite number from 0"),
        (["pretrain", "simclr", "--checkpoint-seconds", "inf"], "a finite number from 0"),
        (["pretrain", "simclr", "--checkpoint-seconds", "-1"], "--checkpoint-seconds -1: needs"),
        (["pretrain", "simclr", "--seed", "-1"], "--seed -1: needs a whole number from 0"),
        (["analyze", "neighbours", "a", "--seed", "-1"], "--seed -1: needs a whole number from 0"),
        (["analyze", "attention", "a", "--seed", "-1"], "--seed -1: needs a whole number from 0"),
        (["ablate", "byol-target", "--set", "target.momentm=1"], "momentm"),
        (["ablate", "byol-target", "--dry-run", "--jobs", "0"], "--jobs must be 1 to 1024"),
        (["report"], "sslbench ablate"),
        (["report", "--scale", "smok"], "did you mean 'smoke'"),
        (["report", "--format", "htlm"], "did you mean 'html'"),
        (["check", "--jobs", "0"], "--jobs must be 1 to 1024"),
        (["pretrain", "byol", "--set", "target={1: 2}"], "a key must be text, not 1"),
        (["pretrain", "byol", "--set", "target={kind: [1]}"], "no kind '[1]'"),
        (["pretrain", "byol", "--set", "views.*=1"], "say which field of each"),
        (["pretrain", "byol", "--set", "epochs=" + "9" * 400], "larger than any number"),
        (["pretrain", "byol", "--set", "epochs=" + "9" * 5000], "not a value that YAML reads"),
        (["pretrain", "byol", "--set", "name=../../x"], "'../../x' is no name"),
        (["check"], "No measured tables"),
        (["compare", "a", "b"], "No run 'a'"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_2(run, words, expected):
    code, _, err = run(*words)
    assert code == 2
    assert expected in err
    assert err.startswith("sslbench: ") and len(err.strip().splitlines()) == 1


def test_a_wrong_choice_is_answered_with_each_choice_once(run):
    code, _, err = run("pretrain", "dino", "--set", "objective.loss=mse")
    assert code == 2
    assert err.count("cross_entropy") == err.count("normalized_mse") == 1


def test_pretrain_eval_compare_export(run):
    a = trained(run, "simclr")
    b = trained(run, "simclr", "--seed", "1")
    code, out, _ = run("eval", a, "--protocol", "knn,linear,geometry", "--json")
    scores = next(iter(json.loads(out).values()))
    assert code == 0
    assert {s["protocol"] for s in scores.values()} == {
        "knn.v1", "linear.features.v1", "geometry.v1",
    }  # fmt: skip
    assert run("eval", b)[0] == 0
    code, out, err = run("compare", a, b, "--protocol", "knn", "--json")
    assert code == 0, err
    assert 0 <= json.loads(out)["p_value"] <= 1
    code, out, err = run("pretrain", "untrained", *SMALL, "--no-tensorboard", "--set",
                         "encoder={kind: ResNet, arch: resnet18, stem: small}")  # fmt: skip
    assert code == 0, err
    code, out, err = run("export", out.splitlines()[0])
    assert code == 0, err
    assert Path(out.strip()).stat().st_size > 1e6


def test_transfer_scores_a_run_on_other_sets(run):
    from PIL import Image

    for blue, split in ((20, "train"), (21, "val")):
        for label, level in (("dark", 20), ("light", 230)):
            folder = Path("pictures", split, label)
            folder.mkdir(parents=True)
            for i in range(12):
                Image.new("RGB", (20, 20), (level + i, level, blue)).save(folder / f"{i}.png")
    name = Path(trained(run, "simclr")).name
    code, out, err = run("transfer", name, "--to", "folder:pictures", "--json")
    assert code == 0, err
    scores = json.loads(out)[name]
    assert {s["dataset"] for s in scores.values()} == {"folder"}
    assert {s["protocol"] for s in scores.values()} == {"knn.v1", "linear.features.v1"}
    assert all(s["values"]["top1"] > 90 for s in scores.values())  # brightness tells the classes


def test_the_printed_recipe_can_be_read_back(run, tmp_path):
    _, out, _ = run("pretrain", "byol", *QUICK, "--show")
    (tmp_path / "mine.yaml").write_text(out)
    code, again, err = run("pretrain", "mine.yaml", "--show")
    assert code == 0, err
    assert again.split("\n#")[0] == out.split("\n#")[0]
    assert "# epochs: from --set" in out


def test_dry_run_counts_shared_runs_once_and_trains_nothing(run, tmp_path):
    words = ["ablate", "byol-target", "byol-beta", "--seeds", "2"]
    code, out, err = run(*words, "--dry-run", "--json")
    assert code == 0, err
    plan = json.loads(out)
    assert len({r["run"] for r in plan["runs"]}) == len(plan["runs"])
    assert plan["seconds"] > 0
    assert not (tmp_path / "runs").exists()


def test_an_ablation_is_written_reported_and_found_again(run, tmp_path):
    words = ["ablate", "simsiam-stop-grad", *QUICK, "--seeds", "1", "--results", "results"]
    code, out, err = run(*words)
    assert code == 0, err
    assert "w/o stop-grad" in out and "67.7" in out
    assert run(*words, "--dry-run", "--json")[1].count('"finished": true') == 4
    for name in ("markdown", "csv", "latex", "html"):
        code, out, err = run("report", "--format", name)
        assert code == 0, err
        assert all(Path(line).stat().st_size > 100 for line in out.split())
        assert "Without stop-gradient the model collapses" in " ".join(err.split())


def test_check_passes_an_honest_rerun_and_fails_a_planted_regression(run, monkeypatch):
    """The plant: an evaluation that gives every image another image's features."""
    table = "simsiam-stop-grad"
    small = [*QUICK, "--set", "data.num_train=600", "--set", "data.num_test=300"]
    code, _, err = run("ablate", table, *small, "--seeds", "4", "--results", "reference")
    assert code == 0, err
    words = ["check", table, "--against", "reference", *small, "--seeds", "4"]
    code, out, err = run(*words, "--runs", "again")
    assert code == 0, err + out
    for folder in shutil.copytree(Path("again"), Path("planted")).iterdir():
        for what in ("scores", "features"):  # scored anew, not trained anew
            shutil.rmtree(folder / what, ignore_errors=True)
    original = subject.extract

    def planted(*args, **kwargs):
        features = original(*args, **kwargs)
        return dataclasses.replace(features, train=features.train.roll(1, dims=0))

    monkeypatch.setattr(subject, "extract", planted)
    code, out, _ = run(*words, "--runs", "planted", "--json")
    assert code == 1
    assert any(c["verdict"] == "regression" for c in json.loads(out)["cells"])


def test_an_ablation_killed_at_any_moment_ends_with_the_same_table(run, tmp_path):
    words = ["ablate", "simsiam-stop-grad", *QUICK, "--seeds", "2", "--device", "cpu"]
    assert run(*words, "--runs", "whole", "--results", "whole-results")[0] == 0
    broken = [*words, "--runs", "broken", "--results", "broken-results"]
    child = subprocess.Popen(
        [sys.executable, "-m", "sslbench", *broken], stderr=subprocess.PIPE, text=True
    )
    assert child.stderr is not None
    for line in child.stderr:
        if "[3/" in line:
            break
    child.kill()
    child.communicate()
    assert run(*broken)[0] == 0
    whole, again = (measured(tmp_path / name) for name in ("whole-results", "broken-results"))
    assert whole == again


def measured(folder: Path) -> dict[str, list]:
    """Every cell's seeds of the one table in a results folder."""
    (path,) = folder.glob("*/*/*.json")
    table = json.loads(path.read_text())
    rows = [*table["rows"], *table["baselines"]]
    return {f"{r['id']}.{k}": c["seeds"] for r in rows for k, c in r["cells"].items()}


def test_a_read_only_place_is_refused_in_a_sentence(run, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    code, _, err = run("pretrain", "simclr", *QUICK, "--runs", "file/runs")
    assert code == 2
    assert "Cannot write" in err


def committed(results: Path) -> Path:
    """A table that lies in the repository, as if it were measured with this version's numerics."""
    path = results / "laptop" / "cpu" / "simsiam-stop-grad.json"
    table = MeasuredTable.load(STORED)
    dataclasses.replace(table, numerics=NUMERICS).save(path)
    return path


def test_a_report_judges_stored_cells_by_todays_claims(run, tmp_path):
    path = committed(tmp_path / "results")
    table = json.loads(path.read_text())
    (table["claims"][0]["id"], table["claims"][0]["says"]) = ("former", "A former sentence.")
    path.write_text(json.dumps(table))
    code, out, err = run("report", "simsiam-stop-grad", "--results", "results")
    assert code == 0, err
    assert "A former sentence" not in out
    assert "the sentence is about ImageNet-1k" in " ".join(out.split())


def test_check_refuses_other_settings_before_it_trains(run, tmp_path, monkeypatch):
    committed(tmp_path / "reference")
    monkeypatch.setattr("sslbench.cli.grid.Grid.train", lambda *_, **__: pytest.fail("it trains"))
    words = ["check", "--against", "reference", "--scale", "laptop", "--seeds", "1"]
    for change, says in (("epochs=1", "what --set changed"), ("data.num_train=16", "fingerprint")):
        code, _, err = run(*words, "--set", change)
        assert code == 2
        assert f"{says} differs" in err


def test_a_reference_that_is_not_a_number_is_refused(run, tmp_path):
    path = committed(tmp_path / "results")
    table = json.loads(path.read_text())
    table["rows"][0]["cells"]["top1"]["seeds"][1][1] = float("nan")
    path.write_text(json.dumps(table))
    code, _, err = run("check", "--scale", "laptop")
    assert code == 2
    assert "simsiam-stop-grad.json is damaged" in err
    assert "rows[0].cells.top1.seeds[1][1]: needs a finite number, got nan" in err


def test_one_damaged_run_or_result_is_named_and_the_others_are_shown(run, tmp_path):
    for name in ("a", "b"):
        folder = RunFolder(tmp_path / "runs" / name)
        folder.write_experiment(tiny("byol"), {})
        folder.write_summary(summary())
    folder.summary_path.write_text("[1]")
    code, out, err = run("list", "runs", "--json")
    assert code == 0
    assert {row["name"]: row["status"] for row in json.loads(out)} == {
        "a": "finished",
        "b": "damaged",
    }
    assert "b/run.json is damaged" in err and len(err.splitlines()) == 1
    committed(tmp_path / "results").with_name("two.json").write_text("{")
    code, out, err = run("report")
    assert code == 0 and "stop-grad" in out
    assert "two.json is damaged" in err


def test_a_report_names_the_runs_that_it_cannot_read(run, tmp_path):
    path = tmp_path / "results" / "laptop" / "cpu" / "simsiam-stop-grad.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(STORED.read_bytes())
    names = [
        r for row in json.loads(path.read_text())["rows"] for r in row["cells"]["top1"]["runs"]
    ]
    for name, text in zip(names, ("{", '{"status": "started"}'), strict=False):
        folder = RunFolder(tmp_path / "runs" / name)
        folder.path.mkdir(parents=True)
        folder.summary_path.write_text(text)
        folder.metrics_path.write_text('{"step": 1, "loss": 2}\n{"ste')
    code, _, err = run("report", "--format", "html")
    assert code == 0
    assert f"{names[0]}/run.json is damaged" in err
    assert "1 lines cannot be read and are left out" in err


def test_a_recipe_file_of_an_unknown_scale_or_with_a_key_twice_is_refused(run, tmp_path):
    text = run("pretrain", "byol", "--show")[1]
    for change, words in (
        (text.replace("scale: laptop", "scale: nosuch"), "no scale 'nosuch'"),
        (text.replace("\n  seed: 0", "\n  seed: 0\n  seed: 1"), "the key 'seed' stands twice"),
    ):
        (tmp_path / "mine.yaml").write_text(change)
        code, _, err = run("pretrain", "mine.yaml", "--show")
        assert code == 2 and words in err and "mine.yaml" in err


@pytest.mark.parametrize(
    "words", [["--help"], ["list", "tables"], ["ablate", "--help"], ["analyze", "--help"]]
)
def test_what_answers_at_once_imports_neither_torch_nor_pandas(words):
    code = (
        "import sys\nfrom sslbench.cli import main\n"
        f"sys.argv = ['sslbench', *{words!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('HEAVY', sorted({'torch', 'pandas', 'matplotlib', 'faiss'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout
