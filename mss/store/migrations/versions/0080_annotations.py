"""What clients note about mailboxes, and for themselves about the server."""

import sqlalchemy as sa
from alembic import op

revision = "0080"
down_revision = "0070"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Go to this form."""
    op.create_table(
        "annotations",
        sa.Column("box_id", ID, autoincrement=False, nullable=False),
        sa.Column("mailbox_id", ID, autoincrement=False, nullable=False),
        sa.Column("account_id", ID, autoincrement=False, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("box_id", "mailbox_id", "account_id", "name", name=op.f("pk_annotations")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_annotations_account_id", "annotations", ["account_id"], unique=False)


def downgrade() -> None:
    """Go back to the form before."""
    op.drop_table("annotations")
