"""What is prepared of letters for searching, sorting and threading."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TABLES = (("search_texts", "text"), ("sort_forms", "form"))


def upgrade() -> None:
    """Go to this form."""
    for table, column in _TABLES:
        op.create_table(
            table,
            sa.Column("box_id", ID, autoincrement=False, nullable=False),
            sa.Column("object_id", ID, autoincrement=False, nullable=False),
            sa.Column(column, sa.LargeBinary(), nullable=False),
            sa.PrimaryKeyConstraint("box_id", "object_id", name=op.f(f"pk_{table}")),
        )


def downgrade() -> None:
    """Go back to the form before."""
    for table, _ in _TABLES:
        op.drop_table(table)
