"""Signing in: right and wrong, back-off by login and by source, kinds, the bound on the line of waiting."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Concatenate, ParamSpec, TypeVar

import pytest

from mss import passwords, signin
from mss.config import Limits
from mss.errors import Unavailable
from mss.model.account import Account, AccountKind
from mss.model.secret import Secret
from mss.policy.backoff import STRANGERS_WITHIN, Failures, Tally, network_of, wait_until
from mss.services import accounts
from mss.services.accounts import Try
from mss.signin import MAIL_CLIENTS, Reason, Refused, SignIn
from mss.store import Store, Uow

P = ParamSpec("P")
T = TypeVar("T")
START = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
PASSWORD = Secret.of("correct horse battery")
WRONG = Secret.of("incorrect horse battery")


class OneService(Store):
    """A store of sign-in facts only, kept in memory, with the services' contract."""

    def __init__(self, known: dict[str, Account]) -> None:
        self.known = known
        self.failures: list[tuple[Try, datetime, bool]] = []
        self.networks: set[tuple[str, str]] = set()
        self.recorded: list[tuple[Try, bool]] = []
        self.renewed: list[tuple[int, str, str]] = []
        self.is_away = False

    async def read(self, service: Callable[Concatenate[Uow, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        assert service is accounts.credentials
        return self._credentials(*args)  # type: ignore[arg-type,return-value]

    async def write(self, service: Callable[Concatenate[Uow, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        if service is accounts.renew_hash:
            return self._renew(*args)  # type: ignore[arg-type,return-value]
        assert service is accounts.record_login
        return self._record(*args)  # type: ignore[arg-type,return-value,func-returns-value]

    def _renew(self, account_id: int, before: str, after: str) -> bool:
        if self.is_away:
            raise Unavailable("away")
        self.renewed.append((account_id, before, after))
        return True

    def _credentials(self, login: str, source: str, limits: Limits, now: datetime) -> accounts.Credentials:
        window = timedelta(seconds=limits.login_window_s)
        mine = [(tried, at, stranger) for tried, at, stranger in self.failures if tried.login == login]
        network, known = network_of(source), (login, network_of(source)) in self.networks
        failures = Failures(
            _tally(at for tried, at, _ in mine if network_of(tried.source) == network and at >= now - window),
            _tally(at for tried, at, stranger in mine if tried.code and stranger and at >= now - window),
            _tally(at for _, at, stranger in mine if stranger and at >= now - STRANGERS_WITHIN),
            known,
        )
        until = wait_until(failures, limits.login_failures_max, limits.login_strangers_failures_max, window)
        return accounts.Credentials(self.known.get(login.lower()), until)

    def _record(self, tried: Try, ok: bool, now: datetime) -> None:
        self.recorded.append((tried, ok))
        place = (tried.login, network_of(tried.source))
        if ok:
            self.networks.add(place)
            self.failures = [one for one in self.failures if (one[0].login, network_of(one[0].source)) != place]
        else:
            self.failures.append((tried, now, place not in self.networks))


def _tally(times: Iterable[datetime]) -> Tally:
    found = list(times)
    return Tally(len(found), max(found, default=None))


class Hands:
    """A clock whose hands the test moves."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(scope="module")
def doctor() -> Account:
    return Account(7, "claire", AccountKind.PROFESSIONAL, "Claire", passwords.hash_password(PASSWORD.text()))


@pytest.fixture
def store(doctor: Account) -> OneService:
    patient = replace(doctor, id=8, login="paul", kind=AccountKind.PATIENT)
    gone = replace(doctor, id=9, login="gone", enabled=False)
    return OneService({account.login: account for account in (doctor, patient, gone)})


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
async def door(store: OneService, hands: Hands) -> SignIn:
    limits = Limits(
        login_failures_max=3, login_window_s=60, login_failures_per_source_max=6, login_strangers_failures_max=8
    )
    return SignIn(store, hands, limits)


async def fail(
    door: SignIn, times: int, *, login: str = "claire", source: str = "192.0.2.1"
) -> list[Account | Refused]:
    return [await door.check(login, WRONG, "PLAIN", source) for _ in range(times)]


async def test_the_right_password_opens_and_is_recorded(door: SignIn, store: OneService, doctor: Account) -> None:
    assert await door.check("claire", PASSWORD, "PLAIN", "192.0.2.1") == doctor
    assert store.recorded == [(Try("claire", 7, "PLAIN", "192.0.2.1"), True)]


@pytest.mark.parametrize("is_away", [False, True])
async def test_a_hash_of_another_cost_is_renewed_by_a_sign_in_alone(
    door: SignIn, store: OneService, doctor: Account, is_away: bool
) -> None:
    old = passwords.Hasher(passes=3, memory_kib=16).hash(PASSWORD.text().encode())
    store.known["claire"], store.is_away = replace(doctor, password_hash=old), is_away
    assert isinstance(await door.check("claire", WRONG, "PLAIN", "192.0.2.1"), Refused)
    assert store.renewed == []
    assert await door.check("claire", PASSWORD, "PLAIN", "192.0.2.1") == store.known["claire"]
    assert [(number, before) for number, before, _ in store.renewed] == ([] if is_away else [(7, old)])
    for _, _, after in store.renewed:
        assert passwords.verify(after, PASSWORD.text())
        assert not passwords.needs_rehash(after)


@pytest.mark.parametrize(
    ("login", "password"),
    [
        ("claire", WRONG),
        ("nobody", PASSWORD),
        ("gone", PASSWORD),
        ("", PASSWORD),
        ("claire", Secret(b"\xff\xfe")),
        ("claire", Secret(b"")),
    ],
)
async def test_what_is_wrong_is_refused_the_same_way(
    door: SignIn, store: OneService, login: str, password: Secret
) -> None:
    assert await door.check(login, password, "PLAIN", "192.0.2.1") == Refused(Reason.BAD_CREDENTIALS)
    assert [ok for _, ok in store.recorded] == [False]


@pytest.mark.parametrize(("length", "looked_up"), [(319, True), (320, True), (321, False), (100_000, False)])
async def test_a_login_has_a_length_limit(
    door: SignIn, store: OneService, doctor: Account, length: int, looked_up: bool
) -> None:
    long = "l" * length
    store.known[long] = store.known[long[:321]] = replace(doctor, login=long)
    outcome = await door.check(long, PASSWORD, "PLAIN", "192.0.2.1")
    assert isinstance(outcome, Account) is looked_up
    assert len(store.recorded[0][0].login) == min(length, 321)


async def test_an_unknown_login_costs_a_verification_too(door: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    spent = []
    monkeypatch.setattr(passwords, "verify_nothing", lambda: spent.append(1))
    await door.check("nobody", PASSWORD, "PLAIN", "192.0.2.1")
    assert spent == [1]


async def test_failures_make_their_network_wait(door: SignIn, hands: Hands) -> None:
    assert [r.reason for r in await fail(door, 3) if isinstance(r, Refused)] == [Reason.BAD_CREDENTIALS] * 3
    locked = await door.check("claire", PASSWORD, "PLAIN", "192.0.2.1")
    assert locked == Refused(Reason.LOCKED, 60)
    assert locked.temporary
    hands.now += timedelta(seconds=60)
    assert isinstance(await door.check("claire", PASSWORD, "PLAIN", "192.0.2.1"), Account)


async def test_a_stranger_s_failures_do_not_lock_the_holder_out(door: SignIn) -> None:
    await fail(door, 5, source="198.51.100.7")
    assert isinstance(await door.check("claire", PASSWORD, "PLAIN", "192.0.2.1"), Account)


@pytest.mark.parametrize(("strangers", "refused"), [(7, False), (8, True), (9, True)])
async def test_many_strangers_slow_each_other_down_and_not_the_holder_at_home(
    door: SignIn, hands: Hands, strangers: int, refused: bool
) -> None:
    assert isinstance(await door.check("claire", PASSWORD, "PLAIN", "192.0.2.1"), Account)
    for number in range(strangers):
        await fail(door, 1, source=f"198.51.100.{number}")
        hands.now += timedelta(microseconds=1)
    elsewhere = await door.check("claire", PASSWORD, "PLAIN", "203.0.113.5")
    # The ninth comes after the wait that eight have made, or is refused as well.
    assert elsewhere == Refused(Reason.LOCKED, 8) if refused else isinstance(elsewhere, Account)
    assert isinstance(await door.check("claire", PASSWORD, "PLAIN", "192.0.2.1"), Account)
    hands.now += timedelta(seconds=8)
    assert isinstance(await door.check("claire", PASSWORD, "PLAIN", "203.0.113.6"), Account)


async def test_one_failure_less_does_not_lock(door: SignIn) -> None:
    await fail(door, 2)
    assert isinstance(await door.check("claire", PASSWORD, "PLAIN", "192.0.2.1"), Account)


async def test_a_lock_is_not_recorded_as_one_more_failure(door: SignIn, store: OneService) -> None:
    await fail(door, 5)
    assert len(store.recorded) == 3


async def test_unknown_logins_lock_like_known_ones(door: SignIn) -> None:
    await fail(door, 3, login="nobody")
    assert await door.check("nobody", PASSWORD, "PLAIN", "192.0.2.1") == Refused(Reason.LOCKED, 60)


async def test_addresses_of_one_network_wait_together(door: SignIn) -> None:
    for number in range(3):
        await fail(door, 1, source=f"2001:db8::{number}")
    assert await door.check("claire", PASSWORD, "PLAIN", "2001:db8::99") == Refused(Reason.LOCKED, 60)
    assert isinstance(await door.check("claire", PASSWORD, "PLAIN", "2001:db8:0:1::99"), Account)


async def test_guesses_sent_all_at_once_meet_the_lock(door: SignIn, store: OneService) -> None:
    together = await asyncio.gather(*(door.check("claire", WRONG, "PLAIN", f"2001:db8::{n}") for n in range(30)))
    tried = [r for r in together if isinstance(r, Refused) and r.reason is Reason.BAD_CREDENTIALS]
    assert 3 <= len(tried) <= 3 + Limits().argon2_threads - 1
    assert len(store.recorded) == len(tried)


async def test_guesses_of_many_networks_at_once_meet_the_slow_down(door: SignIn, store: OneService) -> None:
    together = await asyncio.gather(*(door.check("claire", WRONG, "PLAIN", f"192.0.2.{n}") for n in range(30)))
    tried = [r for r in together if isinstance(r, Refused) and r.reason is Reason.BAD_CREDENTIALS]
    assert 8 <= len(tried) <= 8 + Limits().argon2_threads - 1
    assert len(store.recorded) == len(tried)


async def test_a_source_that_tries_many_logins_is_slowed_down(door: SignIn, hands: Hands) -> None:
    for n in range(6):
        await fail(door, 1, login=f"guess{n}", source="192.0.2.66")
    assert await door.check("claire", PASSWORD, "PLAIN", "192.0.2.66") == Refused(Reason.LOCKED, 60)
    assert isinstance(await door.check("claire", PASSWORD, "PLAIN", "192.0.2.1"), Account)
    hands.now += timedelta(seconds=61)
    assert isinstance(await door.check("claire", PASSWORD, "PLAIN", "192.0.2.66"), Account)


async def test_the_sources_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch, door: SignIn) -> None:
    monkeypatch.setattr(signin, "SOURCES_MAX", 2)
    for n in range(5):
        await fail(door, 1, login=f"guess{n}", source=f"192.0.2.{n}")
    assert len(door._sources._times) == 2


async def test_a_door_lets_in_only_its_kinds(door: SignIn, store: OneService) -> None:
    outcome = await door.check("paul", PASSWORD, "PLAIN", "192.0.2.1", kinds=MAIL_CLIENTS)
    assert outcome == Refused(Reason.WRONG_DOOR)
    assert await door.check("paul", WRONG, "PLAIN", "192.0.2.1", kinds=MAIL_CLIENTS) == Refused(Reason.BAD_CREDENTIALS)
    assert [ok for _, ok in store.recorded] == [False, False]
    assert isinstance(await door.check("paul", PASSWORD, "web", "192.0.2.1"), Account)


async def test_a_password_before_a_second_factor_is_not_a_success_yet(door: SignIn, store: OneService) -> None:
    await fail(door, 2)
    account = await door.check("claire", PASSWORD, "web", "192.0.2.1", final=False)
    assert isinstance(account, Account)
    assert len(store.recorded) == 2

    async def no() -> bool:
        return False

    assert await door.attempt(account, "totp", "192.0.2.1", no) == Refused(Reason.BAD_CREDENTIALS)
    assert await door.attempt(account, "totp", "192.0.2.1", no) == Refused(Reason.LOCKED, 60)


@pytest.mark.parametrize(("wrong", "refused"), [(2, False), (3, True), (4, True)])
async def test_wrong_codes_stop_whoever_knows_the_password_everywhere_but_at_the_holder_s(
    door: SignIn, doctor: Account, wrong: int, refused: bool
) -> None:
    async def no() -> bool:
        return False

    async def yes() -> bool:
        return True

    assert await door.attempt(doctor, "totp", "192.0.2.1", yes) is None
    for number in range(wrong):
        await door.attempt(doctor, "totp", f"198.51.100.{number}", no)
    assert await door.attempt(doctor, "totp", "203.0.113.5", no) == Refused(
        Reason.LOCKED if refused else Reason.BAD_CREDENTIALS, 60 if refused else 0
    )
    assert await door.attempt(doctor, "totp", "192.0.2.1", yes) is None


async def test_a_second_factor_that_holds_is_the_success(door: SignIn, store: OneService, doctor: Account) -> None:
    async def yes() -> bool:
        return True

    assert await door.attempt(doctor, "totp", "192.0.2.1", yes) is None
    assert store.recorded == [(Try("claire", 7, "totp", "192.0.2.1", code=True), True)]
    store.known["claire"] = replace(doctor, enabled=False)
    assert await door.attempt(doctor, "totp", "192.0.2.1", yes) == Refused(Reason.BAD_CREDENTIALS)


@pytest.mark.parametrize(("waiting", "busy"), [(2, 0), (3, 0), (4, 1)])
async def test_the_line_of_waiting_is_bounded(
    store: OneService, hands: Hands, monkeypatch: pytest.MonkeyPatch, waiting: int, busy: int
) -> None:
    door = SignIn(store, hands, Limits(argon2_threads=1, login_waiting_max=3))
    go = threading.Event()
    monkeypatch.setattr(passwords, "verify", lambda *_: go.wait(10))
    asked = [asyncio.create_task(door.check("claire", PASSWORD, "PLAIN", "192.0.2.1")) for _ in range(waiting)]
    refused = 0
    if busy:
        done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        refused = sum(task.result() == Refused(Reason.BUSY, 1) for task in done)
    go.set()
    outcomes = await asyncio.gather(*asked)
    assert refused == busy
    assert sum(isinstance(outcome, Account) for outcome in outcomes) == waiting - busy
    door.close()


async def test_outcomes_are_counted(store: OneService, hands: Hands) -> None:
    counted: list[tuple[str, str]] = []

    class Metrics:
        def signed_in(self, mechanism: str, outcome: str) -> None:
            counted.append((mechanism, outcome))

    door = SignIn(store, hands, Limits(), Metrics())
    await door.check("claire", PASSWORD, "PLAIN", "192.0.2.1")
    await door.check("claire", WRONG, "web", "192.0.2.1")
    await door.check("paul", PASSWORD, "LOGIN", "192.0.2.1", kinds=MAIL_CLIENTS)
    assert counted == [("PLAIN", "ok"), ("web", "bad-credentials"), ("LOGIN", "wrong-door")]


async def test_a_new_password_is_hashed_off_the_loop(door: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    loop_thread = threading.get_ident()
    ran_in: list[int] = []

    def hash_it(text: str) -> str:
        ran_in.append(threading.get_ident())
        return text[::-1]

    monkeypatch.setattr(passwords, "hash_password", hash_it)
    assert await door.hash(Secret.of("abc")) == "cba"
    assert ran_in != [loop_thread]
