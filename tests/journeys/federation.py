"""Many operators that list each other, each with a certificate, a store and a process of its own, under kills.

Everybody writes to everybody by submission, again and again until told to stop. A letter without an answer is handed in
again, the same octets, as mail programs do.
"""

from __future__ import annotations

import random
import secrets
import smtplib
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

from demo.clients import Login, context
from demo.house import Operator
from mss import instance, pki
from mss.clock import system_clock
from mss.commands import journal
from mss.directory import trustlist
from mss.directory.refresh import read_trust_list
from mss.model.account import AccountKind
from mss.model.address import Address, parse_domain
from mss.model.party import BoxKind
from mss.model.peer import TrustList
from mss.services import accounts
from mss.store.store import Store
from tests.journeys.keeping import look_behind
from tests.journeys.sites import PASSWORDS, PATIENCE_S, Site, letter, new_id, person
from tests.support.ports import SLOT_PORTS, free_base

# The doors of one operator lie within so many ports.
_PORTS: Final = max(instance.PORTS.values()) + 1
_PER_SLOT: Final = SLOT_PORTS // _PORTS
_STARTING: Final = 4
# So that the senders of all operators together leave the machine time to start those that were killed.
_PAUSE_PER_OPERATOR_S: Final = 0.1
_PATIENCE_S: Final = 90.0
# Short enough that a test sees the end of each: a try again, a lease of the dead, a destination that rests.
_HASTE: Final = """[relay]
retry_s = [1]
lease_s = 10
timeout_s = 4
backoff_first_s = 1
backoff_max_s = 2
poll_s = 1

[relay.routes]
"""


def domain_of(number: int) -> str:
    """Return the domain of an operator."""
    return f"operateur{number:02}.mssante.fr"


def box_of(number: int) -> str:
    """Return the address of an operator's one box."""
    return f"secretariat@{domain_of(number)}"


