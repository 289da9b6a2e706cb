"""Boxes, accounts, delegations, second factors, sign-in failures and web sessions.

Names and traits are sealed: a box's under its own key, an account's name and second factor under the operator's.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)

from mss.clock import from_us, to_us
from mss.model.account import Account, AccountKind, Box, BoxState, Delegation, DelegationKind
from mss.model.address import Address, Domain
from mss.model.ins import INS, Traits
from mss.model.party import BoxKind
from mss.policy.access import in_force
from mss.policy.backoff import Failures, Tally
from mss.store import crypto
from mss.store.engine import among, bulk, reserved
from mss.store.hot import Hot
from mss.store.sealing import OPERATOR, Sealing
from mss.store.tables import (
    accounts,
    boxes,
    delegations,
    login_failures,
    login_networks,
    recovery_codes,
    submission_budgets,
    web_sessions,
)

_DELEGATE = Hot.upsert(delegations, ["account_id", "box_id"], ["kind", "ends_at", "since"])
_BUDGET = Hot.upsert(submission_budgets, ["account_id"], ["whole_at"])
_ADD_SESSION = Hot.new(web_sessions)
_KNOW_NETWORK = Hot.upsert(login_networks, ["login_digest", "network_digest"], ["seen_at"])
_BOX = [
    boxes.c[name]
    for name in (
        "id",
        "local",
        "domain",
        "kind",
        "state",
        "display_name",
        "red_list",
        "ins_oid",
        "traits",
        "patients_opposed",
    )
]
_RIGHT = [
    delegations.c.account_id.label("right_account"),
    delegations.c.box_id.label("right_box"),
    delegations.c.kind.label("right_kind"),
    delegations.c.ends_at.label("right_ends"),
    delegations.c.since.label("right_since"),
]
_BOX_BY_KEY = Hot(select(*_BOX).where(boxes.c.address_key == bindparam("address_key")))
_BOX_BY_ID = Hot(select(*_BOX).where(boxes.c.id == bindparam("box_id")))
_ACCOUNT = (
    accounts.c.id, accounts.c.login, accounts.c.kind, accounts.c.display_name, accounts.c.password_hash,
    accounts.c.enabled, accounts.c.totp_confirmed, accounts.c.locale,
)  # fmt: skip
_BY_LOGIN = Hot(select(*_ACCOUNT).where(accounts.c.login == bindparam("login")))
_BY_ID = Hot(select(*_ACCOUNT).where(accounts.c.id == bindparam("account_id")))
_BOXES_OF = Hot(
    select(*_BOX, *_RIGHT)
    .join(delegations, delegations.c.box_id == boxes.c.id)
    .where(
        delegations.c.account_id == bindparam("account_id"),
        or_(delegations.c.ends_at.is_(None), delegations.c.ends_at > bindparam("now")),
    )
    .order_by(delegations.c.kind != str(DelegationKind.OWNER), boxes.c.address_key)
)
_NAME, _TRAITS, _ACCOUNT_NAME, _TOTP = b"box name", b"box traits", b"account name", b"totp secret"


@dataclass(frozen=True, slots=True)
class BoxRow:
    """A box to make, one of many."""

    address: Address
    kind: BoxKind
    state: BoxState
    display_name: str
    red_list: bool
    ins: INS | None
    traits: Traits | None


_BULK = (
    "id", "address_key", "local", "domain", "kind", "state", "display_name", "red_list", "ins_oid", "traits",
    "uidvalidity", "created_at",
)  # fmt: skip


class Accounts:
    """Boxes and accounts inside one unit."""

    def __init__(self, connection: Connection, sealing: Sealing) -> None:
        self._connection = connection
        self._sealing = sealing

    # -- boxes ---------------------------------------------------------------------------------------------------

    def add_box(
        self,
        address: Address,
        kind: BoxKind,
        state: BoxState,
        display_name: str,
        *,
        red_list: bool,
        ins: INS | None,
        traits: Traits | None,
        now: datetime,
    ) -> int:
        """Create a box and its key; returns its id. The address must be free."""
        row = {
            "address_key": address.key,
            "local": address.local,
            "domain": address.domain,
            "kind": kind,
            "state": state,
            "display_name": b"",
            "red_list": red_list,
            "ins_oid": ins.oid if ins else None,
            "traits": None,
            "uidvalidity": 0,
            "created_at": to_us(now),
        }
        box_id = int(self._connection.execute(insert(boxes).returning(boxes.c.id), row).scalar_one())
        self._sealing.create_owner(box_id, now)
        self.describe_box(box_id, display_name, traits)
        return box_id

    def known_addresses(self, keys: Collection[str]) -> frozenset[str]:
        """Return those of some addresses that have a box."""
        return frozenset(key for (key,) in among(self._connection, (boxes.c.address_key,), keys))

    def add_boxes(self, new: Sequence[BoxRow], uidvalidity: int, now: datetime) -> list[int]:
        """Create many boxes with their keys; returns their ids. The addresses must be free.

        `uidvalidity` is the last one that their mailboxes will be given.
        """
        ids = reserved(self._connection, boxes, len(new))
        keys, at = self._sealing.create_owners(ids, now), to_us(now)
        rows = []
        for box_id, key, one in zip(ids, keys, new, strict=True):
            cipher = crypto.opened(key)
            name = crypto.seal_with(cipher, one.display_name.encode("utf-8", "surrogatepass"), _NAME)
            traits = None if one.traits is None else crypto.seal_with(cipher, _written(one.traits), _TRAITS)
            rows.append((
                box_id, one.address.key, one.address.local, str(one.address.domain), one.kind.value, one.state.value,
                name, one.red_list, one.ins.oid if one.ins else None, traits, uidvalidity, at,
            ))  # fmt: skip
        bulk(self._connection, boxes, _BULK, rows)
        return ids

    def describe_box(self, box_id: int, display_name: str, traits: Traits | None) -> None:
        """Set a box's sealed name and traits."""
        values: dict[str, Any] = {"display_name": self._sealing.seal_text(box_id, display_name, _NAME)}
        if traits is not None:
            values["traits"] = self._sealing.seal(box_id, _written(traits), _TRAITS)
        self._connection.execute(update(boxes).where(boxes.c.id == box_id).values(values))

    def box_by_address(self, address: Address) -> Box | None:
        """Return the box of an address."""
        row = _BOX_BY_KEY.run(self._connection, {"address_key": address.key}).fetchone()
        return None if row is None else self._box(row)

    def box_by_id(self, box_id: int) -> Box | None:
        """Return a box."""
        row = _BOX_BY_ID.run(self._connection, {"box_id": box_id}).fetchone()
        return None if row is None else self._box(row)

    def set_state(self, box_id: int, state: BoxState) -> None:
        """Set a box's state."""
        self._connection.execute(update(boxes).where(boxes.c.id == box_id).values(state=state))

    def oppose_patients(self, box_id: int, opposed: bool) -> None:
        """Let a professional's box take no letters from patients, or take them again."""
        self._connection.execute(update(boxes).where(boxes.c.id == box_id).values(patients_opposed=opposed))

    def _box(self, row: Sequence[Any]) -> Box:
        """Make a box of the columns of `_BOX`."""
        box_id, local, domain, kind, state, name, red_list, ins_oid, traits, opposed = row[: len(_BOX)]
        return Box(
            id=box_id,
            address=Address(local, Domain(domain)),
            kind=BoxKind(kind),
            state=BoxState(state),
            display_name=self._sealing.unseal_text(box_id, name, _NAME),
            red_list=bool(red_list),
            ins=INS(local.upper(), ins_oid) if ins_oid else None,
            traits=None if traits is None else Traits(*self._sealing.unseal_json(box_id, traits, _TRAITS)),
            patients_opposed=bool(opposed),
        )

    # -- accounts ------------------------------------------------------------------------------------------------

    def add(self, login: str, kind: AccountKind, display_name: str, password_hash: str, now: datetime) -> int:
        """Create an account; the login must be free."""
        row = {
            "login": login.lower(),
            "kind": kind,
            "display_name": self._sealing.seal_text(OPERATOR, display_name, _ACCOUNT_NAME),
            "password_hash": password_hash,
            "enabled": True,
            "locale": "fr",
            "totp_secret": None,
            "totp_confirmed": False,
            "totp_last_step": 0,
            "created_at": to_us(now),
        }
        return int(self._connection.execute(insert(accounts).returning(accounts.c.id), row).scalar_one())

    def by_login(self, login: str) -> Account | None:
        """Return the account of a login."""
        return self._account(_BY_LOGIN.run(self._connection, {"login": login.lower()}).fetchone())

    def by_id(self, account_id: int) -> Account | None:
        """Return an account."""
        return self._account(_BY_ID.run(self._connection, {"account_id": account_id}).fetchone())

    def all(self) -> tuple[Account, ...]:
        """Return all accounts, by login."""
        rows = self._connection.execute(select(*_ACCOUNT).order_by(accounts.c.login)).all()
        return tuple(account for row in rows if (account := self._account(row)))

    def set_password(self, account_id: int, password_hash: str) -> None:
        """Store a new password hash."""
        self._update(account_id, password_hash=password_hash)

    def renew_hash(self, account_id: int, before: str, after: str) -> bool:
        """Store a new hash in the place of one; False when that one is not there any more."""
        mine = and_(accounts.c.id == account_id, accounts.c.password_hash == before)
        return self._connection.execute(update(accounts).where(mine).values(password_hash=after)).rowcount == 1

    def set_locale(self, account_id: int, locale: str) -> None:
        """Store the language of an account's pages."""
        self._update(account_id, locale=locale)

    def _update(self, account_id: int, **values: Any) -> None:
        self._connection.execute(update(accounts).where(accounts.c.id == account_id).values(values))

    def _account(self, row: Sequence[Any] | None) -> Account | None:
        """Make an account of the columns of `_ACCOUNT`, a row's first."""
        if row is None:
            return None
        number, login, kind, name, password_hash, enabled, totp_confirmed, locale = row[: len(_ACCOUNT)]
        return Account(
            id=number,
            login=login,
            kind=AccountKind(kind),
            display_name=self._sealing.unseal_text(OPERATOR, name, _ACCOUNT_NAME),
            password_hash=password_hash,
            enabled=bool(enabled),
            totp_confirmed=bool(totp_confirmed),
            locale=locale,
        )

    # -- delegations ---------------------------------------------------------------------------------------------

    def delegate(self, delegation: Delegation) -> None:
        """Let an account act for a box, or change on what ground."""
        row = {
            "account_id": delegation.account_id,
            "box_id": delegation.box_id,
            "kind": delegation.kind,
            "ends_at": None if delegation.ends_at is None else to_us(delegation.ends_at),
            "since": None if delegation.since is None else to_us(delegation.since),
        }
        _DELEGATE.run(self._connection, row)

    def delegations_of(self, account_id: int, now: datetime) -> tuple[tuple[Box, DelegationKind], ...]:
        """Return the boxes that an account may act for now: its own first, then by address."""
        rows = _BOXES_OF.run(self._connection, {"account_id": account_id, "now": to_us(now)}).fetchall()
        found = ((self._box(row), _delegation(row)) for row in rows)
        # What was written down may outlive a child's majority.
        return tuple((box, right.kind) for box, right in found if in_force(right, box.traits, now))

    def is_represented(self, box_id: int, now: datetime) -> bool:
        """Say whether a legal representative may act for a box now."""
        kind = delegations.c.kind == DelegationKind.LEGAL_REPRESENTATIVE
        query = select(*_RIGHT).where(and_(delegations.c.box_id == box_id, kind))
        rights = [_delegation(row) for row in self._connection.execute(query)]
        box = self.box_by_id(box_id) if rights else None
        return box is not None and any(in_force(right, box.traits, now) for right in rights)

    def delegations_to(self, account_id: int, box_id: int) -> tuple[Delegation, ...]:
        """Return an account's delegation for a box, ended ones too."""
        where = and_(delegations.c.account_id == account_id, delegations.c.box_id == box_id)
        return tuple(_delegation(row) for row in self._connection.execute(select(*_RIGHT).where(where)))

    def delegations_on(self, box_id: int) -> tuple[tuple[Account, Delegation], ...]:
        """Return who may act for a box, ended ones too, by login."""
        query = (
            select(*_ACCOUNT, *_RIGHT)
            .join(delegations, delegations.c.account_id == accounts.c.id)
            .where(delegations.c.box_id == box_id)
            .order_by(accounts.c.login)
        )
        rows = ((self._account(row), _delegation(row)) for row in self._connection.execute(query))
        return tuple((account, right) for account, right in rows if account is not None)

    def end_delegation(self, account_id: int, box_id: int) -> bool:
        """End an account's right to act for a box; False when it had none."""
        where = and_(delegations.c.account_id == account_id, delegations.c.box_id == box_id)
        return self._connection.execute(delete(delegations).where(where)).rowcount == 1

    # -- budgets of submission -----------------------------------------------------------------------------------

    def budget_whole_at(self, account_id: int) -> datetime | None:
        """Return when an account's budget will be whole again; None when it was never used."""
        where = submission_budgets.c.account_id == account_id
        at = self._connection.execute(select(submission_budgets.c.whole_at).where(where)).scalar()
        return None if at is None else from_us(at)

    def spend_budget(self, account_id: int, whole_at: datetime) -> None:
        """Note when the budget will be whole again."""
        _BUDGET.run(self._connection, {"account_id": account_id, "whole_at": to_us(whole_at)})

    # -- second factor -------------------------------------------------------------------------------------------

    def totp(self, account_id: int) -> tuple[bytes, bool, int] | None:
        """Return (secret, confirmed, last step used)."""
        query = select(accounts.c.totp_secret, accounts.c.totp_confirmed, accounts.c.totp_last_step)
        row = self._connection.execute(query.where(accounts.c.id == account_id)).first()
        if row is None or row.totp_secret is None:
            return None
        secret = self._sealing.unseal(OPERATOR, row.totp_secret, _TOTP)
        return secret, row.totp_confirmed, row.totp_last_step

    def set_totp(self, account_id: int, secret: bytes, recovery_hashes: Sequence[str]) -> None:
        """Store an unconfirmed secret and fresh recovery codes, dropping older ones."""
        sealed = self._sealing.seal(OPERATOR, secret, _TOTP)
        self._update(account_id, totp_secret=sealed, totp_confirmed=False, totp_last_step=0)
        self._connection.execute(delete(recovery_codes).where(recovery_codes.c.account_id == account_id))
        rows = [{"account_id": account_id, "code_hash": code_hash} for code_hash in recovery_hashes]
        if rows:
            self._connection.execute(insert(recovery_codes), rows)

    def advance_totp(self, account_id: int, step: int) -> bool:
        """Confirm the factor and note the step as used; False when that step or a later one was used before."""
        where = and_(accounts.c.id == account_id, accounts.c.totp_last_step < step)
        statement = update(accounts).where(where).values(totp_last_step=step, totp_confirmed=True)
        return self._connection.execute(statement).rowcount == 1

    def burn_recovery_code(self, account_id: int, code_hash: str) -> bool:
        """Drop a recovery code; False when there is none such."""
        where = and_(recovery_codes.c.account_id == account_id, recovery_codes.c.code_hash == code_hash)
        return self._connection.execute(delete(recovery_codes).where(where)).rowcount == 1

    # -- sign-in failures ----------------------------------------------------------------------------------------

    def failures(self, login: str, network: str, window_since: datetime, day_since: datetime) -> Failures:
        """Return what failed for a login, as seen from a network; `known` is left out."""
        at = login_failures.c.at
        query = select(
            *_tally(login_failures.c.network_digest == self._network(network), at >= to_us(window_since)),
            *_tally(login_failures.c.code, login_failures.c.stranger, at >= to_us(window_since)),
            *_tally(login_failures.c.stranger, at >= to_us(day_since)),
        ).where(and_(login_failures.c.login_digest == self._login(login), at >= to_us(min(window_since, day_since))))
        row = self._connection.execute(query).one()
        here, codes, strangers = (_tallied(row[first], row[first + 1]) for first in (0, 2, 4))
        return Failures(here, codes, strangers)

    def add_failure(self, login: str, network: str, now: datetime, *, stranger: bool, code: bool) -> None:
        """Note a failed sign-in."""
        row = {"login_digest": self._login(login), "network_digest": self._network(network), "at": to_us(now)}
        self._connection.execute(insert(login_failures), {**row, "stranger": stranger, "code": code})

    def clear_failures(self, login: str, network: str | None = None) -> None:
        """Forget the failures of a login, from one network or from all."""
        where = login_failures.c.login_digest == self._login(login)
        if network is not None:
            where = and_(where, login_failures.c.network_digest == self._network(network))
        self._connection.execute(delete(login_failures).where(where))

    def forget_failures(self, before: datetime, limit: int) -> int:
        """Drop failures from before an instant, oldest first, so many at most; returns how many went."""
        at = login_failures.c.at
        old = select(login_failures.c.id).where(at < to_us(before)).order_by(at).limit(limit)
        return self._connection.execute(delete(login_failures).where(login_failures.c.id.in_(old))).rowcount

    def know_network(self, login: str, network: str, now: datetime) -> None:
        """Note that a login succeeded from a network."""
        row = {"login_digest": self._login(login), "network_digest": self._network(network), "seen_at": to_us(now)}
        _KNOW_NETWORK.run(self._connection, row)

    def knows_network(self, login: str, network: str, since: datetime) -> bool:
        """Say whether a login succeeded from a network since an instant."""
        same = and_(
            login_networks.c.login_digest == self._login(login),
            login_networks.c.network_digest == self._network(network),
        )
        query = select(login_networks.c.seen_at).where(and_(same, login_networks.c.seen_at >= to_us(since)))
        return self._connection.execute(query).first() is not None

    def forget_networks_of(self, login: str) -> None:
        """Forget from where a login succeeded: its password was not its holder's alone."""
        self._connection.execute(delete(login_networks).where(login_networks.c.login_digest == self._login(login)))

    def forget_networks(self, before: datetime, limit: int) -> int:
        """Drop networks not seen since an instant, oldest first, so many at most; returns how many went."""
        table = login_networks.c
        old = select(table.login_digest, table.network_digest).where(table.seen_at < to_us(before))
        some = old.order_by(table.seen_at).limit(limit)
        where = tuple_(table.login_digest, table.network_digest).in_(some)
        return self._connection.execute(delete(login_networks).where(where)).rowcount

    def _network(self, network: str) -> bytes:
        return self._sealing.digest(b"login network", network.encode("utf-8", "replace"))

    def _login(self, login: str) -> bytes:
        return self._sealing.digest(b"login", login.lower().encode("utf-8", "replace"))

    # -- web sessions --------------------------------------------------------------------------------------------

    def add_session(self, values: dict[str, Any]) -> None:
        """Store a web session (columns of the table)."""
        _ADD_SESSION.run(self._connection, values)

    def session(self, token_hash: str) -> Row[Any] | None:
        """Return a session's row."""
        return self._connection.execute(select(web_sessions).where(web_sessions.c.token_hash == token_hash)).first()

    def sessions_of(self, account_id: int) -> Sequence[Row[Any]]:
        """Return all sessions of an account, newest first."""
        query = select(web_sessions).where(web_sessions.c.account_id == account_id)
        return self._connection.execute(query.order_by(web_sessions.c.seen_at.desc())).all()

    def update_session(self, token_hash: str, values: dict[str, Any]) -> None:
        """Change columns of a session."""
        self._connection.execute(update(web_sessions).where(web_sessions.c.token_hash == token_hash).values(values))

    def drop_session(self, token_hash: str) -> None:
        """End a session."""
        self._connection.execute(delete(web_sessions).where(web_sessions.c.token_hash == token_hash))

    def drop_idle_sessions(self, seen_before: datetime, limit: int) -> int:
        """End sessions last seen before an instant, oldest first, so many at most; returns how many ended."""
        seen_at = web_sessions.c.seen_at
        old = select(web_sessions.c.token_hash).where(seen_at < to_us(seen_before)).order_by(seen_at).limit(limit)
        return self._connection.execute(delete(web_sessions).where(web_sessions.c.token_hash.in_(old))).rowcount

    def drop_sessions_of(self, account_id: int) -> None:
        """End all sessions of an account."""
        self._connection.execute(delete(web_sessions).where(web_sessions.c.account_id == account_id))


def _delegation(row: Sequence[Any]) -> Delegation:
    """Make a delegation of the columns of `_RIGHT`, a row's last."""
    account_id, box_id, kind, *instants = row[-len(_RIGHT) :]
    ends, since = (None if at is None else from_us(at) for at in instants)
    return Delegation(account_id, box_id, DelegationKind(kind), ends, since)


def _tally(*conditions: ColumnElement[bool]) -> tuple[ColumnElement[int], ColumnElement[int]]:
    """Return how many failures meet all conditions, and the newest one's time, as columns."""
    met = case((and_(*conditions), login_failures.c.at))
    return func.count(met), func.max(met)


def _tallied(count: int, newest: int | None) -> Tally:
    return Tally(count, None if newest is None else from_us(newest))


_COMPACT = json.JSONEncoder(separators=(",", ":")).encode


def _written(traits: Traits) -> bytes:
    fields = [traits.birth_name, traits.first_name, traits.birth_date, traits.sex]
    return _COMPACT(fields).encode()
