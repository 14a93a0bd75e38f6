"""From pretrain's last lines to the page about one's runs, as a newcomer follows them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

QUICK = ["--scale", "smoke", "--set", "epochs=1", "--no-tensorboard", "--device", "cpu"]
SHAPES = ["--set", "data.num_train=160", "--set", "data.num_test=60", "--set", "data.resolution=16"]


def printed_commands(text: str) -> list[list[str]]:
    """The commands that stand on lines of their own, as words."""
    lines = (line.strip().removeprefix("Next:").strip() for line in text.splitlines())
    return [shlex.split(line)[1:] for line in lines if line.startswith("sslbench ")]


@pytest.fixture
def photos(tmp_path) -> Path:
    from PIL import Image

    folder = tmp_path / "my photos"
    folder.mkdir()
    for i in range(200):
        colours = (i, 255 - i, 7 * i % 256)
        Image.new("RGB", (20, 20), colours).save(folder / f"{i}.png")
    return folder


def test_after_training_on_photos_without_labels_every_printed_command_works(run, photos):
    code, out, err = run("pretrain", "simsiam", "--dataset", "flat:my photos", *QUICK,
                         "--set", "data.resolution=16")  # fmt: skip
    assert code == 0, err
    commands = printed_commands(out)
    assert [words[:2] for words in commands] == [
        ["analyze", "neighbours"], ["analyze", "spectrum"], ["report", commands[-1][1]],
    ]  # fmt: skip
    for words in commands:
        code, _, err = run(*words)
        assert code == 0, err
    page = Path("reports/runs.html").read_text()
    assert "180 training and 20 test images without labels" in page
    assert page.count('src="data:image/png') == 2
    (sentence,) = [line for line in out.splitlines() if "needs labels" in line]
    path = commands[-1][1]
    assert f"sslbench eval {path} --dataset NAME" in sentence
    sets = ["--dataset", "shapes", "--scale", "smoke", "--protocol", "knn"]
    assert run("eval", path, *sets)[0] == 0
    code, _, err = run("compare", path, path)
    assert code == 2 and "no labels" in err and "--dataset NAME" in err


@pytest.mark.slow
def test_a_labelled_run_is_followed_from_eval_to_a_comparison(run):
    code, out, err = run("pretrain", "simclr", *QUICK, *SHAPES)
    assert code == 0, err
    commands = printed_commands(out)
    assert [words[0] for words in commands] == ["eval", "report"]
    assert run(*commands[0])[0] == 0
    done: set[str] = set()
    for _ in range(3):  # what one page asks for, the next one shows
        _, out, _ = run("report", "runs")
        for words in printed_commands(out):
            if shlex.join(words) not in done and words[:2] != ["analyze", "attention"]:
                done.add(shlex.join(words))
                code, _, err = run(*words)
                assert code == 0, (words, err)
    kinds = {words.split()[0] for words in done}
    assert kinds == {"pretrain", "analyze", "eval", "compare"}
    code, out, _ = run("report", "runs", "--format", "markdown")
    assert code == 0 and out.strip() == "reports/runs.md"
    text = Path("reports/runs.md").read_text()
    assert "raw\\-pixels" in text or "raw-pixels" in text
    assert "untrained" in text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["report", "nothing"], "No measured table 'nothing' under results, and no run 'nothing'"),
        (["report", "simclr", "--format", "latex"], "No format 'latex' of a report of runs"),
        (["report", "simclr", "--scale", "smoke"], "name the runs you want"),
        (["report", "gate", "simclr"], "each kind has a report of its own"),
        (["report", "simclr", "--format", "html", "--out", "file"], "Cannot write"),
    ],
)
def test_wrong_input_is_one_sentence(run, words, expected, tmp_path):
    (tmp_path / "results" / "smoke" / "cpu").mkdir(parents=True)
    (tmp_path / "results" / "smoke" / "cpu" / "gate.json").write_text("{}")
    (tmp_path / "file").write_text("no folder")
    assert run("pretrain", "simclr", *QUICK, *SHAPES)[0] == 0
    code, _, err = run(*words)
    assert code == 2 and expected in err
    assert len(err.strip().splitlines()) == 1


def test_a_newcomer_without_tables_is_told_how_to_report_runs(run):
    code, _, err = run("report")
    assert code == 2 and "sslbench report runs" in err


def test_json_of_pretrain_stays_json(run):
    code, out, _ = run("pretrain", "simclr", *QUICK, *SHAPES, "--json")
    assert code == 0
    assert json.loads(out)["images"] == {"train": 160, "test": 60, "unlabelled": 0, "classes": 10}