class Federation:
    """The operators, and what their people were promised: the receiver's Message-IDs, each answered 250."""

    def __init__(self, sites: list[Site]) -> None:
        self.sites = sites
        self.promised: list[Counter[str]] = [Counter() for _ in sites]
        self.interrupted = [0 for _ in sites]
        self.kills = 0
        self._pause_s = _PAUSE_PER_OPERATOR_S * len(sites)
        self._chance = random.Random(len(sites))
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._whole_rounds = [0 for _ in sites]

    def start(self) -> None:
        """Start all operators, a few at a time, and wait until they are ready."""
        for first in range(0, len(self.sites), _STARTING):
            _start(self.sites[first : first + _STARTING])

    # -- under way -------------------------------------------------------------------------------------------------

    def live(self, seconds: float, kills_min: int) -> None:
        """Let everybody write to everybody while operators die and come back, until all wrote to all at least once."""
        threads = [threading.Thread(target=self._write, args=(number,), daemon=True) for number in self._numbers]
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        latest = end + _PATIENCE_S  # On a slow machine it goes on until there is something to prove.
        try:
            while time.monotonic() < end or (time.monotonic() < latest and self.kills < kills_min):
                self._kill_some()
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(_PATIENCE_S)
        assert not any(thread.is_alive() for thread in threads), "somebody could not hand in a letter"

    @property
    def _numbers(self) -> range:
        return range(len(self.sites))

    def _kill_some(self) -> None:
        """End a sixth of the operators as a power cut would, leave them dead for a moment, and start them again."""
        time.sleep(self._chance.uniform(0.1, 0.8))  # The instant is the point of the test.
        some = self._chance.sample(self.sites, max(1, len(self.sites) // 6))
        for site in some:
            site.kill()
        self.kills += len(some)
        time.sleep(self._chance.uniform(0.0, 0.5))
        _start(some)

    def _write(self, number: int) -> None:
        """Write to all others, round after round, each letter until it is answered."""
        others = [other for other in self._numbers if other != number]
        while not self._stop.is_set() or not self._whole_rounds[number]:
            waiting = [self._new(number, other) for other in random.sample(others, len(others))]
            while waiting:
                try:
                    with self._signed_in(self.sites[number]) as client:
                        while waiting:
                            self._hand_in(client, number, *waiting[-1])
                            waiting.pop()
                            time.sleep(self._pause_s)
                except (OSError, smtplib.SMTPException):
                    self.interrupted[number] += 1
                    time.sleep(self._pause_s)
            self._whole_rounds[number] += 1

    def _new(self, number: int, other: int) -> tuple[int, str, bytes]:
        message_id = new_id(domain_of(number))
        return other, message_id, letter(message_id, sender=box_of(number), to=box_of(other))

    @contextmanager
    def _signed_in(self, site: Site) -> Iterator[smtplib.SMTP]:
        with smtplib.SMTP("localhost", site.port("submission"), timeout=PATIENCE_S) as client:
            client.starttls(context=context(site.ca_file))
            client.login(site.login.login, site.login.password)
            yield client

    def _hand_in(self, client: smtplib.SMTP, number: int, other: int, message_id: str, octets: bytes) -> None:
        client.sendmail(box_of(number), box_of(other), octets)
        with self._lock:
            self.promised[other][message_id] += 1

    # -- afterwards ------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Wait until no operator has a letter under way any more: what is not there now never comes."""
        end = time.monotonic() + _PATIENCE_S
        for site in self.sites:
            while waiting := site.operator.with_store(_due):
                assert time.monotonic() < end, f"{site.operator.domain} still has {waiting} letters to hand over"
                time.sleep(0.2)

    def arrived(self, number: int) -> Counter[str]:
        """Return how often each letter is in an operator's mailbox."""
        return self.sites[number].message_ids()

    def figures(self) -> str:
        """Say what happened, for a person."""
        letters = sum(sum(promised.values()) for promised in self.promised)
        return (
            f"{len(self.sites)} operators, {self.kills} kills, {letters} letters, "
            f"{min(self._whole_rounds)} rounds at least, {sum(self.interrupted)} times interrupted while handing in"
        )


def _start(sites: Sequence[Site]) -> None:
    for site in sites:
        site.operator.start()
    for site in sites:
        site.operator.wait_until_ready(_PATIENCE_S)


async def _due(store: Store) -> int:
    counts: dict[str, int] = await store.read(lambda uow: uow.queue.counts())
    return counts.get("due", 0)


# -- making one ------------------------------------------------------------------------------------------------------


@contextmanager
def federation(folder: Path, count: int) -> Iterator[Federation]:
    """Make operators that list each other, not started; at the end stop them and look at what they leave behind."""
    authority = pki.make_authority(folder / "authority", now=system_clock(), name="FEDERATION")
    bases = _bases(count)
    sites = [_site(folder, authority, number, bases) for number in range(count)]
    _list_each_other(sites)
    try:
        yield Federation(sites)
    finally:
        codes = [site.operator.stop() for site in sites]
    assert set(codes) == {0}, codes
    for site in sites:
        assert journal.verify(site.operator.config).broken == ()
    look_behind(folder)


def _bases(count: int) -> list[int]:
    slots = [free_base() for _ in range(-(-count // _PER_SLOT))]
    return [slot + place * _PORTS for slot in slots for place in range(_PER_SLOT)][:count]


def _site(folder: Path, authority: pki.Authority, number: int, bases: list[int]) -> Site:
    domain = domain_of(number)
    name = f"Operateur {number:02}"
    routes = {domain_of(other): f"localhost:{base}" for other, base in enumerate(bases) if other != number}
    plan = instance.Plan(
        name=name,
        hostname=f"mx.{domain}",
        domains=((domain, "professional"),),
        base_port=bases[number],
        authority=authority.directory,
        routes=routes,
    )
    operator = Operator(domain, name, domain, "professional", bases[number], folder / domain)
    operator.config_file = instance.make(operator.folder, plan, system_clock)
    site = Site(folder, authority, operator, {}, Login(box_of(number), secrets.token_urlsafe(12)))
    PASSWORDS.add(site.login.password)
    site.set("[relay.routes]\n", _HASTE)
    new = accounts.NewBox(Address.own(box_of(number)), BoxKind.ORG, f"Secretariat {number:02}")
    operator.with_store(lambda store: person(store, new, AccountKind.PROFESSIONAL, site.login))
    return site


def _list_each_other(sites: list[Site]) -> None:
    now = system_clock()
    domains = {parse_domain(site.operator.domain): frozenset({site.operator.subject}) for site in sites}
    octets = trustlist.render(TrustList(now - timedelta(minutes=1), domains, now))
    for site in sites:
        fresh = site.trust_list_file.with_suffix(".new")
        fresh.write_bytes(octets)
        fresh.replace(site.trust_list_file)
        _read(site)


def _read(site: Site) -> None:
    async def read(store: Store) -> str:
        return (await read_trust_list(store, site.operator.config, system_clock, site.trust_list_file)).reason

    assert site.operator.with_store(read) == ""
