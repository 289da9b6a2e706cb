"""What was removed from a mailbox is found without reading all that changed in it."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_EXPUNGED = sa.text("kind = 3")


def upgrade() -> None:
    """Go to this form."""
    op.create_index(
        "ix_changes_expunged",
        "changes",
        ["mailbox_id", "kind", "modseq", "uid_first", "uid_last"],
        unique=False,
        sqlite_where=_EXPUNGED,
        postgresql_where=_EXPUNGED,
    )


def downgrade() -> None:
    """Go back to the form before."""
    op.drop_index("ix_changes_expunged", table_name="changes")
