"""The first form of the tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Go to this form."""
    op.create_table(
        "accounts",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("login", sa.String(length=320), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("display_name", sa.LargeBinary(), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("locale", sa.String(length=8), nullable=False),
        sa.Column("totp_secret", sa.LargeBinary(), nullable=True),
        sa.Column("totp_confirmed", sa.Boolean(), nullable=False),
        sa.Column("totp_last_step", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("login", name=op.f("uq_accounts_login")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "arrivals",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("receipt", sa.String(length=32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_arrivals")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_arrivals_at", "arrivals", ["at"], unique=False)
    op.create_table(
        "attempts",
        sa.Column("delivery_id", ID, autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("code", sa.Integer(), nullable=False),
        sa.Column("enhanced", sa.String(length=16), nullable=False),
        sa.Column("text", sa.String(length=1000), nullable=False),
        sa.Column("remote", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("delivery_id", "number", name=op.f("pk_attempts")),
    )
    op.create_table(
        "boxes",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("address_key", sa.String(length=320), nullable=False),
        sa.Column("local", sa.String(length=64), nullable=False),
        sa.Column("domain", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("display_name", sa.LargeBinary(), nullable=False),
        sa.Column("red_list", sa.Boolean(), nullable=False),
        sa.Column("ins_oid", sa.String(length=64), nullable=True),
        sa.Column("traits", sa.LargeBinary(), nullable=True),
        sa.Column("uidvalidity", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_boxes")),
        sa.UniqueConstraint("address_key", name=op.f("uq_boxes_address_key")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "client_certificates",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("subject", sa.String(length=1000), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_client_certificates")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_client_certificates_fingerprint", "client_certificates", ["fingerprint"], unique=False)
    op.create_index("ix_client_certificates_subject", "client_certificates", ["subject"], unique=False)
    op.create_table(
        "token_subjects",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("issuer", sa.String(length=400), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_token_subjects")),
    )
    op.create_index("ix_token_subjects_account_id", "token_subjects", ["account_id"], unique=False)
    op.create_table(
        "used_tokens",
        sa.Column("mark", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("mark", name=op.f("pk_used_tokens")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_used_tokens_expires_at", "used_tokens", ["expires_at"], unique=False)
    op.create_table(
        "submission_budgets",
        sa.Column("account_id", ID, autoincrement=False, nullable=False),
        sa.Column("whole_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_submission_budgets")),
    )
    op.create_table(
        "changes",
        sa.Column("mailbox_id", ID, autoincrement=False, nullable=False),
        sa.Column("modseq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("uid_first", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("uid_last", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("mailbox_id", "modseq", "uid_first", name=op.f("pk_changes")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "contacts",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("box_id", ID, nullable=False),
        sa.Column("address_digest", sa.LargeBinary(), nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contacts")),
        sa.UniqueConstraint("box_id", "address_digest", name=op.f("uq_contacts_box_id")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "conversations",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("box_id", ID, nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("letters", sa.BigInteger(), nullable=False),
        sa.Column("unread", sa.BigInteger(), nullable=False),
        sa.Column("has_attachment", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversations")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_conversations_box", "conversations", ["box_id", "last_at"], unique=False)
    op.create_index(
        "ix_conversations_unread",
        "conversations",
        ["box_id", "last_at", "unread"],
        unique=False,
        sqlite_where=sa.text("unread > 0"),
        postgresql_where=sa.text("unread > 0"),
    )
    op.create_table(
        "delegations",
        sa.Column("account_id", ID, autoincrement=False, nullable=False),
        sa.Column("box_id", ID, autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("account_id", "box_id", name=op.f("pk_delegations")),
    )
    op.create_index("ix_delegations_box_id", "delegations", ["box_id"], unique=False)
    op.create_table(
        "deliveries",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("object_id", ID, nullable=False),
        sa.Column("holder_id", ID, nullable=False),
        sa.Column("source_box_id", ID, nullable=True),
        sa.Column("destination", sa.String(length=255), nullable=False),
        sa.Column("reverse_path", sa.String(length=400), nullable=True),
        sa.Column("recipient", sa.String(length=400), nullable=False),
        sa.Column("message_id", sa.String(length=998), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("next_attempt_at", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("lease_owner", sa.String(length=64), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("notify", sa.String(length=40), nullable=False),
        sa.Column("ret", sa.String(length=4), nullable=True),
        sa.Column("orcpt", sa.String(length=500), nullable=True),
        sa.Column("envid", sa.String(length=100), nullable=True),
        sa.Column("smtputf8", sa.Boolean(), nullable=False),
        sa.Column("eight_bit", sa.Boolean(), nullable=False),
        sa.Column("require_tls", sa.Boolean(), nullable=False),
        sa.Column("delay_notified", sa.Boolean(), nullable=False),
        sa.Column("last_kind", sa.String(length=16), nullable=True),
        sa.Column("last_code", sa.Integer(), nullable=True),
        sa.Column("last_enhanced", sa.String(length=16), nullable=True),
        sa.Column("last_text", sa.String(length=1000), nullable=True),
        sa.Column("last_remote", sa.String(length=255), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_deliveries_due", "deliveries", ["state", "next_attempt_at", "destination"], unique=False)
    op.create_index("ix_deliveries_message", "deliveries", ["message_id"], unique=False)
    op.create_table(
        "documents",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("box_id", ID, nullable=False),
        sa.Column("unique_digest", sa.LargeBinary(), nullable=False),
        sa.Column("category_digest", sa.LargeBinary(), nullable=False),
        sa.Column("hidden", sa.Integer(), nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.Column("entry_id", sa.String(length=64), nullable=False),
        sa.Column("logical_id", sa.String(length=64), nullable=False),
        sa.Column("object_id", ID, nullable=False),
        sa.Column("companion_object_id", ID, nullable=True),
        sa.Column("email_id", ID, nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("filed_at", sa.BigInteger(), nullable=False),
        sa.Column("filed_by", sa.String(length=16), nullable=False),
        sa.Column("masked", sa.Boolean(), nullable=False),
        sa.Column("replaced_by", ID, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_documents")),
        sa.UniqueConstraint("box_id", "unique_digest", name=op.f("uq_documents_box_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_documents_box", "documents", ["box_id", "filed_at"], unique=False)
    op.create_index(
        "ix_documents_category", "documents", ["box_id", "category_digest", "filed_at", "id", "hidden"], unique=False
    )
    op.create_index("ix_documents_letter", "documents", ["box_id", "email_id"], unique=False)
    op.create_table(
        "drafts",
        sa.Column("box_id", ID, autoincrement=False, nullable=False),
        sa.Column("conversation_id", ID, autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("saved_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("box_id", "conversation_id", name=op.f("pk_drafts")),
    )
    op.create_table(
        "generations",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("begun_at", sa.BigInteger(), nullable=False),
        sa.Column("published_at", sa.BigInteger(), nullable=True),
        sa.Column("parties", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_generations")),
    )
    op.create_table(
        "holdings",
        sa.Column("box_id", ID, autoincrement=False, nullable=False),
        sa.Column("object_id", ID, autoincrement=False, nullable=False),
        sa.Column("content_key", sa.LargeBinary(), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=True),
        sa.Column("bodystructure", sa.LargeBinary(), nullable=True),
        sa.Column("preview", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("box_id", "object_id", name=op.f("pk_holdings")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_holdings_object_id", "holdings", ["object_id"], unique=False)
    op.create_table(
        "journal",
        sa.Column("writer", sa.String(length=64), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=400), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("target", sa.String(length=200), nullable=False),
        sa.Column("decision", sa.String(length=16), nullable=False),
        sa.Column("rule", sa.String(length=64), nullable=False),
        sa.Column("subject_box_id", ID, nullable=True),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("message", sa.String(length=24), nullable=True),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("writer", "number", name=op.f("pk_journal")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_journal_subject", "journal", ["subject_box_id", "at"], unique=False)
    op.create_index(
        "ix_journal_message",
        "journal",
        ["message"],
        unique=False,
        sqlite_where=sa.text("message IS NOT NULL"),
        postgresql_where=sa.text("message IS NOT NULL"),
    )
    op.create_table(
        "journal_segments",
        sa.Column("writer", sa.String(length=64), nullable=False),
        sa.Column("last_number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_number", sa.BigInteger(), nullable=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("writer", "last_number", name=op.f("pk_journal_segments")),
    )
    op.create_table(
        "keywords",
        sa.Column("mailbox_id", ID, autoincrement=False, nullable=False),
        sa.Column("bit", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("name_key", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("mailbox_id", "bit", name=op.f("pk_keywords")),
        sa.UniqueConstraint("mailbox_id", "name_key", name=op.f("uq_keywords_mailbox_id")),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "letters",
        sa.Column("box_id", ID, autoincrement=False, nullable=False),
        sa.Column("object_id", ID, autoincrement=False, nullable=False),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("mailbox_id", ID, nullable=False),
        sa.Column("uid", sa.BigInteger(), nullable=False),
        sa.Column("direction", sa.String(length=8), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("message_digest", sa.LargeBinary(), nullable=False),
        sa.Column("author_digest", sa.LargeBinary(), nullable=True),
        sa.Column("answerable", sa.Boolean(), nullable=False),
        sa.Column("closing", sa.Boolean(), nullable=False),
        sa.Column("has_attachment", sa.Boolean(), nullable=False),
        sa.Column("unread", sa.Boolean(), nullable=False),
        sa.Column("facts", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("box_id", "object_id", name=op.f("pk_letters")),
    )
    op.create_index("ix_letters_author", "letters", ["box_id", "author_digest", "at"], unique=False)
    op.create_index("ix_letters_conversation", "letters", ["box_id", "conversation_id", "at"], unique=False)
    op.create_index("ix_letters_message", "letters", ["box_id", "message_digest"], unique=False)
    op.create_table(
        "login_failures",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("login_digest", sa.LargeBinary(), nullable=False),
        sa.Column("network_digest", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("stranger", sa.Boolean(), nullable=False),
        sa.Column("code", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_failures")),
    )
    op.create_index("ix_login_failures_at", "login_failures", ["at"], unique=False)
    op.create_index("ix_login_failures_login", "login_failures", ["login_digest", "at"], unique=False)
    op.create_table(
        "login_networks",
        sa.Column("login_digest", sa.LargeBinary(), nullable=False),
        sa.Column("network_digest", sa.LargeBinary(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("login_digest", "network_digest", name=op.f("pk_login_networks")),
    )
    op.create_index("ix_login_networks_seen_at", "login_networks", ["seen_at"], unique=False)
    op.create_table(
        "mailboxes",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("box_id", ID, nullable=False),
        sa.Column("name", sa.String(length=1024), nullable=False),
        sa.Column("uidvalidity", sa.BigInteger(), nullable=False),
        sa.Column("uidnext", sa.BigInteger(), nullable=False),
        sa.Column("modseq", sa.BigInteger(), nullable=False),
        sa.Column("special_use", sa.String(length=32), nullable=False),
        sa.Column("subscribed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mailboxes")),
        sa.UniqueConstraint("box_id", "name", name=op.f("uq_mailboxes_box_id")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "messages",
        sa.Column("mailbox_id", ID, autoincrement=False, nullable=False),
        sa.Column("uid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("modseq", sa.BigInteger(), nullable=False),
        sa.Column("flags", sa.BigInteger(), nullable=False),
        sa.Column("internal_date", sa.BigInteger(), nullable=False),
        sa.Column("saved_at", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("object_id", ID, nullable=False),
        sa.PrimaryKeyConstraint("mailbox_id", "uid", name=op.f("pk_messages")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_messages_modseq", "messages", ["mailbox_id", "modseq"], unique=False)
    op.create_index("ix_messages_object", "messages", ["mailbox_id", "object_id"], unique=False)
    op.create_table(
        "objects",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("file", sa.String(length=64), nullable=True),
        sa.Column("octets", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_objects")),
        sa.UniqueConstraint("digest", name=op.f("uq_objects_digest")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_objects_file", "objects", ["file"], unique=False)
    op.create_table(
        "parties",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("generation", ID, nullable=False),
        sa.Column("address_key", sa.String(length=320), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("red_list", sa.Boolean(), nullable=False),
        sa.Column("town_key", sa.String(length=200), nullable=False),
        sa.Column("profession_key", sa.String(length=200), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_parties")),
        sa.UniqueConstraint("generation", "address_key", name=op.f("uq_parties_generation")),
    )
    op.create_table(
        "party_words",
        sa.Column("generation", ID, autoincrement=False, nullable=False),
        sa.Column("word", sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql"), nullable=False),
        sa.Column("party_id", ID, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("generation", "word", "party_id", name=op.f("pk_party_words")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "recovery_codes",
        sa.Column("account_id", ID, autoincrement=False, nullable=False),
        sa.Column("code_hash", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "code_hash", name=op.f("pk_recovery_codes")),
    )
    op.create_table(
        "trust_list_readings",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("generated_at", sa.BigInteger(), nullable=True),
        sa.Column("domains", sa.Integer(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=True),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trust_list_readings")),
    )
    op.create_table(
        "trust_lists",
        sa.Column("version", ID, autoincrement=False, nullable=False),
        sa.Column("generated_at", sa.BigInteger(), nullable=False),
        sa.Column("fetched_at", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_trust_lists")),
    )
    op.create_table(
        "web_sessions",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("box_id", ID, nullable=False),
        sa.Column("csrf", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("second_factor_done", sa.Boolean(), nullable=False),
        sa.Column("device", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_web_sessions")),
    )
    op.create_index("ix_web_sessions_account_id", "web_sessions", ["account_id"], unique=False)
    op.create_index("ix_web_sessions_seen_at", "web_sessions", ["seen_at"], unique=False)


def downgrade() -> None:
    """Go back."""
    op.drop_table("web_sessions")
    op.drop_table("trust_lists")
    op.drop_table("trust_list_readings")
    op.drop_table("recovery_codes")
    op.drop_table("party_words")
    op.drop_table("parties")
    op.drop_table("objects")
    op.drop_table("messages")
    op.drop_table("mailboxes")
    op.drop_table("login_networks")
    op.drop_table("login_failures")
    op.drop_table("letters")
    op.drop_table("leases")
    op.drop_table("keywords")
    op.drop_table("journal_segments")
    op.drop_table("journal")
    op.drop_table("holdings")
    op.drop_table("generations")
    op.drop_table("drafts")
    op.drop_table("documents")
    op.drop_table("deliveries")
    op.drop_table("delegations")
    op.drop_table("conversations")
    op.drop_table("contacts")
    op.drop_table("submission_budgets")
    op.drop_table("used_tokens")
    op.drop_table("token_subjects")
    op.drop_table("client_certificates")
    op.drop_table("changes")
    op.drop_table("boxes")
    op.drop_table("attempts")
    op.drop_table("arrivals")
    op.drop_table("accounts")
