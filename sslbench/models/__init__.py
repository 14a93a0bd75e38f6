"""Networks: encoders by spec, heads, batch statistics, and encoder files."""

from __future__ import annotations

from sslbench.models.batch_norm import convert_batch_norm
from sslbench.models.encoders import build_encoder
from sslbench.models.heads import build_head
from sslbench.models.vit import keep_all_paths

__all__ = [
    "build_encoder",
    "build_head",
    "convert_batch_norm",
    "keep_all_paths",
]
