"""When a box was used last, when its holder was told, and since when it is closed.

Revision ID: 0042
Revises: 0041
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "box_lives",
        sa.Column("box_id", _ID, autoincrement=False, nullable=False),
        sa.Column("signed_in_at", sa.BigInteger, nullable=True),
        sa.Column("told_at", sa.BigInteger, nullable=True),
        sa.Column("closed_at", sa.BigInteger, nullable=True),
        sa.Column("channel", sa.LargeBinary, nullable=True),
        sa.PrimaryKeyConstraint("box_id", name="pk_box_lives"),
    )


def downgrade() -> None:
    """Drop the table: the time of every box begins anew."""
    op.drop_table("box_lives")
