"""Accounts and boxes from the command line: create, grant, list, change a password or a state."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from mss import passwords
from mss.clock import Clock
from mss.commands.house import actor, address_of, read, write
from mss.commands.words import Kind
from mss.config import Config
from mss.errors import Conflict, Malformed
from mss.model.account import Account, AccountKind, Box, BoxState, Delegation, DelegationKind
from mss.model.address import Address, Domain
from mss.model.ins import INS, OID_NIA, OID_NIR, OID_NIR_DEMO, OID_NIR_TEST, Traits
from mss.model.party import BoxKind
from mss.services import accounts
from mss.services.house import hosted
from mss.store import Uow

OIDS: Final[Mapping[str, str]] = {"nir": OID_NIR, "nia": OID_NIA, "test": OID_NIR_TEST, "demo": OID_NIR_DEMO}
# Without those that look alike: somebody reads it out on the telephone.
_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"


_BOX_KINDS: Final = {Kind.PER: BoxKind.PER, Kind.ORG: BoxKind.ORG, Kind.APP: BoxKind.APP, Kind.PATIENT: BoxKind.PATIENT}


@dataclass(frozen=True, slots=True)
class Wish:
    """An account to create. `boxes`: for a patient the one address or matricule, for others shared boxes to join."""

    login: str
    kind: Kind
    name: str = ""
    boxes: tuple[str, ...] = ()
    ins_oid: str = "nir"
    traits: Traits = Traits()
    red_list: bool = False


@dataclass(frozen=True, slots=True)
class Added:
    """What was made: `new_box` is False when the box was there before."""

    account: Account
    box: Box
    new_box: bool


def new_password() -> str:
    """Return a password that can be read out: 20 characters in groups, about 99 bits."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(4))


def hashed(password: str) -> str:
    """Return the hash of a password that is strong enough; Malformed says why it is not."""
    passwords.check_strength(password)
    return passwords.hash_password(password)


def add(config: Config, clock: Clock, wish: Wish, password: str) -> Added:
    """Create an account with its box, and its places in shared boxes: all or nothing."""
    box = new_box(config, wish)
    shared = () if wish.kind is Kind.PATIENT else tuple(address_of(one, "--box") for one in wish.boxes)
    return write(config, partial(_add, wish=wish, box=box, shared=shared, password=hashed(password), now=clock()))


def new_box(config: Config, wish: Wish) -> accounts.NewBox:
    """Return the box that a wish needs; Malformed says what does not fit."""
    return _patient_box(config, wish) if wish.kind is Kind.PATIENT else _professional_box(config, wish)


def _professional_box(config: Config, wish: Wish) -> accounts.NewBox:
    try:
        address = Address.own(wish.login)
    except Malformed as error:
        raise Malformed(f"the login of a {wish.kind} account is its mail address: {error}") from error
    _ours(config, address.domain, "professional")
    if not wish.name.strip() or "@" in wish.name:
        raise Malformed("give --name: patients see the name, never the address")
    return accounts.NewBox(address, _BOX_KINDS[wish.kind], wish.name.strip(), red_list=wish.red_list)


def _patient_box(config: Config, wish: Wish) -> accounts.NewBox:
    if len(wish.boxes) != 1:
        raise Malformed("give the patient's matricule INS, once: --box MATRICULE")
    local, at, domain_text = wish.boxes[0].rpartition("@")
    matricule, domain = (local, domain_text) if at else (wish.boxes[0], _patient_domain(config))
    ins = INS.parse(matricule, OIDS.get(wish.ins_oid, wish.ins_oid))
    if ins.is_test and not config.policy.test_identities:
        raise Malformed("test identities are not for this operator: [policy] test_identities is false")
    address = address_of(f"{ins.matricule}@{domain}", "--box")
    _ours(config, address.domain, "patient")
    if not wish.login.strip() or not wish.login.isprintable() or " " in wish.login:
        raise Malformed("a patient's login is a word of their choice, without spaces")
    traits = wish.traits
    name = wish.name.strip() or f"{traits.first_name.title()} {traits.birth_name.upper()}".strip()
    if not name:
        raise Malformed("give --name, or --birth-name and --first-name: professionals see the name")
    known = None if traits == Traits() else traits
    return accounts.NewBox(address, BoxKind.PATIENT, name, BoxState.UNOPENED, ins=ins, traits=known)


def _patient_domain(config: Config) -> str:
    names = [domain.name for domain in config.domains if domain.kind == "patient"]
    if len(names) != 1:
        raise Malformed("write the patient's whole address: this operator hosts no, or several, patient domains")
    return names[0]


def _ours(config: Config, domain: Domain, kind: str) -> None:
    known = hosted(config).domains
    if known.get(domain) == kind:
        return
    names = ", ".join(sorted(name for name, found in known.items() if found == kind)) or "none"
    raise Malformed(f"{domain} is no {kind} domain of this operator (it hosts: {names})")


