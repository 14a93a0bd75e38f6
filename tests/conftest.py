"""Shared by all tests: one thread each, no settings from outside, marks and options."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: workers share few cores
for _name in ("SSLBENCH_RUNS", "SSLBENCH_DATA", "SSLBENCH_PLUGINS"):
    os.environ.pop(_name, None)

import importlib  # noqa: E402
import sys  # noqa: E402
import textwrap  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

import pytest  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--network", action="store_true", help="also run tests that download")
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden values")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this machine, or this call, cannot run."""
    if not config.getoption("--network"):
        _skip(items, "network", "needs --network")
    if any(item.get_closest_marker("gpu") for item in items):
        import torch

        if not torch.cuda.is_available():
            _skip(items, "gpu", "needs a CUDA device")


def _skip(items: list[pytest.Item], mark: str, reason: str) -> None:
    for item in items:
        if item.get_closest_marker(mark):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether this call rewrites golden values (`make golden`) rather than comparing them."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture
def plugin_file(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Writes a plugin: (text, name of the file) to its path. What is loaded of it is gone again
    after the test."""
    from sslbench import plugins
    from sslbench.registries import MODULES, Watch

    for module in MODULES:  # only what is noted before the test can be put back
        importlib.import_module(module)

    def write(text: str, name: str = "mine.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    known, there = dict(plugins.LOADED), set(sys.modules)
    with Watch() as watch, pytest.MonkeyPatch.context() as environment:
        environment.setenv(plugins.VARIABLE, "")
        yield write
    watch.restore()
    for module in set(plugins.LOADED) - set(known):
        del plugins.LOADED[module]
        for name in [n for n in set(sys.modules) - there if f"{n}.".startswith(f"{module}.")]:
            del sys.modules[name]
            vars(plugins).pop(name.rpartition(".")[2], None)
