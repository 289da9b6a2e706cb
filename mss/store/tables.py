"""The tables. Times are whole microseconds since 1970; what a person could read is sealed under its box's key.

Every row of a mailbox, box or patient carries that key first in its primary key or index, so that nothing gets slower
because somebody else's is large, and so that tables can be distributed by it.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text, text
from sqlalchemy import UniqueConstraint as Unique

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = BigInteger().with_variant(Integer, "sqlite")
Big = BigInteger
# Searched from a beginning on, octet by octet, whatever the server's language is.
Word = String(64).with_variant(String(64, collation="C"), "postgresql")


def _id(name: str = "id") -> Column[int]:
    return Column(name, Id, primary_key=True, autoincrement=True)


boxes = Table(
    "boxes", metadata,
    _id(),
    Column("address_key", String(320), nullable=False, unique=True),
    Column("local", String(64), nullable=False),
    Column("domain", String(255), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("display_name", LargeBinary, nullable=False),
    Column("red_list", Boolean, nullable=False),
    Column("ins_oid", String(64)),
    Column("traits", LargeBinary),
    # A professional who takes no letters from patients; null, as older programs leave it, means no.
    Column("patients_opposed", Boolean),
    # The last UIDVALIDITY given out in this box: a mailbox made again under an old name gets a greater one.
    Column("uidvalidity", Big, nullable=False),
    Column("created_at", Big, nullable=False),
    # Each who reads the box has an own \\Seen.
    Column("own_seen", Boolean, nullable=False, server_default=text("false")),
    sqlite_autoincrement=True,
)  # fmt: skip

accounts = Table(
    "accounts", metadata,
    _id(),
    Column("login", String(320), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("display_name", LargeBinary, nullable=False),
    Column("password_hash", String(255), nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("locale", String(8), nullable=False),
    Column("totp_secret", LargeBinary),
    Column("totp_confirmed", Boolean, nullable=False),
    Column("totp_last_step", Big, nullable=False),
    Column("created_at", Big, nullable=False),
    sqlite_autoincrement=True,
)  # fmt: skip

recovery_codes = Table(
    "recovery_codes", metadata,
    Column("account_id", Id, primary_key=True, autoincrement=False),
    Column("code_hash", String(255), primary_key=True),
)  # fmt: skip

delegations = Table(
    "delegations", metadata,
    Column("account_id", Id, primary_key=True, autoincrement=False),
    Column("box_id", Id, primary_key=True, autoincrement=False),
    Column("kind", String(32), nullable=False),
    Column("ends_at", Big),
    # Null where an older program wrote it: longer than anybody knows.
    Column("since", Big),
    Index("ix_delegations_box_id", "box_id"),
)  # fmt: skip

login_failures = Table(
    "login_failures", metadata,
    _id(),
    Column("login_digest", LargeBinary, nullable=False),
    Column("network_digest", LargeBinary, nullable=False),
    Column("at", Big, nullable=False),
    # From a network that was not known to the login then; a code that was wrong after a right password.
    Column("stranger", Boolean, nullable=False),
    Column("code", Boolean, nullable=False),
    Index("ix_login_failures_login", "login_digest", "at"),
    Index("ix_login_failures_at", "at"),
)  # fmt: skip

# Which certificates sign a robot in: by subject, by fingerprint (SHA-256, hexadecimal), or by both; empty means any.
client_certificates = Table(
    "client_certificates", metadata,
    _id(),
    Column("account_id", Id, nullable=False),
    Column("subject", String(1000), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("added_at", Big, nullable=False),
    Index("ix_client_certificates_subject", "subject"),
    Index("ix_client_certificates_fingerprint", "fingerprint"),
    sqlite_autoincrement=True,
)  # fmt: skip

# What an issuer of tokens calls an account: a keyed digest to find it by, and the name itself, sealed.
token_subjects = Table(
    "token_subjects", metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("account_id", Id, nullable=False),
    Column("issuer", String(400), nullable=False),
    Column("subject", LargeBinary, nullable=False),
    Index("ix_token_subjects_account_id", "account_id"),
)  # fmt: skip

# Tokens that opened a connection already, where each may do so once.
used_tokens = Table(
    "used_tokens", metadata,
    Column("mark", LargeBinary, primary_key=True),
    Column("expires_at", Big, nullable=False),
    Index("ix_used_tokens_expires_at", "expires_at"),
    sqlite_with_rowid=False,
)  # fmt: skip

# When an account's budget of submission will be whole again.
submission_budgets = Table(
    "submission_budgets", metadata,
    Column("account_id", Id, primary_key=True, autoincrement=False),
    Column("whole_at", Big, nullable=False),
)  # fmt: skip

# Networks from which a login succeeded, as keyed digests.
login_networks = Table(
    "login_networks", metadata,
    Column("login_digest", LargeBinary, primary_key=True),
    Column("network_digest", LargeBinary, primary_key=True),
    Column("seen_at", Big, nullable=False),
    Index("ix_login_networks_seen_at", "seen_at"),
)  # fmt: skip

web_sessions = Table(
    "web_sessions", metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("account_id", Id, nullable=False),
    Column("box_id", Id, nullable=False),
    Column("csrf", String(64), nullable=False),
    Column("created_at", Big, nullable=False),
    Column("seen_at", Big, nullable=False),
    Column("second_factor_done", Boolean, nullable=False),
    Column("device", String(200), nullable=False),
    Index("ix_web_sessions_account_id", "account_id"),
    Index("ix_web_sessions_seen_at", "seen_at"),
)  # fmt: skip

# The octets of letters and documents, each stored once. `digest` is keyed: it tells nothing outside.
objects = Table(
    "objects", metadata,
    _id(),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("size", Big, nullable=False),
    Column("created_at", Big, nullable=False),
    Column("file", String(64)),
    Column("octets", LargeBinary),
    Index("ix_objects_file", "file"),
    sqlite_autoincrement=True,
)  # fmt: skip

# Who holds an object: its content key wrapped under the holder's key, and the sealed IMAP forms of a letter.
holdings = Table(
    "holdings", metadata,
    Column("box_id", Id, primary_key=True, autoincrement=False),
    Column("object_id", Id, primary_key=True, autoincrement=False),
    Column("content_key", LargeBinary, nullable=False),
    Column("envelope", LargeBinary),
    Column("bodystructure", LargeBinary),
    Column("preview", LargeBinary),
    # The letter's thread in this box (OBJECTID): the number of the first letter of it that came.
    Column("thread_id", Id),
    Index("ix_holdings_object_id", "object_id"),
    Index("ix_holdings_thread", "box_id", "thread_id"),
    sqlite_with_rowid=False,
)  # fmt: skip

mailboxes = Table(
    "mailboxes", metadata,
    _id(),
    Column("box_id", Id, nullable=False),
    Column("name", String(1024), nullable=False),
    Column("uidvalidity", Big, nullable=False),
    Column("uidnext", Big, nullable=False),
    Column("modseq", Big, nullable=False),
    Column("special_use", String(32), nullable=False),
    Column("subscribed", Boolean, nullable=False),
    # How many letters it holds and of how many octets in all: kept by triggers on `messages`.
    Column("letters", Big, nullable=False, server_default=text("0")),
    Column("octets", Big, nullable=False, server_default=text("0")),
    Unique("box_id", "name"),
    sqlite_autoincrement=True,
)  # fmt: skip

keywords = Table(
    "keywords", metadata,
    Column("mailbox_id", Id, primary_key=True, autoincrement=False),
    Column("bit", Integer, primary_key=True, autoincrement=False),
    Column("name", String(255), nullable=False),
    Column("name_key", String(255), nullable=False),
    Unique("mailbox_id", "name_key"),
)  # fmt: skip

messages = Table(
    "messages", metadata,
    Column("mailbox_id", Id, primary_key=True, autoincrement=False),
    Column("uid", Big, primary_key=True, autoincrement=False),
    Column("modseq", Big, nullable=False),
    Column("flags", Big, nullable=False),
    Column("internal_date", Big, nullable=False),
    Column("saved_at", Big, nullable=False),
    Column("size", Big, nullable=False),
    Column("object_id", Id, nullable=False),
    Index("ix_messages_modseq", "mailbox_id", "modseq"),
    Index("ix_messages_object", "mailbox_id", "object_id"),
    sqlite_with_rowid=False,
)  # fmt: skip

changes = Table(
    "changes", metadata,
    Column("mailbox_id", Id, primary_key=True, autoincrement=False),
    Column("modseq", Big, primary_key=True, autoincrement=False),
    Column("uid_first", Big, primary_key=True, autoincrement=False),
    Column("uid_last", Big, nullable=False),
    Column("kind", Integer, nullable=False),
    # Expunges (`ChangeKind.EXPUNGED`) alone: a client that comes back asks for them, whatever else changed.
    Index("ix_changes_expunged", "mailbox_id", "kind", "modseq", "uid_first", "uid_last",
          sqlite_where=text("kind = 3"), postgresql_where=text("kind = 3")),
    sqlite_with_rowid=False,
)  # fmt: skip

# Letters recognised when they come again: keyed digest of (origin, Message-ID, octets, recipient).
arrivals = Table(
    "arrivals", metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("receipt", String(32), nullable=False),
    Column("at", Big, nullable=False),
    Index("ix_arrivals_at", "at"),
    sqlite_with_rowid=False,
)  # fmt: skip

deliveries = Table(
    "deliveries", metadata,
    _id(),
    Column("object_id", Id, nullable=False),
    Column("holder_id", Id, nullable=False),
    Column("source_box_id", Id),
    Column("destination", String(255), nullable=False),
    Column("reverse_path", String(400)),
    Column("recipient", String(400), nullable=False),
    Column("message_id", String(998), nullable=False),
    Column("size", Big, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", Big, nullable=False),
    Column("expires_at", Big, nullable=False),
    Column("next_attempt_at", Big, nullable=False),
    Column("lease_until", Big, nullable=False),
    Column("lease_owner", String(64), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("notify", String(40), nullable=False),
    Column("ret", String(4)),
    Column("orcpt", String(500)),
    Column("envid", String(100)),
    Column("smtputf8", Boolean, nullable=False),
    Column("eight_bit", Boolean, nullable=False),
    Column("require_tls", Boolean, nullable=False),
    Column("delay_notified", Boolean, nullable=False),
    Column("last_kind", String(16)),
    Column("last_code", Integer),
    Column("last_enhanced", String(16)),
    Column("last_text", String(1000)),
    Column("last_remote", String(255)),
    # The destination stands in it so that those that are full or rest are passed over without a look at their rows.
    Index("ix_deliveries_due", "state", "next_attempt_at", "destination"),
    Index("ix_deliveries_message", "message_id"),
    sqlite_autoincrement=True,
)  # fmt: skip

attempts = Table(
    "attempts", metadata,
    Column("delivery_id", Id, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", Big, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("code", Integer, nullable=False),
    Column("enhanced", String(16), nullable=False),
    Column("text", String(1000), nullable=False),
    Column("remote", String(255), nullable=False),
)  # fmt: skip

_UNREAD = text("unread > 0")
# `letters`, `unread` and `has_attachment` sum up the conversation's letters, so that a list of them reads none.
conversations = Table(
    "conversations", metadata,
    _id(),
    Column("box_id", Id, nullable=False),
    Column("subject", LargeBinary, nullable=False),
    Column("created_at", Big, nullable=False),
    Column("last_at", Big, nullable=False),
    Column("letters", Big, nullable=False),
    Column("unread", Big, nullable=False),
    Column("has_attachment", Boolean, nullable=False),
    Index("ix_conversations_box", "box_id", "last_at"),
    Index("ix_conversations_unread", "box_id", "last_at", "unread", sqlite_where=_UNREAD, postgresql_where=_UNREAD),
    sqlite_autoincrement=True,
)  # fmt: skip

# A letter as part of a conversation; `facts` is sealed JSON: names, addresses and roles. `author_digest` is keyed.
letters = Table(
    "letters", metadata,
    Column("box_id", Id, primary_key=True, autoincrement=False),
    Column("object_id", Id, primary_key=True, autoincrement=False),
    Column("conversation_id", Id, nullable=False),
    Column("mailbox_id", Id, nullable=False),
    Column("uid", Big, nullable=False),
    Column("direction", String(8), nullable=False),
    Column("at", Big, nullable=False),
    Column("message_digest", LargeBinary, nullable=False),
    Column("author_digest", LargeBinary),
    Column("answerable", Boolean, nullable=False),
    Column("closing", Boolean, nullable=False),
    Column("has_attachment", Boolean, nullable=False),
    Column("unread", Boolean, nullable=False),
    Column("facts", LargeBinary, nullable=False),
    Index("ix_letters_message", "box_id", "message_digest"),
    Index("ix_letters_conversation", "box_id", "conversation_id", "at"),
    Index("ix_letters_author", "box_id", "author_digest", "at"),
)  # fmt: skip

# The state between one patient's box and one professional address; `address` is sealed under the box's key.
contacts = Table(
    "contacts", metadata,
    _id(),
    Column("box_id", Id, nullable=False),
    Column("address_digest", LargeBinary, nullable=False),
    Column("address", LargeBinary, nullable=False),
    Column("name", LargeBinary, nullable=False),
    Column("state", String(16), nullable=False),
    Column("since", Big, nullable=False),
    Unique("box_id", "address_digest"),
    sqlite_autoincrement=True,
)  # fmt: skip

drafts = Table(
    "drafts", metadata,
    Column("box_id", Id, primary_key=True, autoincrement=False),
    Column("conversation_id", Id, primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False),
    Column("saved_at", Big, nullable=False),
)  # fmt: skip

# `entry` is the sealed DocumentEntry; `unique_digest` and `category_digest` are keyed digests of its uniqueId and its
# category; `hidden` has a bit for each of those whom it is hidden from (`dossiers.HIDDEN`).
documents = Table(
    "documents", metadata,
    _id(),
    Column("box_id", Id, nullable=False),
    Column("unique_digest", LargeBinary, nullable=False),
    Column("category_digest", LargeBinary, nullable=False),
    Column("hidden", Integer, nullable=False),
    Column("entry", LargeBinary, nullable=False),
    Column("entry_id", String(64), nullable=False),
    Column("logical_id", String(64), nullable=False),
    Column("object_id", Id, nullable=False),
    Column("companion_object_id", Id),
    Column("email_id", Id),
    Column("size", Big, nullable=False),
    Column("filed_at", Big, nullable=False),
    Column("filed_by", String(16), nullable=False),
    Column("masked", Boolean, nullable=False),
    Column("replaced_by", Id),
    # Keyed digest of the type code, so that rights on a whole dossier are decided without opening it. Null: not known.
    Column("type_digest", LargeBinary),
    Unique("box_id", "unique_digest"),
    Index("ix_documents_box", "box_id", "filed_at"),
    Index("ix_documents_category", "box_id", "category_digest", "filed_at", "id", "hidden"),
    Index("ix_documents_letter", "box_id", "email_id"),
    Index("ix_documents_logical", "box_id", "logical_id"),
    Index("ix_documents_rights", "box_id", "type_digest", "category_digest", "hidden", "masked", "filed_at", "id"),
    sqlite_autoincrement=True,
)  # fmt: skip

journal = Table(
    "journal", metadata,
    Column("writer", String(64), primary_key=True),
    Column("number", Big, primary_key=True, autoincrement=False),
    Column("at", Big, nullable=False),
    Column("actor", String(400), nullable=False),
    Column("action", String(64), nullable=False),
    Column("target", String(200), nullable=False),
    Column("decision", String(16), nullable=False),
    Column("rule", String(64), nullable=False),
    Column("subject_box_id", Id),
    Column("facts", Text, nullable=False),
    # Keyed digest of a Message-ID, where a record is the beginning or the end of what became of a letter.
    Column("message", String(24)),
    Column("hash", LargeBinary, nullable=False),
    Index("ix_journal_subject", "subject_box_id", "at"),
    Index("ix_journal_actor", "actor", "at"),
    Index("ix_journal_target", "target", "at"),
    Index("ix_journal_at", "at"),
    Index("ix_journal_message", "message", sqlite_where=text("message IS NOT NULL"),
          postgresql_where=text("message IS NOT NULL")),
    sqlite_with_rowid=False,
)  # fmt: skip

# A sealed segment of a writer's chain: its numbers and the hash of its last record.
journal_segments = Table(
    "journal_segments", metadata,
    Column("writer", String(64), primary_key=True),
    Column("last_number", Big, primary_key=True, autoincrement=False),
    Column("first_number", Big, nullable=False),
    Column("head", LargeBinary, nullable=False),
    Column("sealed_at", Big, nullable=False),
    # Since when its records are gone, because their time was over.
    Column("trimmed_at", Big),
)  # fmt: skip

trust_lists = Table(
    "trust_lists", metadata,
    Column("version", Id, primary_key=True, autoincrement=False),
    Column("generated_at", Big, nullable=False),
    Column("fetched_at", Big, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("body", Text, nullable=False),
)  # fmt: skip

trust_list_readings = Table(
    "trust_list_readings", metadata,
    _id(),
    Column("source", String(16), nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("generated_at", Big),
    Column("domains", Integer, nullable=False),
    Column("version", Big),
    Column("times", Integer, nullable=False),
    Column("first_at", Big, nullable=False),
    Column("last_at", Big, nullable=False),
)  # fmt: skip

parties = Table(
    "parties", metadata,
    _id(),
    Column("generation", Id, nullable=False),
    Column("address_key", String(320), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("red_list", Boolean, nullable=False),
    Column("town_key", String(200), nullable=False),
    Column("profession_key", String(200), nullable=False),
    Column("body", Text, nullable=False),
    Unique("generation", "address_key"),
)  # fmt: skip

# Words of a party's names, without accents, in lower case: found by prefix.
party_words = Table(
    "party_words", metadata,
    Column("generation", Id, primary_key=True, autoincrement=False),
    Column("word", Word, primary_key=True),
    Column("party_id", Id, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)  # fmt: skip

generations = Table(
    "generations", metadata,
    _id(),
    Column("begun_at", Big, nullable=False),
    Column("published_at", Big),
    Column("parties", Integer, nullable=False),
)  # fmt: skip

leases = Table(
    "leases", metadata,
    Column("name", String(64), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("until", Big, nullable=False),
)  # fmt: skip


# The owners' keys live in a database of their own, out of the data's backups.
key_metadata = MetaData()
owner_keys = Table(
    "owner_keys", key_metadata,
    Column("owner_id", Id, primary_key=True, autoincrement=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("created_at", Big, nullable=False),
)  # fmt: skip
