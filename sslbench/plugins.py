"""Plugins: recipes, losses, encoders, data sets and protocols of one's own, without a fork.

A plugin is a file or an installed module that registers in the program's own dictionaries when it
is imported: `RECIPES["mine"] = ...`, `OBJECTIVES[MySpec] = my_loss`. What it made is known by the
module that it was made in, and a run that uses it carries the hash of the plugin's content.

A file becomes the module `sslbench.plugins.<stem>`. Files that were loaded stand in the
environment (SSLBENCH_PLUGINS), so that a child process finds that module too, as unpickling needs.
Imports no torch.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import shlex
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from sslbench.errors import UserError
from sslbench.files import read_bytes
from sslbench.registries import Taken, Watch

VARIABLE = "SSLBENCH_PLUGINS"  # paths and modules, with os.pathsep between them
GROUP = "sslbench.plugins"  # of entry points; each names a module
__path__: list[str] = []  # files are modules below this one; `_Finder` says where they lie


@dataclass(frozen=True)
class Plugin:
    """One plugin. `name` is for people (`my_method.py`, or a package), `place` is what loads it
    again anywhere, `hash` 16 hex digits of the SHA-256 of its content."""

    name: str
    place: str
    hash: str


LOADED: dict[str, Plugin] = {}  # by module, or by package: of all modules in it


def load_all(names: Iterable[str]) -> None:
    """The plugins of installed packages, of SSLBENCH_PLUGINS, and those named. Raises UserError
    as `load`."""
    for point in importlib.metadata.entry_points(group=GROUP):
        _load_module(point.module)
    load([*_environment(), *names])


def load(names: Iterable[str]) -> None:
    """Import plugins, each once, whole or not at all.

    Args:
        names: files (`my_method.py`), or names of installed modules.
    Raises:
        UserError: a file or module that is not there, or that fails; one that registers a name
            that is taken; two files of one name. The sentence says where.
    """
    for name in names:
        if name.endswith(".py") or os.sep in name:
            _load_file(Path(name))
        else:
            _load_module(name)


def carried() -> dict[str, str]:
    """What is loaded, place to hash, for another process to load by `load_carried`."""
    return {plugin.place: plugin.hash for plugin in LOADED.values()}


def load_carried(places: Mapping[str, str]) -> None:
    """Load the plugins of another process. Raises UserError where one has changed since."""
    load(places)
    for plugin in LOADED.values():
        if places.get(plugin.place, plugin.hash) != plugin.hash:
            raise UserError(
                f"The plugin {plugin.place} has changed since this command began; run it again."
            )


def hash_of(module: str) -> str | None:
    """The hash of the plugin that a module belongs to; None of any other module."""
    plugin = _plugin_of(module)
    return None if plugin is None else plugin.hash


def used_by(parts: Iterable[object]) -> dict[str, str]:
    """Name to hash of the plugins in which some classes or functions were made, by name; a
    function may also be its "module:name"."""
    found = (_plugin_of(home) for part in parts for home in _homes(part))
    return dict(sorted({p.name: p.hash for p in found if p is not None}.items()))


def missing(recorded: Mapping[str, str]) -> list[str]:
    """The names of plugins, as a run keeps them, that are not loaded."""
    known = {plugin.name for plugin in LOADED.values()}
    return [name for name in recorded if name not in known]


def described(used: Iterable[Mapping[str, str]]) -> list[str]:
    """The plugins of some runs in words, each content once: "my_method.py (3f2a91b2)"."""
    pairs = {pair for recorded in used for pair in recorded.items()}
    return [f"{name} ({digest[:8]})" for name, digest in sorted(pairs)]


def option(names: Iterable[str]) -> str:
    """The words of a command line that load plugins, as runs keep their names; where they lie, if
    they are loaded."""
    places = {plugin.name: plugin.place for plugin in LOADED.values()}
    here = f"{Path.cwd()}{os.sep}"
    words = [places.get(name, name).removeprefix(here) for name in names]
    return " ".join(f"--plugin {shlex.quote(word)}" for word in words)


def _plugin_of(module: str) -> Plugin | None:
    return LOADED.get(module) or LOADED.get(module.partition(".")[0])


def _homes(part: object) -> Iterator[str]:
    """The modules of a class and its bases, or of a function with its wrappers off."""
    if isinstance(part, str):
        yield part.partition(":")[0]
        return
    while True:
        if isinstance(part, functools.partial):
            part = part.func
        elif hasattr(part, "__wrapped__"):
            part = part.__wrapped__
        else:
            break
    if not isinstance(part, type) and not hasattr(part, "__qualname__"):
        part = type(part)  # a callable object
    for made in part.__mro__ if isinstance(part, type) else (part,):
        yield str(made.__module__)


# ------------------------------------------------------------------------------------- loading


def _load_file(path: Path) -> None:
    path = path.expanduser().resolve()
    module = f"{__name__}.{path.stem}"
    known = LOADED.get(module)
    if known is not None and known.place == str(path):
        return
    if known is not None:
        raise UserError(
            f"The plugins {known.place} and {path} have one name; rename one of the files."
        )
    read_bytes(path)  # says what is wrong with the path, before anything is made of it
    if path.suffix != ".py" or not path.stem.isidentifier() or path.stem in globals():
        raise UserError(
            f"The plugin {path} needs another name: letters, digits and underscores, then .py"
            + (f" (not {path.stem}.py, which is taken)." if path.stem in globals() else ".")
        )
    if os.pathsep in str(path):
        raise UserError(f"The plugin {path} lies in a folder with '{os.pathsep}'; move it.")
    before = _environment()
    others = [place for place in before if Path(place).stem != path.stem]
    os.environ[VARIABLE] = os.pathsep.join([*others, str(path)])
    try:
        _import(module, str(path))
    except BaseException:
        os.environ[VARIABLE] = os.pathsep.join(before)
        globals().pop(path.stem, None)
        raise


def _load_module(name: str) -> None:
    top = name.partition(".")[0]
    if top in LOADED and name in sys.modules:
        return
    if top == __name__.partition(".")[0]:
        raise UserError(f"'{name}' is a part of sslbench, no plugin; name a module of your own.")
    try:
        there = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        there = None
    if there is None:
        near = f"; did you mean '{name}.py'?" if Path(f"{name}.py").is_file() else "."
        raise UserError(f"No plugin '{name}': no module of that name is installed{near}")
    _import(name, name)
    LOADED[top] = Plugin(top, name, _package_hash(sys.modules[top]))


def _import(module: str, place: str) -> None:
    """Import a plugin's module; what it registered is taken back where it fails."""
    there = set(sys.modules)
    top = module if module.startswith(f"{__name__}.") else module.partition(".")[0]
    with Watch() as watch:
        try:
            importlib.import_module(module)
            watch.check(top)
        except (Exception, SystemExit) as error:
            sentence = f"The plugin {place}{_reason(error, top, place)}"
            watch.restore()
            for name in set(sys.modules) - there:
                if name == top or name.startswith(f"{top}."):
                    del sys.modules[name]
            LOADED.pop(module, None)
            raise UserError(sentence) from error


