"""Certificates, names in tokens and used tokens: who is signed in, who is not, and what the journal keeps."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mss.config import Limits
from mss.errors import Conflict
from mss.model.account import Account, AccountKind
from mss.model.peer import DN, ClientCertificate
from mss.services import accounts, proofs
from mss.services.accounts import Try
from mss.services.proofs import NotProven, Proof, TokenName
from mss.signin import MAIL_CLIENTS, ROBOTS
from mss.store.store import Store
from tests.store.store_world import NOW, later

ISSUER = "https://id.example"
LAB = ClientCertificate(DN.parse("CN=lab,O=CHU"), "ab" * 32)
RENEWED = ClientCertificate(LAB.subject, "cd" * 32)
STRANGER = ClientCertificate(DN.parse("CN=x"), "ef" * 32)
NAMELESS = ClientCertificate(DN(()), "01" * 32)


async def make(store: Store, login: str, kind: AccountKind = AccountKind.APPLICATION) -> Account:
    return await store.write(accounts.create_account, login, kind, "", "hash", "cli", NOW)


async def show(store: Store, shown: ClientCertificate, name: str = "") -> Account | NotProven:
    proof = Proof("smtp-external", "192.0.2.1", ROBOTS)
    return await store.write(proofs.sign_in_by_certificate, shown, name, proof, NOW)


async def hand(store: Store, name: str, *, mark: bytes = b"m", single_use: bool = False, by_subject: bool = True,
               kinds: frozenset[AccountKind] = MAIL_CLIENTS, minutes: int = 0) -> Account | NotProven:  # fmt: skip
    at = later(minutes=minutes)
    token = TokenName(ISSUER, name, by_subject, mark, at + timedelta(minutes=5), single_use)
    return await store.write(proofs.sign_in_by_token, token, Proof("smtp-xoauth2", "192.0.2.1", kinds), at)


@pytest.mark.parametrize(
    ("subject", "fingerprint", "who"),
    [
        (str(LAB.subject), "", [LAB, RENEWED]),
        ("", LAB.fingerprint, [LAB]),
        (str(LAB.subject), LAB.fingerprint, [LAB]),
        (str(LAB.subject), STRANGER.fingerprint, []),
    ],
)
async def test_all_that_a_binding_gives_has_to_fit(
    store: Store, subject: str, fingerprint: str, who: list[ClientCertificate]
) -> None:
    robot = await make(store, "robot@chu.test")
    await store.write(proofs.bind_certificate, robot.id, subject, fingerprint, "cli", NOW)
    found = [one for one in (LAB, RENEWED, STRANGER, NAMELESS) if await show(store, one) == robot]
    assert found == who


async def test_a_binding_says_something_once(store: Store) -> None:
    robot = await make(store, "robot@chu.test")
    with pytest.raises(Conflict):
        await store.write(proofs.bind_certificate, robot.id, "", "", "cli", NOW)
    made = await store.write(proofs.bind_certificate, robot.id, "CN=x", "", "cli", NOW)
    with pytest.raises(Conflict):
        await store.write(proofs.bind_certificate, robot.id, "CN=x", "", "cli", NOW)
    assert await store.read(proofs.certificates_of, robot.id, NOW) == (made,)
    other = await make(store, "other@chu.test")
    assert not await store.write(proofs.unbind_certificate, other.id, made.id, "cli", NOW)
    assert await store.write(proofs.unbind_certificate, robot.id, made.id, "cli", NOW)
    assert await show(store, STRANGER) is NotProven.NOBODY


async def test_several_robots_of_one_certificate_say_who_they_are(store: Store) -> None:
    first, second = await make(store, "first@chu.test"), await make(store, "second@chu.test")
    for one in (first, second):
        await store.write(proofs.bind_certificate, one.id, str(LAB.subject), "", "cli", NOW)
    assert await show(store, LAB) is NotProven.SEVERAL
    assert await show(store, LAB, "third@chu.test") is NotProven.SEVERAL
    assert await show(store, LAB, " SECOND@chu.test ") == second
    reasons = await store.read(lambda uow: [r.event.facts.get("reason") for r in uow.journal.newest(9, "login.failed")])
    assert reasons == ["several-accounts"] * 2


async def test_people_and_disabled_robots_do_not_come_in_by_certificate(store: Store) -> None:
    doctor, robot = await make(store, "a@chu.test", AccountKind.PROFESSIONAL), await make(store, "robot@chu.test")
    await store.write(proofs.bind_certificate, doctor.id, "", LAB.fingerprint, "cli", NOW)
    await store.write(proofs.bind_certificate, robot.id, "", RENEWED.fingerprint, "cli", NOW)
    await store.write(lambda uow: uow.accounts._update(robot.id, enabled=False))
    assert await show(store, LAB) is NotProven.WRONG_DOOR
    assert await show(store, RENEWED) is NotProven.DISABLED


async def test_a_name_means_one_account_of_one_issuer(store: Store) -> None:
    doctor, other = [await make(store, login, AccountKind.PROFESSIONAL) for login in ("a@chu.test", "b@chu.test")]
    await store.write(proofs.bind_subject, doctor.id, ISSUER, "8997", "cli", NOW)
    with pytest.raises(Conflict):
        await store.write(proofs.bind_subject, other.id, ISSUER, "8997", "cli", NOW)
    await store.write(proofs.bind_subject, other.id, "https://other.example", "8997", "cli", NOW)
    assert await hand(store, "8997") == doctor
    assert await hand(store, "8998") is NotProven.NOBODY
    assert await hand(store, "8997", by_subject=False) is NotProven.NOBODY
    assert await hand(store, "A@chu.test", by_subject=False) == doctor
    assert await store.read(proofs.subjects_of, doctor.id, NOW) == ((ISSUER, "8997"),)
    assert not await store.write(proofs.unbind_subject, other.id, ISSUER, "8997", "cli", NOW)
    assert await store.write(proofs.unbind_subject, doctor.id, ISSUER, "8997", "cli", NOW)
    assert await hand(store, "8997") is NotProven.NOBODY


async def test_a_token_used_once_is_forgotten_after_its_end(store: Store) -> None:
    doctor = await make(store, "a@chu.test", AccountKind.PROFESSIONAL)
    await store.write(proofs.bind_subject, doctor.id, ISSUER, "8997", "cli", NOW)
    assert await hand(store, "8997", mark=b"1", single_use=True) == doctor
    assert await hand(store, "8997", mark=b"1", single_use=True) is NotProven.REPLAYED
    assert await hand(store, "8997", mark=b"1") == doctor
    assert await hand(store, "8997", mark=b"2", single_use=True, minutes=6) == doctor
    left = await store.write(lambda uow: uow.proofs.use_token(b"1", later(minutes=20), later(minutes=6)))
    assert left  # It was forgotten: its end had come.


async def test_a_token_of_somebody_who_may_not_come_in_is_not_used_up(store: Store) -> None:
    patient = await make(store, "dominique", AccountKind.PATIENT)
    await store.write(proofs.bind_subject, patient.id, ISSUER, "p", "cli", NOW)
    assert await hand(store, "p", single_use=True) is NotProven.WRONG_DOOR
    assert await hand(store, "p", single_use=True, kinds=frozenset(AccountKind)) == patient


async def test_neither_does_a_token_lock_an_account_nor_unlock_it(store: Store) -> None:
    doctor = await make(store, "a@chu.test", AccountKind.PROFESSIONAL)
    for _ in range(3):
        tried = Try("a@chu.test", doctor.id, "PLAIN", "192.0.2.1")
        await store.write(accounts.record_login, tried, False, NOW)
    assert await hand(store, "a@chu.test", by_subject=False) == doctor
    limits = Limits(login_failures_max=3)
    known = await store.read(accounts.credentials, "a@chu.test", "192.0.2.1", limits, NOW)
    assert known.locked_until is not None
    await hand(store, "b@chu.test", by_subject=False)
    strict = Limits(login_failures_max=1)
    known = await store.read(accounts.credentials, "b@chu.test", "192.0.2.1", strict, NOW)
    assert known.locked_until is None
