"""What a box keeps beside its letters: threads, usage and quotas, what was expunged, an own \\Seen."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0021"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_SQLITE = (
    """CREATE TRIGGER usage_added AFTER INSERT ON messages BEGIN
    UPDATE mailboxes SET letters = letters + 1, octets = octets + NEW.size WHERE id = NEW.mailbox_id; END""",
    """CREATE TRIGGER usage_removed AFTER DELETE ON messages BEGIN
    UPDATE mailboxes SET letters = letters - 1, octets = octets - OLD.size WHERE id = OLD.mailbox_id; END""",
)
_CHANGE = """UPDATE mailboxes SET letters = mailboxes.letters {sign} sums.letters,
    octets = mailboxes.octets {sign} sums.octets
    FROM (SELECT mailbox_id, count(*) AS letters, sum(size) AS octets FROM changed GROUP BY mailbox_id) AS sums
    WHERE mailboxes.id = sums.mailbox_id"""
_POSTGRESQL = tuple(
    statement
    for name, event, rows, sign in (("added", "INSERT", "NEW", "+"), ("removed", "DELETE", "OLD", "-"))
    for statement in (
        f"CREATE FUNCTION usage_{name}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {_CHANGE.format(sign=sign)}; RETURN NULL; END $$",
        f"CREATE TRIGGER usage_{name} AFTER {event} ON messages REFERENCING {rows} TABLE AS changed "
        f"FOR EACH STATEMENT EXECUTE FUNCTION usage_{name}()",
    )
)
_COUNT = """UPDATE mailboxes SET
    letters = (SELECT count(*) FROM messages WHERE messages.mailbox_id = mailboxes.id),
    octets = (SELECT coalesce(sum(size), 0) FROM messages WHERE messages.mailbox_id = mailboxes.id)"""


def upgrade() -> None:
    """Go to this form."""
    op.add_column("boxes", sa.Column("own_seen", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("holdings", sa.Column("thread_id", ID, nullable=True))
    op.create_index("ix_holdings_thread", "holdings", ["box_id", "thread_id"], unique=False)
    for name in ("letters", "octets"):
        op.add_column("mailboxes", sa.Column(name, sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    _create_tables()
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in (*(_SQLITE if is_sqlite else _POSTGRESQL), _COUNT):
        op.execute(statement)


def _create_tables() -> None:
    op.create_table(
        "thread_names",
        sa.Column("box_id", ID, autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("thread_id", ID, nullable=True),
        sa.Column("object_id", ID, nullable=True),
        sa.Column("filed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("box_id", "digest", name=op.f("pk_thread_names")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "quotas",
        sa.Column("subject", sa.String(length=32), nullable=False),
        sa.Column("octets_max", sa.BigInteger(), nullable=True),
        sa.Column("letters_max", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_quotas")),
    )
    op.create_table(
        "expunged",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("box_id", ID, nullable=False),
        sa.Column("mailbox", sa.String(length=1024), nullable=False),
        sa.Column("flags", sa.BigInteger(), nullable=False),
        sa.Column("keywords", sa.String(length=16384), nullable=False),
        sa.Column("internal_date", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("object_id", ID, nullable=False),
        sa.Column("expunged_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_expunged")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_expunged_box", "expunged", ["box_id", "expunged_at"], unique=False)
    op.create_index("ix_expunged_at", "expunged", ["expunged_at"], unique=False)
    op.create_table(
        "seen",
        sa.Column("mailbox_id", ID, autoincrement=False, nullable=False),
        sa.Column("account_id", ID, autoincrement=False, nullable=False),
        sa.Column("uid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("mailbox_id", "account_id", "uid", name=op.f("pk_seen")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Go back to the form before."""
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for name in ("added", "removed"):
        op.execute(f"DROP TRIGGER usage_{name}" if is_sqlite else f"DROP TRIGGER usage_{name} ON messages")
        if not is_sqlite:
            op.execute(f"DROP FUNCTION usage_{name}()")
    for table in ("seen", "expunged", "quotas", "thread_names"):
        op.drop_table(table)
    for name in ("octets", "letters"):
        op.drop_column("mailboxes", name)
    op.drop_index("ix_holdings_thread", table_name="holdings")
    op.drop_column("holdings", "thread_id")
    op.drop_column("boxes", "own_seen")
