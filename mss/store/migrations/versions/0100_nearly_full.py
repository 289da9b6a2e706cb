"""Holders are told that their boxes are nearly full; notices wait for the program that tells of them outside."""

import sqlalchemy as sa
from alembic import op

revision = "0100"
down_revision = "0090"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Go to this form."""
    op.add_column("box_lives", sa.Column("full_told_at", sa.BigInteger(), nullable=True))
    op.create_table(
        "box_notices",
        sa.Column("id", _ID, nullable=False),
        sa.Column("box_id", _ID, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("hook_at", sa.BigInteger(), nullable=False),
        sa.Column("hook_tries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_box_notices")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_box_notices_box", "box_notices", ["box_id"], unique=False)
    op.create_index("ix_box_notices_hook", "box_notices", ["hook_at"], unique=False)


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_box_notices_hook", table_name="box_notices")
    op.drop_index("ix_box_notices_box", table_name="box_notices")
    op.drop_table("box_notices")
    op.drop_column("box_lives", "full_told_at")
