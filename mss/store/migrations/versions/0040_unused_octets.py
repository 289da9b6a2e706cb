"""What nobody needs any more: noted first, collected after a time of grace.

Revision ID: 0040
Revises: 0021
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0030"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "loose_holdings",
        sa.Column("box_id", _ID, nullable=False),
        sa.Column("object_id", _ID, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("box_id", "object_id", name="pk_loose_holdings"),
    )
    op.create_index("ix_loose_holdings_since", "loose_holdings", ["since"])
    op.create_table(
        "loose_objects",
        sa.Column("object_id", _ID, autoincrement=False, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("object_id", name="pk_loose_objects"),
    )
    op.create_index("ix_loose_objects_since", "loose_objects", ["since"])
    op.create_index("ix_deliveries_object", "deliveries", ["object_id"])


def downgrade() -> None:
    """Drop the tables: what was noted in them is found again."""
    op.drop_index("ix_deliveries_object", "deliveries")
    op.drop_table("loose_objects")
    op.drop_table("loose_holdings")
