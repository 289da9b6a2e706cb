"""The tables of a patient's rights, invitations and notices. What a person could read is sealed under the box's key."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, LargeBinary, String, Table

from mss.store.tables import Big, Id, _id, metadata

# Blocks, care team and consents; `body` is sealed: who was named, for which categories, by which account.
grants = Table(
    "grants", metadata,
    _id(),
    Column("box_id", Id, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("since", Big, nullable=False),
    Column("ends_at", Big),
    Index("ix_grants_box_id", "box_id"),
    sqlite_autoincrement=True,
)  # fmt: skip

# Default mask, emergency switches and wishes for notices, sealed; no row: as configured.
dossier_settings = Table(
    "dossier_settings", metadata,
    Column("box_id", Id, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
)  # fmt: skip

# Keyed digests of the authors of each document, to find a professional's own ones.
document_authors = Table(
    "document_authors", metadata,
    Column("box_id", Id, primary_key=True, autoincrement=False),
    Column("author_digest", LargeBinary, primary_key=True),
    Column("document_id", Id, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)  # fmt: skip

# Professionals who read a dossier before, as keyed digests: the first access is told to the patient.
dossier_readers = Table(
    "dossier_readers", metadata,
    Column("box_id", Id, primary_key=True, autoincrement=False),
    Column("reader_digest", LargeBinary, primary_key=True),
    Column("first_at", Big, nullable=False),
    sqlite_with_rowid=False,
)  # fmt: skip

# Invitations to act for a box; the code is kept as a keyed digest, `body` (a name) is sealed under the box's key.
invitations = Table(
    "invitations", metadata,
    _id(),
    Column("box_id", Id, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("code_digest", LargeBinary, nullable=False, unique=True),
    Column("body", LargeBinary, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", Big, nullable=False),
    Column("expires_at", Big, nullable=False),
    Column("account_id", Id),
    Column("answered_at", Big),
    Index("ix_invitations_box_id", "box_id"),
    sqlite_autoincrement=True,
)  # fmt: skip

# What a patient is told in the webmail; `hook_at` is when the e-mail hook is to be called next, null when it is not.
patient_notices = Table(
    "patient_notices", metadata,
    _id(),
    Column("box_id", Id, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("at", Big, nullable=False),
    Column("seen_at", Big),
    Column("hook_at", Big),
    Column("hook_tries", Integer, nullable=False),
    Index("ix_patient_notices_box", "box_id", "at"),
    Index("ix_patient_notices_hook", "hook_at"),
    sqlite_autoincrement=True,
)  # fmt: skip

# Senders who were told that a patient never opened the box: once for each sender and patient.
unopened_notices = Table(
    "unopened_notices", metadata,
    Column("box_id", Id, primary_key=True, autoincrement=False),
    Column("sender_digest", LargeBinary, primary_key=True),
    Column("at", Big, nullable=False),
    Index("ix_unopened_notices_at", "at"),
    sqlite_with_rowid=False,
)  # fmt: skip
