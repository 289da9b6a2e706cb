"""The table of documents that are waited for: another one that says it replaces them came first."""

from __future__ import annotations

from sqlalchemy import Column, LargeBinary, Table

from mss.store.tables import Id, metadata

# Keyed digest of the `uniqueId` that is not here yet, and the filed document that is to stand in its place.
awaited_documents = Table(
    "awaited_documents", metadata,
    Column("box_id", Id, primary_key=True, autoincrement=False),
    Column("unique_digest", LargeBinary, primary_key=True),
    Column("document_id", Id, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)  # fmt: skip
