"""Boxes, the accounts that sign in, delegations, passwords and second factors, web sessions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mss.model.account import Account, AccountKind, Box, BoxState, Delegation, DelegationKind
from mss.model.address import Address
from mss.model.ins import INS, Traits
from mss.model.party import BoxKind
from mss.model.secret import Secret
from mss.store import Uow


@dataclass(frozen=True, slots=True)
class NewBox:
    """A box to create, with its default mailboxes and its key."""

    address: Address
    kind: BoxKind
    display_name: str = ""
    state: BoxState = BoxState.OPEN
    red_list: bool = False
    ins: INS | None = None
    traits: Traits | None = None


def create_box(uow: Uow, new: NewBox, actor: str, now: datetime) -> Box:
    """Create a box; Conflict when the address exists."""
    raise NotImplementedError


def box_by_address(uow: Uow, address: Address, now: datetime) -> Box | None:
    """Return the box of an address, whatever its state."""
    raise NotImplementedError


def box_by_id(uow: Uow, box_id: int, now: datetime) -> Box | None:
    """Return a box."""
    raise NotImplementedError


def set_box_state(uow: Uow, box_id: int, state: BoxState, actor: str, now: datetime) -> None:
    """Open, close or oppose a box."""
    raise NotImplementedError


def create_account(
    uow: Uow, login: str, kind: AccountKind, display_name: str, password_hash: str, actor: str, now: datetime
) -> Account:
    """Create an account that signs in; Conflict when the login exists (compared in lower case)."""
    raise NotImplementedError


def delegate(uow: Uow, delegation: Delegation, actor: str, now: datetime) -> None:
    """Let an account act for a box."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class BoxAccess:
    """A box that an account may act for now, and why."""

    box: Box
    kind: DelegationKind


def boxes_of(uow: Uow, account_id: int, now: datetime) -> tuple[BoxAccess, ...]:
    """Return the boxes that an account may act for: its own first, then by name."""
    raise NotImplementedError


def accounts(uow: Uow, now: datetime) -> tuple[tuple[Account, tuple[BoxAccess, ...]], ...]:
    """Return all accounts with their boxes, by login."""
    raise NotImplementedError


def set_password(uow: Uow, login: str, password_hash: str, actor: str, now: datetime) -> bool:
    """Change a password and end all web sessions; False when there is no such login."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Credentials:
    """What sign-in compares: the account (None: unknown login) and until when failures lock it."""

    account: Account | None
    locked_until: datetime | None


def credentials(uow: Uow, login: str, failures_max: int, window_s: int, now: datetime) -> Credentials:
    """Return what is needed to judge a sign-in."""
    raise NotImplementedError


def record_login(
    uow: Uow, login: str, account_id: int | None, ok: bool, mechanism: str, source: str, now: datetime
) -> None:
    """Write down a sign-in, failed or not: counters and journal. A success opens an unopened patient box."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class SecondFactor:
    """An account's one-time code secret (base32); `last_step` forbids replay."""

    secret: Secret
    confirmed: bool
    last_step: int


def second_factor(uow: Uow, account_id: int, now: datetime) -> SecondFactor | None:
    """Return the TOTP secret of an account; None when none was set up."""
    raise NotImplementedError


def set_second_factor(
    uow: Uow, account_id: int, secret: Secret, recovery_hashes: tuple[str, ...], now: datetime
) -> None:
    """Store a new, unconfirmed TOTP secret and the hashes of its recovery codes."""
    raise NotImplementedError


def use_code(uow: Uow, account_id: int, step: int, now: datetime) -> bool:
    """Note that the code of a time step was used, confirming the factor; False when used before (replay)."""
    raise NotImplementedError


def use_recovery_code(uow: Uow, account_id: int, code_hash: str, now: datetime) -> bool:
    """Burn a recovery code; False when there is none such."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class WebSession:
    """A signed-in browser. The cookie's token is stored hashed; `box_id` is the box being looked at."""

    token_hash: str
    account_id: int
    box_id: int
    csrf: str
    created_at: datetime
    seen_at: datetime
    second_factor_done: bool
    device: str = ""


def open_session(uow: Uow, session: WebSession, now: datetime) -> None:
    """Store a web session."""
    raise NotImplementedError


def session(uow: Uow, token_hash: str, idle_s: int, max_s: int, now: datetime) -> tuple[WebSession, Account] | None:
    """Return a live session and its account; None when unknown, idle too long, too old or account disabled."""
    raise NotImplementedError


def touch_session(uow: Uow, token_hash: str, second_factor_done: bool | None, now: datetime) -> None:
    """Note activity (callers do it once a minute at most) and, when given, the second factor."""
    raise NotImplementedError


def close_session(uow: Uow, token_hash: str, now: datetime) -> None:
    """End a session."""
    raise NotImplementedError


def sessions(uow: Uow, account_id: int, now: datetime) -> tuple[WebSession, ...]:
    """Return the live sessions of an account, newest first."""
    raise NotImplementedError
