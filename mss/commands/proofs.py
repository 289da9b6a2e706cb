"""Who may act for whom, and how accounts sign in besides passwords: certificates, and names in tokens."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Final, TypeVar

from mss.clock import Clock
from mss.commands.house import actor, address_of, read, write
from mss.commands.words import By
from mss.config import Config
from mss.errors import Malformed
from mss.model.account import Account, AccountKind, CertificateBinding, Delegation, DelegationKind
from mss.model.peer import DN
from mss.revocation import read_certificates
from mss.robots import dn_of, fingerprint_of
from mss.services import accounts, proofs
from mss.store import Uow

T = TypeVar("T")
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}\Z")
_SUBJECT_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Fit:
    """The certificates that are meant: of a subject, of a fingerprint, or of both."""

    subject: str = ""
    fingerprint: str = ""


def fit_of_file(path: Path, by: By) -> Fit:
    """Return what fits the certificate of a PEM file."""
    leaf = read_certificates(path)[0]
    subject = "" if by is By.FINGERPRINT else str(dn_of(leaf))
    return _checked(Fit(subject, "" if by is By.SUBJECT else fingerprint_of(leaf)))


def fit_of_words(subject: str, fingerprint: str) -> Fit:
    """Return what fits a subject (RFC 4514) and a SHA-256 fingerprint as people write them."""
    digits = fingerprint.replace(":", "").replace(" ", "").lower()
    if digits and not _FINGERPRINT.match(digits):
        raise Malformed("a fingerprint is SHA-256: 64 hexadecimal digits, colons between them or not")
    return _checked(Fit(str(DN.parse(subject)) if subject.strip() else "", digits))


def _checked(fit: Fit) -> Fit:
    if not (fit.subject or fit.fingerprint):
        raise Malformed("say which certificate: its file, or --subject, or --fingerprint")
    if len(fit.subject) > _SUBJECT_MAX:
        raise Malformed("the subject is too long")
    return fit


def add_certificate(config: Config, clock: Clock, login: str, fit: Fit) -> CertificateBinding:
    """Let certificates sign a robot in."""

    def bind(uow: Uow) -> CertificateBinding:
        account = _account(uow, login)
        if account.kind is not AccountKind.APPLICATION:
            raise Malformed(f"only robots sign in by certificate: this is a {account.kind} account")
        return proofs.bind_certificate(uow, account.id, fit.subject, fit.fingerprint, actor(), clock())

    return write(config, bind)


def certificates(config: Config, clock: Clock, login: str) -> tuple[CertificateBinding, ...]:
    """Return an account's bindings."""
    return read(config, lambda uow: proofs.certificates_of(uow, _account(uow, login).id, clock()))


def remove_certificate(config: Config, clock: Clock, login: str, number: int) -> None:
    """Drop a binding."""
    _removed(
        config,
        lambda uow: proofs.unbind_certificate(uow, _account(uow, login).id, number, actor(), clock()),
        "the account has no binding of this number: mss account certificate list shows them",
    )


def add_subject(config: Config, clock: Clock, login: str, subject: str) -> None:
    """Let the issuer's name for somebody mean an account."""
    issuer = _issuer(config)
    if not subject.strip() or not subject.isprintable():
        raise Malformed("give the name that stands in the token")

    def bind(uow: Uow) -> None:
        account = _account(uow, login)
        if account.kind is AccountKind.PATIENT:
            raise Malformed("patient accounts are for the webmail only, and tokens are not taken there")
        proofs.bind_subject(uow, account.id, issuer, subject.strip(), actor(), clock())

    write(config, bind)


def subjects(config: Config, clock: Clock, login: str) -> tuple[tuple[str, str], ...]:
    """Return (issuer, name) of an account."""
    return read(config, lambda uow: proofs.subjects_of(uow, _account(uow, login).id, clock()))


def remove_subject(config: Config, clock: Clock, login: str, subject: str) -> None:
    """Drop a name."""
    issuer = _issuer(config)
    _removed(
        config,
        lambda uow: proofs.unbind_subject(uow, _account(uow, login).id, issuer, subject.strip(), actor(), clock()),
        "this name does not mean the account: mss account subject list shows those that do",
    )


def _issuer(config: Config) -> str:
    if not config.tokens.issuer:
        raise Malformed("no issuer of tokens is configured: set issuer in [tokens]")
    return config.tokens.issuer


# -- delegations -------------------------------------------------------------------------------------------------------


def end_of(day: str) -> datetime | None:
    """Return the end of a day written YYYY-MM-DD, in UTC; None for none."""
    if not day:
        return None
    try:
        return datetime.combine(datetime.strptime(day, "%Y-%m-%d").date() + timedelta(days=1), time(), UTC)  # noqa: DTZ007
    except (ValueError, OverflowError) as error:
        raise Malformed("a day is written YYYY-MM-DD") from error


def delegations(config: Config, box: str) -> tuple[tuple[Account, Delegation], ...]:
    """Return who may act for a box, ended rights too."""
    address = address_of(box, "the box")

    def ask(uow: Uow) -> tuple[tuple[Account, Delegation], ...]:
        found = uow.accounts.box_by_address(address)
        if found is None:
            raise Malformed("no box of ours has this address: mss account list shows them")
        return uow.accounts.delegations_on(found.id)

    return read(config, ask)


def end_delegation(config: Config, clock: Clock, login: str, box: str) -> None:
    """Let an account act for a box no longer; the owner's right is no delegation."""
    address = address_of(box, "the box")

    def end(uow: Uow) -> bool:
        account, found = _account(uow, login), uow.accounts.box_by_address(address)
        if found is None:
            raise Malformed("no box of ours has this address: mss account list shows them")
        kinds = {one.kind for one in uow.accounts.delegations_to(account.id, found.id)}
        if DelegationKind.OWNER in kinds:
            raise Malformed("this account owns the box: close the box instead (mss account state)")
        return accounts.end_delegation(uow, account.id, found.id, actor(), clock())

    _removed(config, end, "this account does not act for that box: mss account delegate list shows who does")


# -- what they share ---------------------------------------------------------------------------------------------------


def _account(uow: Uow, login: str) -> Account:
    account = uow.accounts.by_login(login)
    if account is None:
        raise Malformed("there is no such login: `mss account list` shows them")
    return account


def _removed(config: Config, remove: Callable[[Uow], bool], otherwise: str) -> None:
    if not write(config, remove):
        raise Malformed(otherwise)
