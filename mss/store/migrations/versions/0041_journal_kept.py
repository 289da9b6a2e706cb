"""The journal is searched by who, on what and when, and trimmed by whole segments.

Revision ID: 0041
Revises: 0040
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None

_INDEXES = {
    "ix_journal_actor": ["actor", "at"],
    "ix_journal_target": ["target", "at"],
    "ix_journal_at": ["at"],
}


def upgrade() -> None:
    """Add the indexes and the mark of a trimmed segment."""
    for name, columns in _INDEXES.items():
        op.create_index(name, "journal", columns)
    op.add_column("journal_segments", sa.Column("trimmed_at", sa.BigInteger, nullable=True))


def downgrade() -> None:
    """Drop them again; what was trimmed then looks taken away."""
    op.drop_column("journal_segments", "trimmed_at")
    for name in _INDEXES:
        op.drop_index(name, "journal")
