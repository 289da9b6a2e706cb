"""Signing in by certificate or token, each in one unit of work; and which certificates and names mean whom.

Whether a certificate's chain or a token's signature holds was proven before: `mss.tls` and `mss.tokens` did.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mss.errors import Conflict
from mss.model.account import Account, AccountKind, CertificateBinding
from mss.model.audit import AuditEvent
from mss.model.peer import ClientCertificate
from mss.services import accounts
from mss.store import Uow


class NotProven(StrEnum):
    """Why nobody was signed in; for the log, the journal and metrics."""

    NOBODY = "nobody"
    DISABLED = "disabled"
    WRONG_DOOR = "wrong-door"
    SEVERAL = "several-accounts"
    REPLAYED = "token-replayed"


@dataclass(frozen=True, slots=True)
class Proof:
    """How somebody came: the mechanism's static word, the client's address, the kinds of accounts let in."""

    mechanism: str
    source: str
    kinds: frozenset[AccountKind]


@dataclass(frozen=True, slots=True)
class TokenName:
    """What a good token says: who made it, the name in it, and how it is recognised when it may be used once.

    `by_subject`: the name was bound to an account; otherwise it is a login.
    """

    issuer: str
    name: str
    by_subject: bool
    mark: bytes
    expires_at: datetime
    single_use: bool


def sign_in_by_token(uow: Uow, token: TokenName, proof: Proof, now: datetime) -> Account | NotProven:
    """Return the account that a token means, and write it down."""
    account = _meant(uow, token)
    found = _let_in(account, proof.kinds)
    if isinstance(found, Account) and token.single_use and not uow.proofs.use_token(token.mark, token.expires_at, now):
        found = NotProven.REPLAYED
    _record(uow, found, account, proof, now)
    return found


def _meant(uow: Uow, token: TokenName) -> Account | None:
    if not token.by_subject:
        return uow.accounts.by_login(token.name)
    account_id = uow.proofs.account_of_subject(token.issuer, token.name)
    return None if account_id is None else uow.accounts.by_id(account_id)


def _let_in(account: Account | None, kinds: frozenset[AccountKind]) -> Account | NotProven:
    if account is None:
        return NotProven.NOBODY
    if not account.enabled:
        return NotProven.DISABLED
    return account if account.kind in kinds else NotProven.WRONG_DOOR


def sign_in_by_certificate(
    uow: Uow, shown: ClientCertificate, acting_as: str, proof: Proof, now: datetime
) -> Account | NotProven:
    """Return the account that a certificate signs in, and write it down.

    One certificate may serve several robots: then `acting_as` has to be the login of one of them.
    """
    ids = uow.proofs.accounts_of_certificate(str(shown.subject), shown.fingerprint)
    bound = [account for one in ids if (account := uow.accounts.by_id(one)) is not None]
    named = [account for account in bound if account.login == acting_as.strip().lower()] or bound
    account = named[0] if len(named) == 1 else None
    found = NotProven.SEVERAL if len(named) > 1 else _let_in(account, proof.kinds)
    _record(uow, found, account, proof, now)
    return found


def _record(uow: Uow, found: Account | NotProven, account: Account | None, proof: Proof, now: datetime) -> None:
    reason = "" if isinstance(found, Account) else found.value
    note_attempt(uow, account.id if account else None, reason, proof, now)


def note_attempt(uow: Uow, account_id: int | None, reason: str, proof: Proof, now: datetime) -> None:
    """Write down a sign-in without a password, failed or not; `reason` is empty for a success.

    Passwords have a count of their own: neither do these failures lock an account, nor does a success unlock it.
    """
    target = f"account:{account_id}" if account_id is not None else "account:unknown"
    facts: dict[str, str | int | bool] = {"mechanism": proof.mechanism, "source": proof.source}
    if reason:
        facts["reason"] = reason
    if account_id is not None and not reason:
        accounts.signed_in(uow, account_id, now)
    uow.journal.write(AuditEvent(target, "login.failed" if reason else "login.ok", target, facts=facts), now)


# -- bindings ----------------------------------------------------------------------------------------------------------


def bind_certificate(
    uow: Uow, account_id: int, subject: str, fingerprint: str, actor: str, now: datetime
) -> CertificateBinding:
    """Let certificates sign a robot in; Conflict when there is such a binding, or nothing that it could fit."""
    if not subject and not fingerprint:
        raise Conflict("a certificate is bound by its subject, its fingerprint, or both")
    if any((one.subject, one.fingerprint) == (subject, fingerprint) for one in uow.proofs.certificates_of(account_id)):
        raise Conflict("the account has this binding already")
    number = uow.proofs.bind_certificate(account_id, subject, fingerprint, now)
    _note(uow, account_id, "account.certificate-add", {"binding": number}, actor, now)
    return CertificateBinding(number, account_id, subject, fingerprint)


def unbind_certificate(uow: Uow, account_id: int, binding_id: int, actor: str, now: datetime) -> bool:
    """Drop a binding; False when the account has none of that number."""
    dropped = uow.proofs.unbind_certificate(account_id, binding_id)
    if dropped:
        _note(uow, account_id, "account.certificate-remove", {"binding": binding_id}, actor, now)
    return dropped


def certificates_of(uow: Uow, account_id: int, now: datetime) -> tuple[CertificateBinding, ...]:
    """Return an account's bindings, oldest first."""
    return uow.proofs.certificates_of(account_id)


def bind_subject(uow: Uow, account_id: int, issuer: str, subject: str, actor: str, now: datetime) -> None:
    """Let an issuer's name for somebody mean an account; Conflict when it means one already."""
    if not uow.proofs.bind_subject(account_id, issuer, subject):
        raise Conflict("this name means an account already")
    _note(uow, account_id, "account.subject-add", {}, actor, now)


def unbind_subject(uow: Uow, account_id: int, issuer: str, subject: str, actor: str, now: datetime) -> bool:
    """Drop a name; False when it does not mean this account."""
    dropped = uow.proofs.unbind_subject(account_id, issuer, subject)
    if dropped:
        _note(uow, account_id, "account.subject-remove", {}, actor, now)
    return dropped


def subjects_of(uow: Uow, account_id: int, now: datetime) -> tuple[tuple[str, str], ...]:
    """Return (issuer, name) of an account."""
    return uow.proofs.subjects_of(account_id)


def _note(
    uow: Uow, account_id: int, action: str, facts: dict[str, str | int | bool], actor: str, now: datetime
) -> None:
    uow.journal.write(AuditEvent(actor, action, f"account:{account_id}", facts=facts), now)
