"""Documents are found by the logical id under which software knows them."""

from alembic import op

revision = "0070"
down_revision = "0062"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this form."""
    op.create_index("ix_documents_logical", "documents", ["box_id", "logical_id"], unique=False)


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_documents_logical", table_name="documents")
