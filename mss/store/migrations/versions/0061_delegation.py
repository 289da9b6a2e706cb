"""Invitations to act for a box, and notices to patients."""

import sqlalchemy as sa
from alembic import op

revision = "0061"
down_revision = "0060"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Go to this form."""
    op.add_column("delegations", sa.Column("since", sa.BigInteger(), nullable=True))
    op.create_table(
        "invitations",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("box_id", ID, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("code_digest", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("account_id", ID, nullable=True),
        sa.Column("answered_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitations")),
        sa.UniqueConstraint("code_digest", name=op.f("uq_invitations_code_digest")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_invitations_box_id", "invitations", ["box_id"], unique=False)
    op.create_table(
        "patient_notices",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("box_id", ID, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=True),
        sa.Column("hook_at", sa.BigInteger(), nullable=True),
        sa.Column("hook_tries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patient_notices")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_patient_notices_box", "patient_notices", ["box_id", "at"], unique=False)
    op.create_index("ix_patient_notices_hook", "patient_notices", ["hook_at"], unique=False)


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_patient_notices_hook", table_name="patient_notices")
    op.drop_index("ix_patient_notices_box", table_name="patient_notices")
    op.drop_table("patient_notices")
    op.drop_index("ix_invitations_box_id", table_name="invitations")
    op.drop_table("invitations")
    op.drop_column("delegations", "since")
