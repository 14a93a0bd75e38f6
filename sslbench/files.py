"""Reading and writing files: one sentence for whatever a disk or an editor did to them.

Every file of ours, and every text file that a user hands in, is read through `read_text`,
`read_json` or `read_yaml`; every file of ours is written through `replacing`. What these raise
names the file and says what to do. Imports no torch.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import yaml

from sslbench.errors import UserError

TEXT_BYTES = 1 << 29  # a results file of 20,000 rows is 20 MB; what is larger is no text of ours
YAML_BYTES = 1 << 22
YAML_NODES = 1_000_000  # with aliases followed: ten lines of them can stand for 10^9 values

_WRITING = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the command again",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "permission denied; choose another folder or change its permissions",
    errno.EPERM: "the operation is not permitted; choose another folder",
    errno.EISDIR: "it is a folder; name a file",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another path",
    errno.EEXIST: "there is a file of that name where a folder is needed; choose another path",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.ELOOP: "its links lead in a circle; choose another path",
}
_READING = {
    errno.ENOENT: "no such file; check the path",
    errno.EACCES: "permission denied; change its permissions",
    errno.EISDIR: "it is a folder; name a file in it",
    errno.ENOTDIR: "a part of the path is a file, not a folder; check the path",
    errno.ENAMETOOLONG: "the name is too long; check the path",
    errno.ELOOP: "its links lead in a circle; mend the link",
}


def why(error: OSError, reasons: dict[int, str]) -> str:
    """What an error of the operating system means for the user, without a full stop."""
    return reasons.get(error.errno or 0, error.strerror or str(error) or type(error).__name__)


# ------------------------------------------------------------------------------------- writing


@contextlib.contextmanager
def user_io(path: Path) -> Iterator[None]:
    """Turn the errors of a full disk, a read-only folder and the like into a sentence."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"Cannot write {path}: {why(error, _WRITING)}. What was finished is kept."
        ) from error


