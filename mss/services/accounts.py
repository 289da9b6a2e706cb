"""Boxes, the accounts that sign in, delegations, passwords and second factors, web sessions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from mss.clock import from_us, to_us
from mss.config import Limits
from mss.errors import Conflict
from mss.model.account import Account, AccountKind, Box, BoxState, Delegation, DelegationKind
from mss.model.address import Address
from mss.model.audit import AuditEvent
from mss.model.ins import INS, Traits
from mss.model.party import BoxKind
from mss.model.secret import Secret
from mss.policy import access, retention, rules
from mss.policy.backoff import STRANGERS_WITHIN, network_of, wait_until
from mss.policy.decision import Decision, reject
from mss.store import Uow

_NOTED_EVERY = timedelta(days=1)


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
    if uow.accounts.box_by_address(new.address) is not None:
        raise Conflict("the address has a box already")
    box_id = uow.accounts.add_box(
        new.address,
        new.kind,
        new.state,
        new.display_name,
        red_list=new.red_list,
        ins=new.ins,
        traits=new.traits,
        now=now,
    )
    uow.mailboxes.create_defaults(box_id, now)
    uow.journal.write(AuditEvent(actor, "box.create", f"box:{box_id}", subject_box_id=box_id), now)
    return _existing_box(uow, box_id)


def _existing_box(uow: Uow, box_id: int) -> Box:
    box = uow.accounts.box_by_id(box_id)
    if box is None:
        raise Conflict("the box is gone")
    return box


def box_by_address(uow: Uow, address: Address, now: datetime) -> Box | None:
    """Return the box of an address, whatever its state."""
    return uow.accounts.box_by_address(address)


def box_by_id(uow: Uow, box_id: int, now: datetime) -> Box | None:
    """Return a box."""
    return uow.accounts.box_by_id(box_id)


def set_box_state(uow: Uow, box_id: int, state: BoxState, actor: str, now: datetime) -> None:
    """Open, close or oppose a box."""
    uow.accounts.set_state(box_id, state)
    event = AuditEvent(actor, "box.state", f"box:{box_id}", subject_box_id=box_id, facts={"state": state.value})
    uow.journal.write(event, now)


def oppose_or_reopen(uow: Uow, account_id: int, box_id: int, wanted: BoxState, now: datetime) -> Decision:
    """Let patients say that they want no mailbox, or take that back; what an operator closed stays closed."""
    account, box = uow.accounts.by_id(account_id), uow.accounts.box_by_id(box_id)
    if account is None or box is None:
        return reject(rules.ACCESS_NONE)
    opens = wanted is BoxState.OPEN
    action = access.Action.REOPEN_BOX if opens else access.Action.CLOSE_BOX
    decision = access.may_act(account, uow.accounts.delegations_to(account_id, box_id), box, action, now)
    if decision.accepted and opens and box.state is not BoxState.OPPOSED:
        return reject(rules.ACCESS_BOX_CLOSED, box=box_id)
    if decision.accepted:
        set_box_state(uow, box_id, wanted, f"account:{account_id}", now)
    return decision


def oppose_patients(uow: Uow, box_id: int, opposed: bool, actor: str, now: datetime) -> None:
    """Let a professional's box take no letters from patients, or take them again."""
    uow.accounts.oppose_patients(box_id, opposed)
    facts = {"patients_opposed": opposed}
    uow.journal.write(AuditEvent(actor, "box.oppose", f"box:{box_id}", subject_box_id=box_id, facts=facts), now)


def create_account(
    uow: Uow, login: str, kind: AccountKind, display_name: str, password_hash: str, actor: str, now: datetime
) -> Account:
    """Create an account that signs in; Conflict when the login exists (compared in lower case)."""
    if uow.accounts.by_login(login) is not None:
        raise Conflict("the login exists already")
    account_id = uow.accounts.add(login, kind, display_name, password_hash, now)
    uow.journal.write(AuditEvent(actor, "account.create", f"account:{account_id}", facts={"kind": kind.value}), now)
    account = uow.accounts.by_id(account_id)
    if account is None:
        raise Conflict("the account is gone")
    return account


def delegate(uow: Uow, delegation: Delegation, actor: str, now: datetime) -> None:
    """Let an account act for a box, from now on unless the delegation says since when."""
    uow.accounts.delegate(delegation if delegation.since is not None else replace(delegation, since=now))
    facts = {"account": delegation.account_id, "kind": delegation.kind.value}
    target = f"box:{delegation.box_id}"
    uow.journal.write(AuditEvent(actor, "box.delegate", target, subject_box_id=delegation.box_id, facts=facts), now)


