"""Where the encoded images of a set lie: files of a folder, or members of tar shards.

Arrays only. A list of a million names would be copied page by page into every process that reads,
as Python counts references where an object lies.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sslbench.files import reading


@dataclass(frozen=True, eq=False)
class Names:
    """Many names in one array."""

    text: np.ndarray  # uint8, all of them end to end
    ends: np.ndarray  # int64 N

    @classmethod
    def of(cls, names: Sequence[str]) -> Names:
        """Of paths, as the system has them."""
        encoded = [os.fsencode(name) for name in names]
        ends = np.cumsum([len(name) for name in encoded], dtype=np.int64)
        return cls(np.frombuffer(b"".join(encoded), dtype=np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, place: int) -> str:
        start = int(self.ends[place - 1]) if place else 0
        return os.fsdecode(self.text[start : int(self.ends[place])].tobytes())


@dataclass(frozen=True, eq=False)
class Items:
    """The N encoded images of one half of a set.

    Attributes:
        folder: what the names are below.
        names: of each image; of a member of a shard the one that it has there.
        labels: int64 N, or none (length 0).
        shards: the tar files, below `folder`; none where each image is a file of its own.
        places: int64 N×3, of a member its shard, and where its bytes begin and how many they are.
    """

    folder: Path
    names: Names
    labels: np.ndarray
    shards: Names
    places: np.ndarray

    @classmethod
    def of_files(cls, folder: Path, names: Sequence[str], labels: Sequence[int]) -> Items:
        """Of files of their own."""
        none = np.empty((0, 3), dtype=np.int64)
        found = np.asarray(labels, dtype=np.int64)
        return cls(folder, Names.of(names), found, Names.of(()), none)

    def __len__(self) -> int:
        return len(self.names)

    def name(self, place: int) -> str:
        """How a message names an image."""
        own = self.names[place]
        if not len(self.places):
            return str(self.folder / own)
        return f"{self.folder / self.shards[int(self.places[place, 0])]}: {own}"

    def read(self, place: int) -> bytes:
        """The bytes of an image. Raises UserError: they cannot be read."""
        if not len(self.places):
            path = self.folder / self.names[place]
            with reading(path):
                return path.read_bytes()
        shard, start, size = self.places[place].tolist()
        path = self.folder / self.shards[shard]
        # A shard is opened for each image: to open is cheap beside decoding, and a thousand shards
        # would stay open in every process.
        with reading(path), path.open("rb", buffering=0) as file:
            return os.pread(file.fileno(), size, start)

    def arrays(self, prefix: str) -> dict[str, np.ndarray]:
        """All of it but the folder, as `from_arrays` takes it."""
        return {
            f"{prefix}.names": self.names.text,
            f"{prefix}.ends": self.names.ends,
            f"{prefix}.labels": self.labels,
            f"{prefix}.shards": self.shards.text,
            f"{prefix}.shard_ends": self.shards.ends,
            f"{prefix}.places": self.places,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], prefix: str, folder: Path) -> Items:
        """The items of `arrays(prefix)`, in a folder. Raises KeyError: an array is missing."""
        names = Names(arrays[f"{prefix}.names"], arrays[f"{prefix}.ends"])
        shards = Names(arrays[f"{prefix}.shards"], arrays[f"{prefix}.shard_ends"])
        return cls(folder, names, arrays[f"{prefix}.labels"], shards, arrays[f"{prefix}.places"])
