"""The end of boxes: nobody's is closed unheard, an archive opens again, what is erased is gone and certified."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from mss.config import Config, FolderRuleConfig, LifeConfig
from mss.errors import Conflict
from mss.model.account import Box, BoxState
from mss.model.mailbox import INBOX, Quota
from mss.policy.retention import Inactivity
from mss.services import accounts, appending, lives, mailbox
from mss.services.accounts import Try
from mss.services.house import House as Housing
from mss.store import check
from mss.store.lives import Life
from mss.store.store import Store, Uow
from mss.upkeep import Upkeep, erase
from tests.services.services_world import HOSTED, raw
from tests.store.store_world import NOW, account_for, clinic_box, later, patient_box

RULES = LifeConfig()
HOUSING = Housing(HOSTED.hostname, HOSTED.domains, HOSTED.limits)


class Noted:
    """Metrics that nobody reads."""

    def kept_up(self, job: str, removed: int, now: datetime) -> None: ...


@pytest.fixture
async def box(store: Store) -> Box:
    made = await clinic_box(store)
    await account_for(store, made, login="doctor")
    return made


async def sweep(store: Store, days: float, rules: LifeConfig = RULES) -> tuple[int, int, tuple[int, ...]]:
    """Do what is due; returns how many holders were told and boxes closed, and whose archives are over."""
    found = await store.read(lives.due, rules, 0, 50, later(days=days))
    done = [await store.write(lives.settle, one, rules, HOUSING, later(days=days)) for one in found.boxes]
    return done.count(Inactivity.NOTIFY), done.count(Inactivity.DELETE), found.over


async def sign_in(store: Store, days: float) -> None:
    account = await store.read(lambda uow: uow.accounts.by_login("doctor"))
    assert account is not None
    tried = Try("doctor", account.id, "PLAIN", "192.0.2.1")
    await store.write(accounts.record_login, tried, True, later(days=days))


async def life(store: Store, box: Box) -> Life:
    found = await store.read(lambda uow: uow.lives.of(box.id))
    assert found is not None
    return found


def letters_in(uow: Uow, box_id: int, name: str = INBOX) -> int:
    return mailbox.status(uow, mailbox.find(uow, box_id, name, NOW).id, NOW).messages


def append(uow: Uow, box_id: int, octets: bytes, name: str = INBOX, at: datetime = NOW) -> None:
    appending.append(uow, mailbox.find(uow, box_id, name, NOW).id, raw(octets), (), None, "test", at)


async def test_an_unused_box_is_closed_after_a_notice_only(store: Store, box: Box) -> None:
    assert await sweep(store, 334) == (0, 0, ())
    assert await sweep(store, 335) == (1, 0, ())
    assert await store.read(letters_in, box.id) == 1, "the notice stands in the box"
    assert await sweep(store, 364.9) == (0, 0, ())
    assert await sweep(store, 365) == (0, 1, ())
    found = await life(store, box)
    assert (found.state, found.closed_at) == (BoxState.CLOSED, later(days=365))
    assert await sweep(store, 366) == (0, 0, ())


async def test_a_late_notice_gives_the_whole_time_to_answer(store: Store, box: Box) -> None:
    assert await sweep(store, 1000) == (1, 0, ())
    assert await sweep(store, 1029.9) == (0, 0, ())
    assert await sweep(store, 1030) == (0, 1, ())


@pytest.mark.parametrize("how", ["sign in", "oppose"])
async def test_whoever_answers_keeps_the_box(store: Store, box: Box, how: str) -> None:
    await sweep(store, 335)
    if how == "sign in":
        await sign_in(store, 340)
    else:
        await store.write(lives.keep, box, "cli", later(days=340))
    assert await sweep(store, 400) == (0, 0, ())
    assert await sweep(store, 340 + 335) == (1, 0, ())


async def test_sign_ins_are_noted_once_a_day(store: Store, box: Box) -> None:
    for days, noted in ((1, 1), (1.5, 1), (2, 2), (2.9, 2)):
        await sign_in(store, days)
        assert (await life(store, box)).signed_in_at == later(days=noted)


@pytest.mark.parametrize("kind", ["never opened", "shared", "rule off"])
async def test_these_boxes_are_never_closed_for_want_of_use(store: Store, kind: str) -> None:
    if kind == "never opened":
        await patient_box(store, state=BoxState.UNOPENED)
    elif kind == "shared":
        await clinic_box(store, kind="ORG")
    else:
        await clinic_box(store)
    rules = replace(RULES, close_inactive=kind != "rule off")
    assert await sweep(store, 9999, rules) == (0, 0, ())


async def test_a_closed_box_is_an_archive_for_its_time_and_opens_again(store: Store, box: Box) -> None:
    await store.write(append, box.id, b"Subject: kept\r\n\r\n")
    await store.write(lives.close, box.id, "asked", "cli", NOW)
    assert await sweep(store, 3652.9) == (0, 0, ())
    assert await sweep(store, 3653) == (0, 0, (box.id,))
    await store.write(lives.reopen, box.id, "cli", later(days=3653))
    assert await sweep(store, 3654) == (0, 0, ())
    assert await store.read(letters_in, box.id) == 1
    assert (await life(store, box)).state is BoxState.OPEN


async def test_an_erased_box_is_gone_and_nobody_elses_copy_is(store: Store, box: Box) -> None:
    other = await patient_box(store)
    shared = await account_for(store, other, login="shared")
    for one in (box, other):
        await store.write(append, one.id, b"Subject: both\r\n\r\n")
        await store.write(append, one.id, b"Subject: large\r\n\r\n" + b"x" * 20_000)
        await store.write(lambda uow, box_id: uow.quotas.set_for_box(box_id, Quota(10**9, None)), one.id)
    record = await erase(store, box.id, "asked", "cli", lambda: NOW)
    assert record.event.facts["messages"] == 2
    assert record.event.facts["octets"] == 20_000 + 2 * len(b"Subject: both\r\n\r\n") + 1
    assert await store.read(lambda uow: uow.lives.by_address(box.address)) is None
    assert await store.read(lambda uow: uow.accounts.by_login("doctor")) is None
    assert await store.read(lambda uow: uow.accounts.by_id(shared.id)) is not None
    assert await store.read(letters_in, other.id) == 2
    assert list(await store.read(lambda uow: uow.quotas.all())) == [f"box:{other.id}"]
    assert [one.finding async for one in check.check(store, octets=True, repair=False)] == []
    # The address is free again, and a new box there begins with nothing.
    again = await clinic_box(store)
    assert (again.id != box.id, again.address) == (True, box.address)
    assert await store.read(letters_in, again.id) == 0


async def test_an_erasure_cut_off_is_gone_on_with_and_says_the_same(store: Store, box: Box) -> None:
    for number in range(5):
        await store.write(append, box.id, b"Subject: %d\r\n\r\n" % number)
    tally = lives.Tally()
    while tally.after is not None:
        await store.read(tally.take, box.id, 2)
    found = await store.read(lives.erasure, box.id, tally)
    await store.write(lives.begin_erasure, found, "asked", "cli", NOW)
    await store.drop_key(box.id)
    assert await store.write(lives.erase_some, box.id, 3, NOW) == 3
    record = await erase(store, box.id, "asked", "cli", lambda: NOW)
    assert (record.event.facts["messages"], record.event.facts["digest"]) == (5, found.digest)
    with pytest.raises(Conflict):
        await erase(store, 999, "asked", "cli", lambda: NOW)


async def test_folders_with_a_rule_are_emptied_of_what_is_too_old(store: Store, config: Config, box: Box) -> None:
    other = await clinic_box(store, "nurse")
    for one in (box, other):
        for number in range(3):
            await store.write(append, one.id, b"Subject: %d\r\n\r\n" % number, "Trash", later(days=number))
            await store.write(append, one.id, b"Subject: %d\r\n\r\n" % number)
    ruled = replace(config, life=replace(RULES, folders=(FolderRuleConfig("Trash", 30),)))
    keeping = Upkeep(store, ruled, lambda: later(days=31), Noted())
    assert await keeping._expire_folders() == 4
    for one in (box, other):
        assert await store.read(letters_in, one.id, "Trash") == 1
        assert await store.read(letters_in, one.id) == 3
    assert await keeping._expire_folders() == 0


async def test_the_upkeep_closes_and_erases(store: Store, config: Config, box: Box) -> None:
    hands = [later(days=335)]
    keeping = Upkeep(store, config, lambda: hands[0], Noted())
    for days, erased in ((335, 0), (365, 0), (365 + 3652, 0), (365 + 3653, 1)):
        hands[0] = later(days=days)
        assert await keeping._sweep_lives() == erased
    assert await store.read(lambda uow: uow.lives.of(box.id)) is None


async def test_what_is_known_of_letters_long_gone_is_forgotten(store: Store) -> None:
    assert await store.write(lives.forget_deliveries, 10, later(days=400)) == 0


async def test_slices_of_the_sweep_join_and_what_changed_meanwhile_is_left_alone(store: Store) -> None:
    made = [await clinic_box(store, f"doctor{number}") for number in range(5)]
    first = await store.read(lives.due, RULES, 0, 3, later(days=400))
    rest = await store.read(lives.due, RULES, made[2].id, 3, later(days=400))
    assert (first.after, rest.after) == (made[2].id, None)
    assert (*first.boxes, *rest.boxes) == tuple(one.id for one in made)
    await store.write(lives.keep, made[0], "cli", later(days=400))
    assert await store.write(lives.settle, made[0].id, RULES, HOUSING, later(days=400)) is Inactivity.KEEP
    assert await store.write(lives.settle, 999, RULES, HOUSING, later(days=400)) is Inactivity.KEEP
    assert await store.write(lives.expire, 999, (1,), NOW, NOW) == 0
