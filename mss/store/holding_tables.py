"""Tables of what a box keeps beside its letters: threads, quotas, what was expunged, and who has seen what."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, LargeBinary, String, Table, text

from mss.store.tables import Big, Id, metadata

# Message-IDs as keyed digests, those of letters that a box holds and those that they refer to: what makes a thread.
thread_names = Table(
    "thread_names", metadata,
    Column("box_id", Id, primary_key=True, autoincrement=False),
    Column("digest", LargeBinary, primary_key=True),
    Column("thread_id", Id),
    # The letter of that name, once it is here.
    Column("object_id", Id),
    # A document of that letter was filed in its patient's dossier.
    Column("filed", Boolean, nullable=False, server_default=text("false")),
    sqlite_with_rowid=False,
)  # fmt: skip

# `subject` is "kind:PER" for all boxes of a kind, "box:12" for one; a box's own row takes the place of its kind's.
quotas = Table(
    "quotas", metadata,
    Column("subject", String(32), primary_key=True),
    Column("octets_max", Big),
    Column("letters_max", Big),
)  # fmt: skip

# Letters that were expunged and can still be put back. `keywords`: those of the mailbox in bit order, with spaces.
expunged = Table(
    "expunged", metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("box_id", Id, nullable=False),
    Column("mailbox", String(1024), nullable=False),
    Column("flags", Big, nullable=False),
    Column("keywords", String(16384), nullable=False),
    Column("internal_date", Big, nullable=False),
    Column("size", Big, nullable=False),
    Column("object_id", Id, nullable=False),
    Column("expunged_at", Big, nullable=False),
    Index("ix_expunged_box", "box_id", "expunged_at"),
    Index("ix_expunged_at", "expunged_at"),
    sqlite_autoincrement=True,
)  # fmt: skip

# Who has seen a letter, in boxes where each has an own \\Seen.
seen = Table(
    "seen", metadata,
    Column("mailbox_id", Id, primary_key=True, autoincrement=False),
    Column("account_id", Id, primary_key=True, autoincrement=False),
    Column("uid", Big, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)  # fmt: skip
