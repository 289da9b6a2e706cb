"""Boxes, accounts, delegations; passwords and second factors; failures that lock; web sessions."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from mss.config import Limits
from mss.errors import Conflict
from mss.model.account import Account, AccountKind, Box, BoxState, Delegation, DelegationKind
from mss.model.address import Address
from mss.model.ins import INS, OID_NIA, Traits
from mss.model.party import BoxKind
from mss.model.secret import Secret
from mss.services import accounts
from mss.services.accounts import NewBox, Try, WebSession
from mss.store.keys import KeyMissing
from mss.store.store import Store
from tests.store.store_world import (
    CLINIC,
    MATRICULE,
    NOW,
    PATIENTS,
    TRAITS,
    account_for,
    clinic_box,
    later,
    patient_box,
)

LIMITS = Limits(login_failures_max=3, login_window_s=300, login_strangers_failures_max=5)
TRIED = Try("dominique", None, "web", "::1")


async def make_account(store: Store, login: str = "Dominique", kind: AccountKind = AccountKind.PATIENT) -> Account:
    return await store.write(accounts.create_account, login, kind, "Dominique É.", "hash", "cli", NOW)


# -- boxes -------------------------------------------------------------------------------------------------------------


async def test_a_box_is_given_back_as_it_was_made(store: Store) -> None:
    new = NewBox(
        Address("284052A32102552", PATIENTS),
        BoxKind.PATIENT,
        "Ange ÉTÉ",
        BoxState.UNOPENED,
        red_list=True,
        ins=INS("284052A32102552", OID_NIA),
        traits=Traits("CORSE", "ANGE", "19840501", "F"),
    )
    made = await store.write(accounts.create_box, new, "cli", NOW)
    assert made == Box(made.id, new.address, new.kind, new.state, new.display_name, True, new.ins, new.traits)
    assert await store.read(accounts.box_by_id, made.id, NOW) == made
    assert await store.read(accounts.box_by_address, Address("284052a32102552", PATIENTS), NOW) == made
    assert await store.read(accounts.box_by_id, 999, NOW) is None
    assert await store.read(accounts.box_by_address, Address("nobody", CLINIC), NOW) is None
    plain = await clinic_box(store, kind=BoxKind.ORG, display_name="")
    assert (plain.ins, plain.traits, plain.red_list, plain.kind) == (None, None, False, BoxKind.ORG)


async def test_an_address_has_one_box(store: Store) -> None:
    await clinic_box(store, "doctor")
    for local in ("doctor", "DOCTOR"):
        with pytest.raises(Conflict):
            await clinic_box(store, local)
    results = await asyncio.gather(*(clinic_box(store, "nurse") for _ in range(5)), return_exceptions=True)
    assert [type(one) for one in results].count(Box) == 1
    assert {type(one) for one in results} == {Box, Conflict}


async def test_a_boxs_state_changes_and_is_written_down(store: Store) -> None:
    box = await clinic_box(store)
    await store.write(accounts.set_box_state, box.id, BoxState.CLOSED, "cli", NOW)
    found = await store.read(accounts.box_by_id, box.id, NOW)
    assert found == replace(box, state=BoxState.CLOSED)
    [record, *_] = await store.read(lambda uow: uow.journal.newest(9, "box.state"))
    assert (record.event.facts, record.event.subject_box_id) == ({"state": "closed"}, box.id)


async def test_each_box_has_a_key_of_its_own(store: Store) -> None:
    one, two = await clinic_box(store, "one"), await clinic_box(store, "two")
    store._shared.keys.drop(one.id)
    with pytest.raises(KeyMissing):
        await store.read(accounts.box_by_id, one.id, NOW)
    assert await store.read(accounts.box_by_id, two.id, NOW) == two


# -- accounts ----------------------------------------------------------------------------------------------------------


async def test_a_login_is_one_accounts_whatever_its_case(store: Store) -> None:
    made = await make_account(store, "Dominique")
    assert (made.login, made.locale, made.enabled, made.totp_confirmed) == ("dominique", "fr", True, False)
    for login in ("dominique", "DOMINIQUE"):
        with pytest.raises(Conflict):
            await make_account(store, login)
        found = await store.read(accounts.credentials, login, "::1", LIMITS, NOW)
        assert found.account == made
    assert (await store.read(accounts.credentials, "nobody", "::1", LIMITS, NOW)).account is None
    await store.write(accounts.set_locale, made.id, "en", NOW)
    [(listed, boxes)] = await store.read(accounts.accounts, NOW)
    assert (listed, boxes) == (replace(made, locale="en"), ())


async def test_a_new_password_ends_sessions_and_forgets_failures(store: Store) -> None:
    account = await make_account(store)
    await store.write(accounts.open_session, session_of(account), NOW)
    await store.write(accounts.record_login, TRIED, True, NOW)
    for _ in range(5):
        await store.write(accounts.record_login, TRIED, False, NOW)
    assert await store.write(accounts.set_password, "Dominique", "new", "cli", NOW)
    assert not await store.write(accounts.set_password, "nobody", "new", "cli", NOW)
    found = await store.read(accounts.credentials, "dominique", "::1", LIMITS, NOW)
    assert found.account is not None
    assert (found.account.password_hash, found.locked_until) == ("new", None)
    # Who knew the old password may have been known: the networks are new to the login, too.
    assert not await store.read(lambda uow: uow.accounts.knows_network("dominique", "::/64", NOW))
    assert await store.read(accounts.sessions, account.id, NOW) == ()


async def test_a_hash_is_renewed_while_the_password_is_the_same(store: Store) -> None:
    account = await store.write(
        accounts.create_account, "claire", AccountKind.PROFESSIONAL, "Claire", "old", "cli", NOW
    )
    assert await store.write(accounts.renew_hash, account.id, "old", "dearer")
    assert not await store.write(accounts.renew_hash, account.id, "old", "late")
    found = await store.read(accounts.credentials, "claire", "192.0.2.1", Limits(), NOW)
    assert found.account is not None
    assert found.account.password_hash == "dearer"


async def test_delegations_last_until_their_end(store: Store) -> None:
    mine, theirs, ended = [await clinic_box(store, name) for name in ("z", "a", "b")]
    account = await account_for(store, mine)
    for box, ends in ((theirs, later(hours=1)), (ended, NOW)):
        member = Delegation(account.id, box.id, DelegationKind.MEMBER, ends)
        await store.write(accounts.delegate, member, "cli", NOW)
    found = await store.read(accounts.boxes_of, account.id, NOW)
    assert [(one.box, one.kind) for one in found] == [
        (mine, DelegationKind.OWNER),
        (theirs, DelegationKind.MEMBER),
    ]
    assert len(await store.read(accounts.boxes_of, account.id, later(hours=1))) == 1
    await store.write(accounts.delegate, Delegation(account.id, theirs.id, DelegationKind.CAREGIVER), "cli", NOW)
    found = await store.read(accounts.boxes_of, account.id, later(days=900))
    assert [one.kind for one in found] == [DelegationKind.OWNER, DelegationKind.CAREGIVER]


async def test_the_first_sign_in_opens_an_unopened_box(store: Store) -> None:
    box = await patient_box(store, state=BoxState.UNOPENED)
    owner, helper = await account_for(store, box), await account_for(store, box, DelegationKind.CAREGIVER)

    async def state() -> BoxState:
        found = await store.read(accounts.box_by_id, box.id, NOW)
        assert found is not None
        return found.state

    await store.write(accounts.record_login, TRIED, False, NOW)
    await store.write(accounts.record_login, Try(helper.login, helper.id, "web", "::1"), True, NOW)
    assert await state() is BoxState.UNOPENED
    await store.write(accounts.record_login, Try(owner.login, owner.id, "web", "::1"), True, NOW)
    assert await state() is BoxState.OPEN
    await store.write(accounts.set_box_state, box.id, BoxState.CLOSED, "cli", NOW)
    await store.write(accounts.record_login, Try(owner.login, owner.id, "web", "::1"), True, NOW)
    assert await state() is BoxState.CLOSED


# -- failures ----------------------------------------------------------------------------------------------------------


async def fail(store: Store, times: int, tried: Try, now: datetime = NOW) -> None:
    for _ in range(times):
        await store.write(accounts.record_login, tried, False, now)


async def locked_until(store: Store, source: str, now: datetime = NOW, login: str = "dominique") -> datetime | None:
    return (await store.read(accounts.credentials, login, source, LIMITS, now)).locked_until


@pytest.mark.parametrize(("failures", "locked"), [(2, False), (3, True), (4, True)])
@pytest.mark.parametrize("login", ["dominique", "nobody-at-all", "DOMINIQUE"])
async def test_failures_make_their_own_network_wait(store: Store, failures: int, locked: bool, login: str) -> None:
    await make_account(store)
    for number in range(failures):
        tried = Try(login, None, "web", f"2001:db8::{number}")
        await store.write(accounts.record_login, tried, False, later(seconds=number))
    now, until = later(seconds=failures), later(seconds=failures - 1 + 300)
    assert await locked_until(store, "2001:db8::99", now, login.lower()) == (until if locked else None)
    assert await locked_until(store, "2001:db8:0:1::99", now, login.lower()) is None, "another network"
    assert await locked_until(store, "2001:db8::99", now, "other") is None


async def test_the_window_moves_on_and_a_success_clears_it(store: Store) -> None:
    account = await make_account(store)
    for seconds in (0, 100, 200):
        await store.write(accounts.record_login, TRIED, False, later(seconds=seconds))

    async def locked(seconds: int) -> bool:
        return await locked_until(store, "::1", later(seconds=seconds)) is not None

    assert [await locked(seconds) for seconds in (250, 300, 301, 600)] == [True, True, False, False]
    await store.write(accounts.record_login, replace(TRIED, account_id=account.id), True, later(seconds=250))
    assert not await locked(250)
    actions = [one.event.action for one in await store.read(lambda uow: uow.journal.newest(9, "login"))]
    assert sorted(actions) == ["login.failed"] * 3 + ["login.ok"]


@pytest.mark.parametrize(("strangers", "waits_s"), [(4, None), (5, 5), (6, 6)])
async def test_many_strangers_slow_all_strangers_down_and_nobody_who_is_known(
    store: Store, strangers: int, waits_s: int | None
) -> None:
    await store.write(accounts.record_login, replace(TRIED, source="192.0.2.1"), True, NOW)
    for number in range(strangers):
        await fail(store, 1, replace(TRIED, source=f"198.51.100.{number}"))
    assert await locked_until(store, "192.0.2.1") is None
    expected = None if waits_s is None else later(seconds=waits_s)
    assert await locked_until(store, "203.0.113.9") == expected
    assert await locked_until(store, "203.0.113.9", later(days=1, seconds=1)) is None


async def test_failures_where_the_login_is_known_slow_nobody_else_down(store: Store) -> None:
    home = replace(TRIED, source="192.0.2.1")
    await store.write(accounts.record_login, home, True, NOW)
    await fail(store, 9, home)
    assert await locked_until(store, "192.0.2.1") == later(seconds=300)
    assert await locked_until(store, "203.0.113.9") is None


async def test_a_success_forgives_its_own_network_only(store: Store) -> None:
    for number in range(5):
        await fail(store, 1, replace(TRIED, source=f"198.51.100.{number}"))
    await store.write(accounts.record_login, replace(TRIED, source="192.0.2.1"), True, NOW)
    assert await locked_until(store, "203.0.113.9") == later(seconds=5)


@pytest.mark.parametrize(("codes", "locked"), [(2, False), (3, True), (4, True)])
async def test_wrong_codes_of_strangers_stop_all_of_them(store: Store, codes: int, locked: bool) -> None:
    await store.write(accounts.record_login, replace(TRIED, source="192.0.2.1"), True, NOW)
    for number in range(codes):
        await fail(store, 1, replace(TRIED, source=f"198.51.100.{number}", code=True))
    assert await locked_until(store, "192.0.2.1") is None
    until = await locked_until(store, "203.0.113.9")
    assert (until == later(seconds=300)) is locked


@pytest.mark.parametrize(("days", "known"), [(89, True), (90, True), (90.01, False)])
async def test_a_network_is_known_for_a_while(store: Store, days: float, known: bool) -> None:
    await store.write(accounts.record_login, TRIED, True, NOW)
    now = later(days=days)
    for number in range(5):
        await fail(store, 1, replace(TRIED, source=f"198.51.100.{number}"), now)
    assert (await locked_until(store, "::1", now) is None) is known


async def test_a_failure_names_nobody_in_the_store(store: Store) -> None:
    await store.write(accounts.record_login, Try("somebody@secret.test", None, "imap", "192.0.2.1"), False, NOW)
    records = await store.read(lambda uow: uow.journal.newest(9))
    assert "somebody" not in repr(records)


# -- second factor -----------------------------------------------------------------------------------------------------


async def test_a_code_is_good_once_and_confirms_the_factor(store: Store) -> None:
    account = await make_account(store)
    assert await store.read(accounts.second_factor, account.id, NOW) is None
    await store.write(accounts.set_second_factor, account.id, Secret(b"JBSWY3DP"), ("c1", "c2"), NOW)
    factor = await store.read(accounts.second_factor, account.id, NOW)
    assert factor == accounts.SecondFactor(Secret(b"JBSWY3DP"), False, 0)
    assert await store.write(accounts.use_code, account.id, 100, NOW)
    for step in (100, 99, 1):
        assert not await store.write(accounts.use_code, account.id, step, NOW), "replayed"
    assert await store.write(accounts.use_code, account.id, 101, NOW)
    factor = await store.read(accounts.second_factor, account.id, NOW)
    assert factor == accounts.SecondFactor(Secret(b"JBSWY3DP"), True, 101)
    tries = await asyncio.gather(*(store.write(accounts.use_code, account.id, 102, NOW) for _ in range(6)))
    assert tries.count(True) == 1


async def test_a_recovery_code_burns(store: Store) -> None:
    account, other = await make_account(store), await make_account(store, "other")
    await store.write(accounts.set_second_factor, account.id, Secret(b"A"), ("c1", "c2"), NOW)
    assert not await store.write(accounts.use_recovery_code, other.id, "c1", NOW)
    tries = await asyncio.gather(*(store.write(accounts.use_recovery_code, account.id, "c1", NOW) for _ in range(6)))
    assert tries.count(True) == 1
    assert not await store.write(accounts.use_recovery_code, account.id, "c3", NOW)
    await store.write(accounts.set_second_factor, account.id, Secret(b"B"), ("d1",), NOW)
    assert not await store.write(accounts.use_recovery_code, account.id, "c2", NOW), "of the factor before"
    assert await store.write(accounts.use_recovery_code, account.id, "d1", NOW)
    factor = await store.read(accounts.second_factor, account.id, NOW)
    assert factor is not None
    assert (factor.confirmed, factor.last_step) == (False, 0)


# -- sessions ----------------------------------------------------------------------------------------------------------


def session_of(account: Account, token: str = "hash", **more: Any) -> WebSession:
    facts: dict[str, Any] = {"second_factor_done": False, "device": "Firefox", **more}
    return WebSession(token, account.id, 1, "csrf", NOW, NOW, **facts)


IDLE_S, MAX_S = 900, 3600


@pytest.mark.parametrize(
    ("touched", "seen", "live"),
    [
        ((), 0, True),
        ((), 900, True),
        ((), 901, False),
        ((800,), 1700, True),
        ((800,), 1701, False),
        (tuple(range(0, 3600, 600)), 3600, True),
        (tuple(range(0, 3601, 600)), 3601, False),
    ],
)
async def test_a_session_lives_so_long(store: Store, touched: tuple[int, ...], seen: int, live: bool) -> None:
    account = await make_account(store)
    await store.write(accounts.open_session, session_of(account), NOW)
    for seconds in touched:
        await store.write(accounts.touch_session, "hash", None, later(seconds=seconds))
    found = await store.read(accounts.session, "hash", IDLE_S, MAX_S, later(seconds=seen))
    assert (found is not None) is live


async def test_a_session_remembers_what_it_is_for(store: Store) -> None:
    account = await make_account(store)
    await store.write(accounts.open_session, session_of(account, device="x" * 500), NOW)
    found = await store.read(accounts.session, "hash", IDLE_S, MAX_S, NOW)
    assert found == (session_of(account, device="x" * 200), account)
    await store.write(accounts.touch_session, "hash", True, later(seconds=5))
    await store.write(accounts.look_at_box, "hash", 7, later(seconds=9))
    found = await store.read(accounts.session, "hash", IDLE_S, MAX_S, NOW)
    assert found is not None
    assert (found[0].second_factor_done, found[0].box_id, found[0].seen_at) == (True, 7, later(seconds=9))
    assert await store.read(accounts.session, "another", IDLE_S, MAX_S, NOW) is None


async def test_sessions_are_listed_and_ended(store: Store) -> None:
    account, other = await make_account(store), await make_account(store, "other")
    for number in range(3):
        await store.write(accounts.open_session, session_of(account, f"t{number}"), later(seconds=number))
    await store.write(accounts.open_session, session_of(other, "theirs"), NOW)
    listed = await store.read(accounts.sessions, account.id, NOW)
    assert [one.token_hash for one in listed] == ["t2", "t1", "t0"]
    await store.write(accounts.close_session, "t1", NOW)
    await store.write(accounts.close_session, "t1", NOW)
    assert await store.read(accounts.session, "t1", IDLE_S, MAX_S, NOW) is None
    assert len(await store.read(accounts.sessions, account.id, NOW)) == 2
    assert len(await store.read(accounts.sessions, other.id, NOW)) == 1


async def test_a_session_of_a_disabled_account_is_none(store: Store) -> None:
    account = await make_account(store)
    await store.write(accounts.open_session, session_of(account), NOW)
    await store.write(lambda uow: uow.accounts._update(account.id, enabled=False))
    assert await store.read(accounts.session, "hash", IDLE_S, MAX_S, NOW) is None


async def test_an_ins_follows_its_address(store: Store) -> None:
    box = await patient_box(store)
    assert box.ins == INS(MATRICULE)
    assert (box.traits, box.address.local) == (TRAITS, MATRICULE)
    assert NOW - timedelta(0) == later()
