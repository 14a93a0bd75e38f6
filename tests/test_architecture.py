"""The promises of the structure: layers, quick start, complete indexes, readable files."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "sslbench"
FILES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ("torch", "torchvision", "timm", "pandas", "matplotlib", "scipy", "faiss", "tensorboard")

START = """
import sys
sys.argv = ["sslbench", *sys.argv[1:]]
from sslbench.cli import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
print("HEAVY", *sorted(set({heavy!r}) & set(sys.modules)))
"""


def test_imports_point_down() -> None:
    tool = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([tool, "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "words",
    [["--help"], ["list"], ["list", "recipes"], ["list", "datasets"], ["list", "protocols"]],
)
def test_help_and_list_answer_without_heavy_imports(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", START.format(heavy=HEAVY), *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].split() == ["HEAVY"]
    assert len(done.stdout.splitlines()) > 2


def printed(code: str) -> set[str]:
    """The words that a program prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_the_package_alone_imports_nothing_but_itself() -> None:
    code = "import sys; old = set(sys.modules); import sslbench; print(*set(sys.modules) - old)"
    found = printed(code)
    assert {name for name in found if name.startswith("sslbench")} == {"sslbench"}
    assert {name.partition(".")[0] for name in found} <= {"sslbench", *sys.stdlib_module_names}


def test_names_in_python_answer_without_heavy_imports() -> None:
    asked = "sslbench.recipe_names(), sslbench.table('byol-target')"
    heavy = {*HEAVY, "typer", "rich"}
    code = f"import sys, sslbench; {asked}; print(*{heavy!r} & set(sys.modules))"
    assert printed(code) == set()


def test_every_kind_has_an_implementation() -> None:
    from sslbench.methods import METHODS
    from sslbench.methods.targets import TARGETS
    from sslbench.models.encoders import ENCODERS
    from sslbench.objectives import OBJECTIVES
    from sslbench.recipes.base import kinds
    from sslbench.recipes.recipe import Recipe
    from sslbench.recipes.specs import EncoderSpec, ObjectiveSpec, TargetSpec

    for interface, index in (
        (Recipe, METHODS),
        (ObjectiveSpec, OBJECTIVES),
        (EncoderSpec, ENCODERS),
        (TargetSpec, TARGETS),
    ):
        own = {kind for kind in kinds(interface) if kind.__module__.startswith("sslbench.")}
        assert set(index) == {kind for kind in own if "sslbench.plugins." not in kind.__module__}


def test_every_scale_names_existing_recipes() -> None:
    from sslbench.recipes import RECIPES
    from sslbench.recipes.scales import SCALES

    assert all(name == recipe.name for name, recipe in RECIPES.items())
    for scale in SCALES.values():
        assert set(scale.recipes) <= set(RECIPES)
        for family, settings in scale.families.items():
            known = {name for name, recipe in RECIPES.items() if recipe.family == family}
            assert known and set(settings.recipes) <= known


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_public_names_have_docstrings(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), f"{path.name} does not say what it is"
    public = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
    ]
    missing = [node.name for node in public if not ast.get_docstring(node)]
    assert not missing


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_stay_short(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= 350
