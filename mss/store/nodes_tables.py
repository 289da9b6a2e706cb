"""The tables of the nodes: who runs, and which programs may run on the tables as they are."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, String, Table

from mss.store.tables import metadata

# One row for each worker process that runs, renewed while it lives.
nodes = Table(
    "nodes", metadata,
    Column("name", String(64), primary_key=True),
    Column("node", String(64), nullable=False),
    Column("program", String(32), nullable=False),
    Column("form", String(32), nullable=False),
    Column("roles", String(200), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Index("ix_nodes_seen_at", "seen_at"),
)  # fmt: skip

# The forms whose programs may run on these tables: this one, and older ones back to the last change they cannot bear.
accepted_forms = Table("accepted_forms", metadata, Column("form", String(32), primary_key=True))
