"""Fingerprints: which data exactly a number was measured on. No torch unless images are decoded."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from sslbench.data.registry import info
from sslbench.recipes.specs import Data, DrawnSpec, ImageSet


def fingerprint(spec: Data, *, root: Path) -> str:
    """Hex SHA-256 of class list and content (pixels, annotations) at the spec's resolution.

    Read from the packed copy beside the images while their files are unchanged; else the set is
    packed first, and downloaded where that is needed. What a user should know of the set is said
    as `DataWarning`.

    Raises:
        UserError: as `sslbench.data.load`.
    """
    if isinstance(spec, DrawnSpec):
        return drawn_fingerprint(spec)
    from sslbench.data import cache, listing
    from sslbench.data.streaming.choice import streamed_content, streams

    if streams(spec, root=Path(root)):
        return fingerprint_of(streamed_content(spec, root=Path(root)), spec)
    header = cache.cached_header(spec, root=Path(root))
    if header is None:
        from sslbench.data.packed import pack

        return fingerprint_of(pack(spec, root=Path(root)).content, spec)
    cache.tell(spec, listing.home(spec, Path(root)), header.notes)
    return fingerprint_of(header.content, spec)


def drawn_fingerprint(spec: DrawnSpec) -> str:
    """Of a drawn set: its settings and the version of its program make the pixels."""
    name = spec.set_name
    return _sha256({name: info(name).version, "spec": spec.to_dict()})


def fingerprint_of(content: str, spec: ImageSet) -> str:
    """Of a subset of a set with this content hash; of the whole set it is that hash."""
    if spec.num_train is None and spec.num_test is None:
        return content
    return _sha256({"content": content, "train": spec.num_train, "test": spec.num_test})


def _sha256(data: object) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
