"""The table of annotations: what clients note about mailboxes, and for themselves about the server (RFC 5464)."""

from __future__ import annotations

from sqlalchemy import Column, Index, LargeBinary, String, Table

from mss.store.tables import Id, metadata

# `mailbox_id` 0 is the server, `account_id` 0 everybody who reaches the box; the value is sealed under the box's key.
entries = Table(
    "annotations", metadata,
    Column("box_id", Id, primary_key=True, autoincrement=False),
    Column("mailbox_id", Id, primary_key=True, autoincrement=False),
    Column("account_id", Id, primary_key=True, autoincrement=False),
    Column("name", String(255), primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Index("ix_annotations_account_id", "account_id"),
    sqlite_with_rowid=False,
)  # fmt: skip
