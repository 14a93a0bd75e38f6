"""The page on a method of one's own says what runs: its example, in a folder of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
EXAMPLES = DOCS / "examples"
PAGE = (DOCS / "your-own-method.md").read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for file in EXAMPLES.iterdir():
        if file.is_file():
            shutil.copy(file, tmp_path)
    return tmp_path


def run(*words: str, folder: Path) -> str:
    package = str(DOCS.parent)  # the checkout, where no wheel is installed
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": package, "COLUMNS": "120"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("kind", "name"), [("python", "vicreg.py"), ("yaml", "vicreg.yaml")])
def test_the_page_shows_the_files(kind, name):
    blocks = re.findall(rf"```{kind}\n(.*?)```", PAGE, flags=re.DOTALL)
    assert (EXAMPLES / name).read_text() in blocks


def test_the_loss_is_the_papers(folder):
    assert "2 passed" in run(
        "pytest", "-q", "-p", "no:cacheprovider", "test_vicreg.py", folder=folder
    )


def test_the_method_is_about_sixty_lines():
    code = [line for line in (EXAMPLES / "vicreg.py").read_text().splitlines() if line.strip()]
    assert len(code) <= 70


def test_the_commands_of_the_page_know_the_plugin(folder):
    plugin = ("sslbench", "--plugin", "vicreg.py")
    assert "vicreg" in run(*plugin, "list", "recipes", folder=folder)
    shown = run(*plugin, "pretrain", "vicreg", "--scale", "smoke", "--show", folder=folder)
    assert "kind: VICReg" in shown
    small = ("--set", "epochs=1", "--set", "data.num_train=256", "--set", "data.num_test=128")
    run(*plugin, "ablate", "vicreg.yaml", "--scale", "smoke", "--seeds", "1",
        "--rows", "vicreg,no-variance,simclr", *small, folder=folder)  # fmt: skip
    (result,) = (folder / "results").rglob("my-vicreg.json")
    rows = {row["id"]: row for row in json.loads(result.read_text())["rows"]}
    for name in ("vicreg", "no-variance", "simclr"):
        assert rows[name]["cells"]["linear"]["state"] == "measured"
    assert "VICReg" in run(*plugin, "report", "vicreg.yaml", "--scale", "smoke", folder=folder)


def test_every_command_of_the_page_is_one(folder):
    commands = re.findall(r"^sslbench --plugin vicreg\.py (\S+)", PAGE, flags=re.MULTILINE)
    assert {"pretrain", "ablate", "report", "leaderboard"} == set(commands)
    listed = run("sslbench", "--help", folder=folder)
    assert all(command in listed for command in commands)
