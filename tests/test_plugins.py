from __future__ import annotations

import functools
import importlib.metadata
import os
import pickle
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from sslbench import plugins, registries
from sslbench.errors import UserError
from sslbench.recipes import RECIPES
from sslbench.recipes.scales import SCALES

Write = Callable[..., Path]

RECIPE = """
from sslbench.recipes import RECIPES
RECIPES["mine"] = RECIPES["simclr"].but(name="mine")
"""
CODE = """
import dataclasses, functools

@dataclasses.dataclass
class Mine:
    size: int = 3

def loss(x):
    return x

half = functools.partial(loss, 2)
"""


@pytest.fixture
def installed(plugin_file: Write, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a file of an installed package."""
    root = plugin_file("", "site/there.txt").parent
    monkeypatch.syspath_prepend(str(root))
    return lambda text, name: plugin_file(text, f"site/{name}")


def refused(*names: object) -> str:
    with pytest.raises(UserError) as error:
        plugins.load([str(name) for name in names])
    return str(error.value)


# ------------------------------------------------------------------------------------- loading


def test_a_file_registers_in_the_programs_own_dictionary(plugin_file: Write) -> None:
    plugins.load([str(plugin_file(RECIPE))])
    assert RECIPES["mine"].name == "mine"
    assert type(RECIPES) is dict


def test_a_file_is_loaded_once(plugin_file: Write) -> None:
    path = plugin_file(RECIPE + "count = len(RECIPES)\n")
    plugins.load([str(path), os.path.relpath(path)])
    plugins.load([str(path)])
    assert list(plugins.carried()) == [str(path)]


def test_the_environment_and_the_option_name_one_file_once(
    plugin_file: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = plugin_file(RECIPE), plugin_file("", "other.py")
    monkeypatch.setenv(plugins.VARIABLE, f"{path}{os.pathsep}{other}")
    plugins.load_all([str(path)])
    assert list(plugins.carried()) == [str(path), str(other)]


def test_installed_packages_are_found_by_their_entry_point(
    installed: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(RECIPE, "some_package/methods.py")
    point = importlib.metadata.EntryPoint("x", "some_package.methods", plugins.GROUP)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point])
    plugins.load_all(())
    assert "mine" in RECIPES
    assert list(plugins.carried()) == ["some_package.methods"]


def test_a_child_process_can_unpickle_what_a_plugin_made(plugin_file: Write) -> None:
    plugins.load([str(plugin_file(CODE))])
    mine = sys.modules["sslbench.plugins.mine"].Mine(size=5)
    child = "import pickle, sys, sslbench; print(pickle.load(sys.stdin.buffer).size)"
    done = subprocess.run([sys.executable, "-c", child], input=pickle.dumps(mine),
                          capture_output=True, check=True)  # fmt: skip
    assert done.stdout == b"5\n"


def test_every_registry_is_where_its_name_says(plugin_file: Write) -> None:
    for place in (*registries.NAMES, *registries.DATA, *registries.SPECS):
        module, _, name = place.partition(":")
        assert type(getattr(sys.modules[module], name)) is dict, place


# ------------------------------------------------------------------------------ what is refused


def test_a_file_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    assert refused(path) == f"{path} cannot be read: no such file; check the path."


def test_a_module_that_is_not_there_is_a_sentence(
    plugin_file: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(plugin_file(RECIPE).parent)
    assert refused("no_such") == "No plugin 'no_such': no module of that name is installed."
    assert refused("mine").endswith("; did you mean 'mine.py'?")


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("x = 1\ny = (\n", 2, "SyntaxError: '(' was never closed"),
        ("\ndef f():\n    return 1 / 0\n\nf()\n", 3, "ZeroDivisionError: division by zero"),
        ("import no_such_module\n", 1, "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(3)\n", 1, "SystemExit: 3"),
        (f"{RECIPE}RECIPES['x'] = RECIPES['byol'].but(epohs=3)\n", 4,
         "epohs: no such field 'epohs' of JointRecipe; did you mean 'epochs'?"),
    ],
)  # fmt: skip
def test_a_failing_plugin_says_where(plugin_file: Write, text: str, line: int, what: str) -> None:
    path = plugin_file(text)
    assert refused(path).startswith(f"The plugin {path}, line {line}: {what}")


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("\nRECIPES['byol'] = RECIPES['simclr']", 5, "RECIPES['byol'] is taken"),
        ("\ndel RECIPES['byol']", 5, "RECIPES['byol'] is taken"),
        ("\nRECIPES['x'] = RECIPES['byol']", 5, "RECIPES['x'] is named 'byol'"),
        ("from sslbench.recipes.scales import SCALES\n"
         "SCALES['laptop'].recipes['byol'] = {}", 5, "SCALES['laptop'].recipes['byol'] is taken"),
        ("from sslbench.recipes.scales import SCALES\n"
         "SCALES['paper'].recipes['byol'] = {}", 5, "SCALES['paper'].recipes['byol'] is taken"),
        ("from sslbench.models.encoders import ENCODERS\n"
         "from sslbench.recipes import specs\n"
         "ENCODERS[specs.ViT] = ENCODERS[specs.ResNet]", 6, "ENCODERS[ViT] is taken"),
        ("from sslbench.recipes.base import Spec\nclass ViT(Spec): pass", 5,
         "there is a spec ViT already"),
    ],
)  # fmt: skip
def test_a_name_that_is_taken_is_refused_and_nothing_stays(
    plugin_file: Write, text: str, line: int, what: str
) -> None:
    before, scale = dict(RECIPES), dict(SCALES["paper"].recipes)
    path = plugin_file(RECIPE + text + "\n")
    assert refused(path).startswith(f"The plugin {path}, line {line}: {what}")
    assert before == RECIPES
    assert scale == SCALES["paper"].recipes
    assert os.environ[plugins.VARIABLE] == ""
    path.write_text(RECIPE)  # mended
    plugins.load([str(path)])
    assert "mine" in RECIPES


def test_two_plugins_cannot_register_one_name(plugin_file: Write) -> None:
    plugins.load([str(plugin_file(RECIPE))])
    other = plugin_file(RECIPE, "other.py")
    assert refused(other).startswith(f"The plugin {other}, line 3: RECIPES['mine'] is taken")
    assert RECIPES["mine"].name == "mine"


def test_two_files_of_one_name_are_refused(plugin_file: Write) -> None:
    first, second = plugin_file(RECIPE), plugin_file(RECIPE, "more/mine.py")
    assert refused(first, second) == (
        f"The plugins {first} and {second} have one name; rename one of the files."
    )


@pytest.mark.parametrize("name", ["my-method.py", "load.py", "mine.txt"])
def test_a_file_whose_name_makes_no_module_is_refused(plugin_file: Write, name: str) -> None:
    assert "needs another name: letters, digits and underscores" in refused(plugin_file("", name))


def test_a_part_of_the_program_is_no_plugin() -> None:
    assert refused("sslbench.recipes").startswith("'sslbench.recipes' is a part of sslbench")


def test_an_error_in_a_package_names_the_file_in_it(installed: Write) -> None:
    installed("from bad_package import inner\n", "bad_package/__init__.py")
    inner = installed("1 / 0\n", "bad_package/inner.py")
    assert refused("bad_package") == (
        f"The plugin bad_package in {inner}, line 1: ZeroDivisionError: division by zero."
    )
    assert "bad_package" not in sys.modules


# --------------------------------------------------------------------------------- content hashes


def test_the_hash_is_of_the_content_and_of_its_module_alone(plugin_file: Write) -> None:
    plugins.load([str(plugin_file(CODE)), str(plugin_file(CODE + "\n", "other.py"))])
    mine = plugins.hash_of("sslbench.plugins.mine")
    assert mine is not None
    assert len(mine) == 16
    assert plugins.hash_of("sslbench.plugins.other") not in (None, mine)
    assert plugins.hash_of("sslbench.recipes") is None


def test_a_package_is_hashed_with_all_its_files(installed: Write) -> None:
    hashes = []
    for inner, name in (("x = 1\n", "inner.py"), ("x = 2\n", "inner.py"), ("x = 2\n", "more.py")):
        root = installed("", "a_package/__init__.py").parent
        for old in root.glob("*.py"):
            old.unlink()
        installed("", "a_package/__init__.py")
        installed(inner, f"a_package/{name}")
        plugins.load(["a_package"])
        hashes.append(plugins.hash_of("a_package.inner"))
        del plugins.LOADED["a_package"], sys.modules["a_package"]
    assert len(set(hashes)) == 3


def test_use_is_told_by_the_module_that_made_a_class_or_function(plugin_file: Write) -> None:
    plugins.load([str(plugin_file(CODE))])
    mine = sys.modules["sslbench.plugins.mine"]

    @functools.wraps(mine.loss)
    def wrapped() -> None: ...

    class Child(mine.Mine): ...  # type: ignore[misc,name-defined]

    for part in (mine.Mine, mine.loss, mine.half, wrapped, Child, mine.Mine()):
        assert list(plugins.used_by([part])) == ["mine.py"]
    assert plugins.used_by([Path, len, types, functools.partial(print)]) == {}


def test_a_plugin_that_changed_on_the_way_to_a_worker_is_refused(plugin_file: Write) -> None:
    path = plugin_file(RECIPE)
    with pytest.raises(UserError, match=r"mine\.py has changed since this command began"):
        plugins.load_carried({str(path): "0" * 16})
