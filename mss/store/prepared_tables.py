"""Tables of what is prepared for searching, sorting and threading a box's letters: made when first asked for, sealed
under the box's key like ENVELOPE, and never the only place of anything."""

from __future__ import annotations

from sqlalchemy import Column, LargeBinary, Table

from mss.store.tables import Id, metadata

search_texts = Table(
    "search_texts", metadata,
    Column("box_id", Id, primary_key=True, autoincrement=False),
    Column("object_id", Id, primary_key=True, autoincrement=False),
    Column("text", LargeBinary, nullable=False),
)  # fmt: skip

sort_forms = Table(
    "sort_forms", metadata,
    Column("box_id", Id, primary_key=True, autoincrement=False),
    Column("object_id", Id, primary_key=True, autoincrement=False),
    Column("form", LargeBinary, nullable=False),
)  # fmt: skip