def _add(
    uow: Uow, *, wish: Wish, box: accounts.NewBox, shared: tuple[Address, ...], password: str, now: datetime
) -> Added:
    found = accounts.box_by_address(uow, box.address, now)
    if found is not None and found.kind is not box.kind:
        raise Conflict(f"the address has a box of kind {found.kind} already: the kind of a box never changes")
    made = found or accounts.create_box(uow, box, actor(), now)
    kind = _account_kind(wish.kind)
    login = wish.login if wish.kind is Kind.PATIENT else box.address.key
    account = accounts.create_account(uow, login, kind, box.display_name, password, actor(), now)
    accounts.delegate(uow, Delegation(account.id, made.id, DelegationKind.OWNER), actor(), now)
    for address in shared:
        member = Delegation(account.id, _box(uow, address, now).id, DelegationKind.MEMBER)
        accounts.delegate(uow, member, actor(), now)
    return Added(account, made, new_box=found is None)


def _account_kind(kind: Kind) -> AccountKind:
    special = {Kind.PATIENT: AccountKind.PATIENT, Kind.APP: AccountKind.APPLICATION}
    return special.get(kind, AccountKind.PROFESSIONAL)


def _box(uow: Uow, address: Address, now: datetime) -> Box:
    box = accounts.box_by_address(uow, address, now)
    if box is None:
        raise Malformed(f"no box of ours has this address at {address.domain}: `mss account list` shows them")
    return box


def grant(
    config: Config, clock: Clock, login: str, box: str, kind: DelegationKind, ends_at: datetime | None = None
) -> Box:
    """Let an account act for a box; returns the box."""
    address = address_of(box, "the box")
    return write(config, partial(_grant, login=login, address=address, kind=kind, ends_at=ends_at, now=clock()))


def _grant(
    uow: Uow, *, login: str, address: Address, kind: DelegationKind, ends_at: datetime | None, now: datetime
) -> Box:
    account = uow.accounts.by_login(login)
    if account is None:
        raise Malformed("there is no such login: `mss account list` shows them")
    box = _box(uow, address, now)
    patient = account.kind is AccountKind.PATIENT
    if patient is not (box.kind is BoxKind.PATIENT):
        raise Malformed(f"a {account.kind} account cannot act for a {box.kind} box")
    if patient is (kind is DelegationKind.MEMBER):
        raise Malformed(f"“{kind}” is not for {account.kind} accounts: see mss account grant --help")
    if DelegationKind.OWNER in {one.kind for one in uow.accounts.delegations_to(account.id, box.id)}:
        raise Malformed("this account owns the box: it may do more already")
    if ends_at is not None and ends_at <= now:
        raise Malformed("that day is over")
    accounts.delegate(uow, Delegation(account.id, box.id, kind, ends_at), actor(), now)
    return box


def everybody(config: Config, clock: Clock) -> tuple[tuple[Account, tuple[accounts.BoxAccess, ...]], ...]:
    """Return all accounts with the boxes that they may act for."""
    return read(config, lambda uow: accounts.accounts(uow, clock()))


def set_password(config: Config, clock: Clock, login: str, password: str) -> None:
    """Change a password; every web session of the account ends."""
    encoded = hashed(password)
    if not write(config, lambda uow: accounts.set_password(uow, login, encoded, actor(), clock())):
        raise Malformed("there is no such login: `mss account list` shows them")


def set_state(config: Config, clock: Clock, box: str, state: BoxState) -> Box:
    """Open, close or oppose a box; returns it as it was before."""
    return write(config, partial(_set_state, address=address_of(box, "the box"), state=state, now=clock()))


def _set_state(uow: Uow, *, address: Address, state: BoxState, now: datetime) -> Box:
    box = _box(uow, address, now)
    if state in (BoxState.OPPOSED, BoxState.UNOPENED) and box.kind is not BoxKind.PATIENT:
        raise Malformed(f"only a patient's box can be {state}: this one is {box.kind}")
    accounts.set_box_state(uow, box.id, state, actor(), now)
    return box


def oppose(config: Config, clock: Clock, box: str, *, lift: bool) -> str:
    """Note an opposition, or take it back; returns what is true now."""
    return write(config, partial(_oppose, address=address_of(box, "the box"), lift=lift, now=clock()))


def _oppose(uow: Uow, *, address: Address, lift: bool, now: datetime) -> str:
    box = _box(uow, address, now)
    if box.kind is BoxKind.PATIENT:
        state = BoxState.OPEN if lift else BoxState.OPPOSED
        accounts.set_box_state(uow, box.id, state, actor(), now)
        return f"The patient's box was {box.state} and is now {state}."
    accounts.oppose_patients(uow, box.id, not lift, actor(), now)
    return f"The {box.kind} box takes {'letters from patients again' if lift else 'no letters from patients'}."