def end_delegation(uow: Uow, account_id: int, box_id: int, actor: str, now: datetime) -> bool:
    """Let an account act for a box no longer; False when it did not."""
    ended = uow.accounts.end_delegation(account_id, box_id)
    if ended:
        event = AuditEvent(
            actor, "box.delegate-end", f"box:{box_id}", subject_box_id=box_id, facts={"account": account_id}
        )
        uow.journal.write(event, now)
    return ended


@dataclass(frozen=True, slots=True)
class BoxAccess:
    """A box that an account may act for now, and why."""

    box: Box
    kind: DelegationKind


def boxes_of(uow: Uow, account_id: int, now: datetime) -> tuple[BoxAccess, ...]:
    """Return the boxes that an account may act for: its own first, then by name."""
    return tuple(BoxAccess(box, kind) for box, kind in uow.accounts.delegations_of(account_id, now))


def accounts(uow: Uow, now: datetime) -> tuple[tuple[Account, tuple[BoxAccess, ...]], ...]:
    """Return all accounts with their boxes, by login."""
    return tuple((account, boxes_of(uow, account.id, now)) for account in uow.accounts.all())


def set_password(uow: Uow, login: str, password_hash: str, actor: str, now: datetime) -> bool:
    """Change a password and end all web sessions; False when there is no such login."""
    account = uow.accounts.by_login(login)
    if account is None:
        return False
    uow.accounts.set_password(account.id, password_hash)
    uow.accounts.drop_sessions_of(account.id)
    uow.accounts.clear_failures(login)
    uow.accounts.forget_networks_of(login)
    uow.journal.write(AuditEvent(actor, "account.password", f"account:{account.id}"), now)
    return True


@dataclass(frozen=True, slots=True)
class Credentials:
    """What sign-in compares: the account (None: unknown login), and until when failures make this source wait."""

    account: Account | None
    locked_until: datetime | None


def credentials(uow: Uow, login: str, source: str, limits: Limits, now: datetime) -> Credentials:
    """Return what is needed to judge a sign-in from a source (an IP address)."""
    network, window = network_of(source), timedelta(seconds=limits.login_window_s)
    failures = uow.accounts.failures(login, network, now - window, now - STRANGERS_WITHIN)
    failures = replace(failures, known=_is_known(uow, login, network, now))
    locked_until = wait_until(failures, limits.login_failures_max, limits.login_strangers_failures_max, window)
    return Credentials(uow.accounts.by_login(login), locked_until)


def _is_known(uow: Uow, login: str, network: str, now: datetime) -> bool:
    return uow.accounts.knows_network(login, network, retention.oldest_kept(retention.LOGIN_NETWORKS, now))


@dataclass(frozen=True, slots=True)
class Try:
    """A try to sign in: by which mechanism, from which IP address; `code`: of one whose password was right."""

    login: str
    account_id: int | None
    mechanism: str
    source: str
    code: bool = False


def renew_hash(uow: Uow, account_id: int, before: str, after: str) -> bool:
    """Put a new hash of the same password in the place of one; False when the password was changed meanwhile."""
    return uow.accounts.renew_hash(account_id, before, after)


def record_login(uow: Uow, tried: Try, ok: bool, now: datetime) -> None:
    """Write down a sign-in, failed or not: counters and journal. A success opens an unopened patient box."""
    login, network = tried.login, network_of(tried.source)
    if ok:
        uow.accounts.clear_failures(login, network)
        uow.accounts.know_network(login, network, now)
        _open_unopened(uow, tried.account_id, now)
        if tried.account_id is not None:
            signed_in(uow, tried.account_id, now)
    else:
        stranger = not _is_known(uow, login, network, now)
        uow.accounts.add_failure(login, network, now, stranger=stranger, code=tried.code)
    target = f"account:{tried.account_id}" if tried.account_id is not None else "account:unknown"
    facts = {"mechanism": tried.mechanism, "source": tried.source}
    uow.journal.write(AuditEvent(target, "login.ok" if ok else "login.failed", target, facts=facts), now)


def signed_in(uow: Uow, account_id: int, now: datetime) -> None:
    """Note that somebody signed in for the boxes that their account may act for; once a day, for it costs a write."""
    for one in boxes_of(uow, account_id, now):
        life = uow.lives.of(one.box.id)
        if life is not None and (life.signed_in_at is None or life.told_at or now - life.signed_in_at >= _NOTED_EVERY):
            uow.lives.seen(one.box.id, now)


