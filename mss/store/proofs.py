"""What signs an account in besides its password: certificates, names in tokens, and tokens that were used.

Names in tokens are personal (often a professional's national number): found by a keyed digest, kept sealed.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, and_, delete, insert, or_, select

from mss.clock import to_us
from mss.model.account import CertificateBinding
from mss.store.hot import Hot
from mss.store.sealing import OPERATOR, Sealing
from mss.store.tables import client_certificates, token_subjects, used_tokens

_SUBJECT = b"token subject"
_BIND = Hot.new(token_subjects)
_USE = Hot.new(used_tokens)


class Proofs:
    """Certificates and tokens inside one unit."""

    def __init__(self, connection: Connection, sealing: Sealing) -> None:
        self._connection = connection
        self._sealing = sealing

    # -- certificates --------------------------------------------------------------------------------------------

    def bind_certificate(self, account_id: int, subject: str, fingerprint: str, now: datetime) -> int:
        """Let certificates sign an account in; returns the binding's number."""
        row = {"account_id": account_id, "subject": subject, "fingerprint": fingerprint, "added_at": to_us(now)}
        new = insert(client_certificates).returning(client_certificates.c.id)
        return int(self._connection.execute(new, row).scalar_one())

    def accounts_of_certificate(self, subject: str, fingerprint: str) -> tuple[int, ...]:
        """Return the accounts that a certificate signs in: what a binding gives has to fit, all of it."""
        table = client_certificates.c
        fits = and_(
            or_(table.subject == "", table.subject == subject),
            or_(table.fingerprint == "", table.fingerprint == fingerprint),
            # Said again so that an index is used; a binding always gives one of the two.
            or_(table.subject == subject, table.fingerprint == fingerprint),
        )
        query = select(table.account_id).where(fits).distinct().order_by(table.account_id)
        return tuple(self._connection.execute(query).scalars())

    def certificates_of(self, account_id: int) -> tuple[CertificateBinding, ...]:
        """Return an account's bindings, oldest first."""
        query = select(client_certificates).where(client_certificates.c.account_id == account_id)
        rows = self._connection.execute(query.order_by(client_certificates.c.id))
        return tuple(CertificateBinding(row.id, row.account_id, row.subject, row.fingerprint) for row in rows)

    def unbind_certificate(self, account_id: int, binding_id: int) -> bool:
        """Drop a binding; False when the account has none of that number."""
        where = and_(client_certificates.c.account_id == account_id, client_certificates.c.id == binding_id)
        return self._connection.execute(delete(client_certificates).where(where)).rowcount == 1

    # -- names in tokens -----------------------------------------------------------------------------------------

    def bind_subject(self, account_id: int, issuer: str, subject: str) -> bool:
        """Let an issuer's name for somebody mean an account; False when it means one already."""
        row = {
            "digest": self._digest(issuer, subject),
            "account_id": account_id,
            "issuer": issuer,
            "subject": self._sealing.seal_text(OPERATOR, subject, _SUBJECT),
        }
        return _BIND.run(self._connection, row).rowcount == 1

    def account_of_subject(self, issuer: str, subject: str) -> int | None:
        """Return the account that an issuer's name means."""
        query = select(token_subjects.c.account_id).where(token_subjects.c.digest == self._digest(issuer, subject))
        return self._connection.execute(query).scalar()

    def subjects_of(self, account_id: int) -> tuple[tuple[str, str], ...]:
        """Return (issuer, name) of an account."""
        query = select(token_subjects).where(token_subjects.c.account_id == account_id)
        rows = self._connection.execute(query.order_by(token_subjects.c.issuer))
        return tuple((row.issuer, self._sealing.unseal_text(OPERATOR, row.subject, _SUBJECT)) for row in rows)

    def unbind_subject(self, account_id: int, issuer: str, subject: str) -> bool:
        """Drop a name; False when it does not mean this account."""
        digest = self._digest(issuer, subject)
        where = and_(token_subjects.c.account_id == account_id, token_subjects.c.digest == digest)
        return self._connection.execute(delete(token_subjects).where(where)).rowcount == 1

    def _digest(self, issuer: str, subject: str) -> bytes:
        return self._sealing.digest(b"token subject", issuer.encode(), subject.encode("utf-8", "replace"))

    # -- used tokens ---------------------------------------------------------------------------------------------

    def use_token(self, mark: bytes, expires_at: datetime, now: datetime) -> bool:
        """Note that a token was used, and forget those that have ended; False when it was used before."""
        self._connection.execute(delete(used_tokens).where(used_tokens.c.expires_at < to_us(now)))
        return _USE.run(self._connection, {"mark": mark, "expires_at": to_us(expires_at)}).rowcount == 1
