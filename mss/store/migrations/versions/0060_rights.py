"""What patients set about their dossiers, and what rights need to know of documents."""

import sqlalchemy as sa
from alembic import op

revision = "0060"
down_revision = "0042"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Go to this form."""
    op.create_table(
        "grants",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("box_id", ID, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grants")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_grants_box_id", "grants", ["box_id"], unique=False)
    op.create_table(
        "dossier_settings",
        sa.Column("box_id", ID, autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("box_id", name=op.f("pk_dossier_settings")),
    )
    op.create_table(
        "document_authors",
        sa.Column("box_id", ID, autoincrement=False, nullable=False),
        sa.Column("author_digest", sa.LargeBinary(), nullable=False),
        sa.Column("document_id", ID, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("box_id", "author_digest", "document_id", name=op.f("pk_document_authors")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "dossier_readers",
        sa.Column("box_id", ID, autoincrement=False, nullable=False),
        sa.Column("reader_digest", sa.LargeBinary(), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("box_id", "reader_digest", name=op.f("pk_dossier_readers")),
        sqlite_with_rowid=False,
    )
    op.add_column("documents", sa.Column("type_digest", sa.LargeBinary(), nullable=True))
    op.create_index(
        "ix_documents_rights",
        "documents",
        ["box_id", "type_digest", "category_digest", "hidden", "masked", "filed_at", "id"],
        unique=False,
    )


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_documents_rights", table_name="documents")
    op.drop_column("documents", "type_digest")
    op.drop_table("dossier_readers")
    op.drop_table("document_authors")
    op.drop_table("dossier_settings")
    op.drop_index("ix_grants_box_id", table_name="grants")
    op.drop_table("grants")