def write_atomically(path: Path, data: str | bytes) -> None:
    """Write a file whole or not at all: temporary file, fsync, rename. Raises UserError."""
    with replacing(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes the place of `path` at the end, or is removed on any error.

    The temporary name is fixed, so that what a killed process left is written over. Raises
    UserError for a full disk and the like.
    """
    with user_io(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():  # before the work of writing, not at the rename
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


# ------------------------------------------------------------------------------------- reading


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the system says of a folder or file that cannot be read into a sentence."""
    try:
        yield
    except OSError as error:
        place = os.fsdecode(error.filename) if error.filename is not None else path
        raise UserError(f"'{place}' cannot be read: {why(error, _READING)}.") from None


def exists(path: Path) -> bool:
    """Whether there is a file or folder. Raises UserError where that cannot be told."""
    with reading(path):
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
    return True


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, by name; nothing where there is no folder. Raises UserError."""
    with reading(folder):
        try:
            return sorted(folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []


def read_bytes(path: Path, *, limit: int = TEXT_BYTES) -> bytes:
    """The content of a regular file.

    Raises:
        UserError: missing, unreadable, no regular file, or over `limit` bytes.
    """
    path = Path(path)
    if "\0" in str(path):
        raise UserError(f"{str(path)!r} is not a path; check it.")
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):  # a pipe or device may never end
                raise UserError(f"{path} is not a regular file; name one.")
            if status.st_size > limit:
                raise UserError(
                    f"{path} has {status.st_size / 1e6:,.0f} MB where at most {limit / 1e6:,.0f} "
                    "are read; it is not a file of this kind."
                )
            return file.read()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {why(error, _READING)}.") from None


def read_text(path: Path, *, limit: int = TEXT_BYTES) -> str:
    """The text of a regular file in UTF-8, with or without a byte order mark.

    Raises:
        UserError: as `read_bytes`, or not UTF-8.
    """
    try:
        return read_bytes(path, limit=limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not text in UTF-8 (byte {error.start}); save it in UTF-8, or replace it."
        ) from None


def read_json(path: Path) -> Any:
    """The value of a JSON file.

    Raises:
        UserError: as `read_text`; malformed, too deep, or a key that stands twice in an object.
    """
    text = read_text(path)
    try:
        return parse_json(text)
    except UserError as error:
        raise UserError(f"{path} is damaged: {error}; restore it, or make it again.") from None


def parse_json(text: str) -> Any:
    """The value of a JSON text. Raises UserError with the place, without a full stop."""
    try:
        value = json.loads(text, object_pairs_hook=_unique)
        if "\\ud" in text.lower():  # half a character, which nothing can print
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except UnicodeEncodeError:
        raise UserError("an escape stands for half a character") from None
    except json.JSONDecodeError as error:
        raise UserError(
            f"no JSON at line {error.lineno}, column {error.colno} ({error.msg})"
        ) from None
    except RecursionError:
        raise UserError("it is nested too deeply") from None
    except ValueError as error:  # a number of thousands of digits
        raise UserError(str(error).split(";")[0]) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(k for k, _ in pairs if k in seen or seen.add(k))  # type: ignore[func-returns-value]
        raise UserError(f"the key '{twice}' stands twice")
    return found


def read_yaml(path: Path) -> Any:
    """The value of a YAML file, as plain data.

    Raises:
        UserError: as `read_text`; malformed, too deep, too large with its aliases followed, a
            key that stands twice, or one that is no text.
    """
    text = read_text(path, limit=YAML_BYTES)
    try:
        return parse_yaml(text)
    except UserError as error:
        raise UserError(f"{path}: {error}; mend the file.") from None


def parse_yaml(text: str) -> Any:
    """The value of a YAML text, as plain data. Raises UserError with the place, without a full
    stop."""
    try:
        loader = _Loader(text)
    except UnicodeEncodeError:  # an argument of the command line in another encoding
        raise UserError("it is not text in UTF-8") from None
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _check_nodes(node)
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UserError(f"{place}{error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise UserError(f"no YAML ({' '.join(str(error).split())})") from None
    except RecursionError:
        raise UserError("it is nested too deeply") from None
    except (ValueError, OverflowError) as error:  # the 31st of February; thousands of digits
        raise UserError(f"a value cannot be read ({str(error).split(';')[0]})") from None
    finally:
        loader.dispose()


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]
    """The safe loader; `_check_nodes` has seen to what it lets pass."""


def yaml_text(value: Any, **style: Any) -> str:
    """Plain data as YAML, in the order it has; `style` as `yaml.dump` takes it."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, **style)
    return text


# By libyaml where it is, which is far faster: every run writes its recipe.
_Dumper = yaml.CSafeDumper if yaml.__with_libyaml__ else yaml.SafeDumper


def _check_nodes(root: yaml.Node) -> None:
    """Refuse keys that stand twice or are no text, aliases in a circle, and too many values."""
    sizes: dict[int, int] = {}  # of finished nodes, aliases followed
    open_nodes: set[int] = set()

    def size(node: yaml.Node) -> int:
        if id(node) in sizes:
            return sizes[id(node)]
        if id(node) in open_nodes:
            raise _refusal(node, "an alias that holds itself")
        open_nodes.add(id(node))
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
        total = 1 + sum(size(child) for child in _children(node))
        if total > YAML_NODES:
            raise _refusal(node, "its aliases stand for too many values")
        open_nodes.discard(id(node))
        sizes[id(node)] = total
        return total

    size(root)


def _children(node: yaml.Node) -> Iterable[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [value for _, value in node.value]
    return node.value if isinstance(node, yaml.SequenceNode) else ()


_WORDS = ("on", "off", "yes", "no")  # truth values to YAML 1.1, as keys words: a column has `on`


def _check_keys(node: yaml.MappingNode) -> None:
    seen: set[Hashable] = set()
    for key, _ in node.value:
        if key.tag == "tag:yaml.org,2002:merge":
            continue
        if isinstance(key, yaml.ScalarNode) and key.value.lower() in _WORDS:
            key.tag = "tag:yaml.org,2002:str"
        if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
            shown = key.value if isinstance(key, yaml.ScalarNode) else "a list or mapping"
            raise _refusal(key, f"a key must be text, not {shown}; quote it")
        if key.value in seen:
            raise _refusal(key, f"the key '{key.value}' stands twice")
        seen.add(key.value)


def _refusal(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