def _open_unopened(uow: Uow, account_id: int | None, now: datetime) -> None:
    for mine in boxes_of(uow, account_id, now) if account_id is not None else ():
        if mine.box.state is BoxState.UNOPENED and mine.kind is DelegationKind.OWNER:
            set_box_state(uow, mine.box.id, BoxState.OPEN, f"account:{account_id}", now)


@dataclass(frozen=True, slots=True)
class SecondFactor:
    """An account's one-time code secret (base32); `last_step` forbids replay."""

    secret: Secret
    confirmed: bool
    last_step: int


def second_factor(uow: Uow, account_id: int, now: datetime) -> SecondFactor | None:
    """Return the TOTP secret of an account; None when none was set up."""
    found = uow.accounts.totp(account_id)
    return None if found is None else SecondFactor(Secret(found[0]), found[1], found[2])


def set_second_factor(
    uow: Uow, account_id: int, secret: Secret, recovery_hashes: tuple[str, ...], now: datetime
) -> None:
    """Store a new, unconfirmed TOTP secret and the hashes of its recovery codes."""
    uow.accounts.set_totp(account_id, secret.octets, recovery_hashes)
    uow.journal.write(AuditEvent(f"account:{account_id}", "account.second-factor", f"account:{account_id}"), now)


def use_code(uow: Uow, account_id: int, step: int, now: datetime) -> bool:
    """Note that the code of a time step was used, confirming the factor; False when used before (replay)."""
    return uow.accounts.advance_totp(account_id, step)


def use_recovery_code(uow: Uow, account_id: int, code_hash: str, now: datetime) -> bool:
    """Burn a recovery code; False when there is none such."""
    burnt = uow.accounts.burn_recovery_code(account_id, code_hash)
    if burnt:
        uow.journal.write(AuditEvent(f"account:{account_id}", "account.recovery-code", f"account:{account_id}"), now)
    return burnt


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
    uow.accounts.add_session(
        {
            "token_hash": session.token_hash,
            "account_id": session.account_id,
            "box_id": session.box_id,
            "csrf": session.csrf,
            "created_at": to_us(session.created_at),
            "seen_at": to_us(now),
            "second_factor_done": session.second_factor_done,
            "device": session.device[:200],
        }
    )


def session(uow: Uow, token_hash: str, idle_s: int, max_s: int, now: datetime) -> tuple[WebSession, Account] | None:
    """Return a live session and its account; None when unknown, idle too long, too old or account disabled."""
    row = uow.accounts.session(token_hash)
    if row is None:
        return None
    found = _web_session(row)
    too_idle = now - found.seen_at > timedelta(seconds=idle_s)
    account = uow.accounts.by_id(found.account_id)
    if too_idle or now - found.created_at > timedelta(seconds=max_s) or account is None or not account.enabled:
        return None
    return found, account


def _web_session(row: Any) -> WebSession:
    return WebSession(
        token_hash=row.token_hash,
        account_id=row.account_id,
        box_id=row.box_id,
        csrf=row.csrf,
        created_at=from_us(row.created_at),
        seen_at=from_us(row.seen_at),
        second_factor_done=row.second_factor_done,
        device=row.device,
    )


def touch_session(uow: Uow, token_hash: str, second_factor_done: bool | None, now: datetime) -> None:
    """Note activity (callers do it once a minute at most) and, when given, the second factor."""
    values: dict[str, Any] = {"seen_at": to_us(now)}
    if second_factor_done is not None:
        values["second_factor_done"] = second_factor_done
    uow.accounts.update_session(token_hash, values)


def look_at_box(uow: Uow, token_hash: str, box_id: int, now: datetime) -> None:
    """Make a session look at another box; the caller has checked that its account may."""
    uow.accounts.update_session(token_hash, {"box_id": box_id, "seen_at": to_us(now)})


def set_locale(uow: Uow, account_id: int, locale: str, now: datetime) -> None:
    """Remember the language of an account's pages."""
    uow.accounts.set_locale(account_id, locale)


def close_session(uow: Uow, token_hash: str, now: datetime) -> None:
    """End a session."""
    uow.accounts.drop_session(token_hash)


def sessions(uow: Uow, account_id: int, now: datetime) -> tuple[WebSession, ...]:
    """Return the live sessions of an account, newest first."""
    return tuple(_web_session(row) for row in uow.accounts.sessions_of(account_id))
