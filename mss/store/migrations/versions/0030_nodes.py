"""Nodes that run, and the forms whose programs may run on these tables."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this form."""
    op.create_table(
        "nodes",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("node", sa.String(length=64), nullable=False),
        sa.Column("program", sa.String(length=32), nullable=False),
        sa.Column("form", sa.String(length=32), nullable=False),
        sa.Column("roles", sa.String(length=200), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_nodes")),
    )
    op.create_index("ix_nodes_seen_at", "nodes", ["seen_at"])
    op.create_table(
        "accepted_forms",
        sa.Column("form", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("form", name=op.f("pk_accepted_forms")),
    )


def downgrade() -> None:
    """Go back to the form before."""
    op.drop_table("accepted_forms")
    op.drop_index("ix_nodes_seen_at", table_name="nodes")
    op.drop_table("nodes")
