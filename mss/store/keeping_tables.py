"""The tables of what is kept and what goes: unused octets on their way out, the life of boxes."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, LargeBinary, String, Table

from mss.store.tables import Big, Id, deliveries, metadata

# What a box holds without need, and octets that no box holds: since when. They go after a time of grace.
loose_holdings = Table(
    "loose_holdings", metadata,
    Column("box_id", Id, primary_key=True, autoincrement=False),
    Column("object_id", Id, primary_key=True, autoincrement=False),
    Column("since", Big, nullable=False),
    Index("ix_loose_holdings_since", "since"),
)  # fmt: skip

loose_objects = Table(
    "loose_objects", metadata,
    Column("object_id", Id, primary_key=True, autoincrement=False),
    Column("since", Big, nullable=False),
    Index("ix_loose_objects_since", "since"),
)  # fmt: skip

# Whether a delivery still needs its octets is asked for each of them.
deliveries_of_object = Index("ix_deliveries_object", deliveries.c.object_id)

# The life of a box: used last, its holder told of the end, closed since, its holder told that it is nearly full.
# `channel` (sealed) is where notices go, too.
box_lives = Table(
    "box_lives", metadata,
    Column("box_id", Id, primary_key=True, autoincrement=False),
    Column("signed_in_at", Big),
    Column("told_at", Big),
    Column("closed_at", Big),
    Column("channel", LargeBinary),
    Column("full_told_at", Big),
)  # fmt: skip

# Notices to holders of which the program of [notify] is to be told; `hook_at`: when next. They go when that is done.
box_notices = Table(
    "box_notices", metadata,
    Column("id", Id, primary_key=True),
    Column("box_id", Id, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("at", Big, nullable=False),
    Column("hook_at", Big, nullable=False),
    Column("hook_tries", Integer, nullable=False),
    Index("ix_box_notices_box", "box_id"),
    Index("ix_box_notices_hook", "hook_at"),
    sqlite_autoincrement=True,
)  # fmt: skip
