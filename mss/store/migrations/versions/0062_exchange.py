"""Professionals who take no letters from patients; senders told of a box that was never opened."""

import sqlalchemy as sa
from alembic import op

revision = "0062"
down_revision = "0061"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Go to this form."""
    op.add_column("boxes", sa.Column("patients_opposed", sa.Boolean(), nullable=True))
    op.create_table(
        "unopened_notices",
        sa.Column("box_id", ID, autoincrement=False, nullable=False),
        sa.Column("sender_digest", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("box_id", "sender_digest", name=op.f("pk_unopened_notices")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_unopened_notices_at", "unopened_notices", ["at"], unique=False)


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_unopened_notices_at", table_name="unopened_notices")
    op.drop_table("unopened_notices")
    op.drop_column("boxes", "patients_opposed")
