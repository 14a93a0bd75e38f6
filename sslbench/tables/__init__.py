"""The papers' tables as data, the grid that measures them, and what became of their claims."""

from __future__ import annotations

from sslbench.tables.schema import Table, load_table, table_names

__all__ = ["Table", "load_table", "table_names"]
