"""Documents that came before those which they replace."""

import sqlalchemy as sa
from alembic import op

revision = "0090"
down_revision = "0080"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Go to this form."""
    op.create_table(
        "awaited_documents",
        sa.Column("box_id", ID, autoincrement=False, nullable=False),
        sa.Column("unique_digest", sa.LargeBinary(), nullable=False),
        sa.Column("document_id", ID, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("box_id", "unique_digest", "document_id", name=op.f("pk_awaited_documents")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Go back."""
    op.drop_table("awaited_documents")