def _reason(error: BaseException, top: str, place: str) -> str:
    """Where in a plugin's files an error came up, and what it was; `top` is its module or
    package."""
    what = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    file, line = None, 0
    if isinstance(error, SyntaxError):
        what, file, line = f"SyntaxError: {error.msg}", error.filename, error.lineno or 0
    elif isinstance(error, Taken):
        file = sys.modules[top].__file__
        line = 0 if file is None else _line_of(error.word, Path(file))
    else:
        for frame, number in traceback.walk_tb(error.__traceback__):
            if f"{frame.f_globals.get('__name__')}.".startswith(f"{top}."):
                file, line = frame.f_code.co_filename, number
    where = f"{'' if file == place else f' in {file}'}, line {line}" if line else ""
    return f"{where}: {what}{'' if what.endswith(('.', '?')) else '.'}"


def _line_of(word: str, path: Path) -> int:
    """The first line that writes a name, as a text or a class; 0 without one."""
    tree = ast.walk(ast.parse(read_bytes(path)))
    found = [
        node.lineno
        for node in tree
        if (isinstance(node, ast.Constant) and node.value == word)
        or (isinstance(node, ast.Subscript) and ast.unparse(node.slice).split(".")[-1] == word)
        or (isinstance(node, ast.ClassDef) and node.name == word)
    ]
    return min(found, default=0)


def _package_hash(module: ModuleType) -> str:
    """Of all .py files of a package, paths and contents in sorted order, or of a single file."""
    roots = [Path(root) for root in getattr(module, "__path__", ())]
    files = {p.relative_to(root).as_posix(): p for root in roots for p in root.rglob("*.py")}
    if not roots and module.__file__ is not None:
        files = {Path(module.__file__).name: Path(module.__file__)}
    if not files:
        raise UserError(f"The plugin {module.__name__} has no .py files that tell its content.")
    total = hashlib.sha256()
    for name in sorted(files):
        content = read_bytes(files[name])
        total.update(f"{name}\0{len(content)}\0".encode() + content)
    return total.hexdigest()[:16]


# --------------------------------------------------------------- a file as a module, in any process


class _Loader(SourceFileLoader):
    """Runs the bytes that are hashed, never bytecode of an earlier content."""

    def get_code(self, fullname: str) -> CodeType:
        content = read_bytes(Path(self.path))
        LOADED[fullname] = Plugin(
            Path(self.path).name, self.path, hashlib.sha256(content).hexdigest()[:16]
        )
        return compile(content, self.path, "exec", dont_inherit=True)


class _Finder:
    """Finds `sslbench.plugins.<stem>` at the path that the environment has."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        parent, _, stem = name.rpartition(".")
        for place in _environment() if parent == __name__ else ():
            if place.endswith(".py") and Path(place).stem == stem:
                loader = _Loader(name, place)
                return importlib.util.spec_from_file_location(name, place, loader=loader)
        return None


def _environment() -> list[str]:
    return [name for name in os.environ.get(VARIABLE, "").split(os.pathsep) if name]


sys.meta_path.append(_Finder)
