"""Where orders are taken, however they came: read, judged, looked at by the antivirus, sent, acknowledged.

It decides nothing: `dossier.mdm` reads what is asked for, `services.orders` sends it under the rules of every letter.
An acknowledgement says AA only after the commit.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from mss.clock import Clock
from mss.config import Hl7Config, Limits
from mss.dossier import er7, mdm
from mss.dossier.acknowledgement import Fault, acknowledge, fault_of
from mss.dossier.er7 import Er7
from mss.errors import Conflict, Malformed, Unavailable, incident_number
from mss.log import get_logger
from mss.model.address import Address, Domain
from mss.policy.decision import Decision, Verdict
from mss.screening import Screen
from mss.services import orders
from mss.services.house import Hosted
from mss.services.orders import Posts, Sender, Undeliverable
from mss.services.submit import Outside
from mss.store import Store

_log = get_logger("hl7")

_UNREADABLE: Final = "100"
_INTERNAL: Final = "207"


@dataclass(frozen=True, slots=True)
class Answer:
    """An acknowledgement; `done` when the order was carried out, `temporary` when the same may work later."""

    octets: bytes
    done: bool
    temporary: bool = False


class _Later(Exception):
    """Not now: the fault says why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.rule)
        self.fault = fault


class _Never(Exception):
    """Not at all: the fault says why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.rule)
        self.fault = fault


class Counts(Protocol):
    """What counts orders and connections, for the operator's figures."""

    def order(self, way: str, outcome: str, rule: str, seconds: float) -> None:
        """An order was answered: done, refused or deferred, by a rule where it was not done."""

    def session_opened(self) -> None:
        """A connection was taken."""

    def session_closed(self, outcome: str) -> None:
        """A connection ended."""


class Uncounted:
    """Counts nothing."""

    def order(self, way: str, outcome: str, rule: str, seconds: float) -> None:
        """Nothing."""

    def session_opened(self) -> None:
        """Nothing."""

    def session_closed(self, outcome: str) -> None:
        """Nothing."""


UNCOUNTED: Final = Uncounted()


class Desk:
    """Takes orders for one box."""

    def __init__(
        self,
        store: Store,
        config: Hl7Config,
        hosted: Hosted,
        outside: Callable[[], Outside],
        limits: Limits,
        clock: Clock,
        screen: Screen,
        counts: Counts = UNCOUNTED,
    ) -> None:
        self.counts = counts
        self._store, self._config, self._hosted, self._outside = store, config, hosted, outside
        self._limits, self._clock, self._screen = limits, clock, screen
        self._box = Address.parse(config.box)
        # An order is in memory several times over while it is read and written.
        self._turns = asyncio.Semaphore(2)

    async def take(self, octets: bytes, account_id: int | None, way: str) -> Answer:
        """Carry out an order and return its acknowledgement; no message makes it fail."""
        began = time.perf_counter()
        async with self._turns:
            message, fault, temporary = None, None, False
            try:
                message = await asyncio.to_thread(self._read, octets)
                await self._send(message, octets, account_id)
            except _Never as error:
                fault = error.fault
            except _Later as error:
                fault, temporary = error.fault, True
            except Exception as error:  # noqa: BLE001  # The map of this door: a surprise is temporary to the peer.
                incident = incident_number()
                _log.error("hl7.surprise", incident=incident, kind=type(error).__name__)
                fault, temporary = Fault(_INTERNAL, "hl7.internal", f"Internal error, incident {incident}."), True
        _log.info(
            "hl7.order", way=way, octets=len(octets), outcome="done" if fault is None else "refused",
            rule=fault.rule if fault else None, temporary=temporary,
        )  # fmt: skip
        outcome = "done" if fault is None else "deferred" if temporary else "refused"
        self.counts.order(way, outcome, fault.rule if fault else "", time.perf_counter() - began)
        acknowledgement = acknowledge(message, fault, secrets.token_hex(8), self._clock())
        return Answer(acknowledgement, fault is None, temporary)

    def _read(self, octets: bytes) -> Er7:
        try:
            return er7.parse(octets, self._limits)
        except Malformed as error:
            raise _Never(Fault(_UNREADABLE, "hl7.unreadable", f"The message cannot be read: {error}.")) from None

    async def _send(self, message: Er7, octets: bytes, account_id: int | None) -> None:
        hosted, now = self._hosted, self._clock()
        try:
            sender = await self._store.read(orders.sender_of, self._box, account_id, self._config.software, now)
            if sender is None:
                raise _Never(Fault(_INTERNAL, "hl7.no-sender", "Nobody here may send letters from the configured box."))
            posts = await asyncio.to_thread(self._posts, message, octets, sender)
            await self._look_at(posts)
            await self._store.write(orders.send, hosted, self._outside(), sender, posts, self._clock())
        except Undeliverable as error:
            raise _refusal(error.decision) from None
        except (Unavailable, Conflict):
            raise _Later(Fault(_INTERNAL, "hl7.unavailable", "Not possible now, send it again later.")) from None

    def _posts(self, message: Er7, octets: bytes, sender: Sender) -> Posts:
        hosted, limits = self._hosted, self._limits
        test = hosted.policy.test_identities
        try:
            order = mdm.read(message, limits, frozenset(hosted.patient_domains), test_identities=test)
        except mdm.Refused as error:
            raise _Never(fault_of(error.wrong, error.segment)) from None
        letters = orders.write_letters(order, sender, self._patient_domain(), limits, self._clock())
        if order.to_patient and len(letters) == bool(order.professionals):
            sentence = "It is not configured where patients live: several patient domains."
            raise _Never(Fault(_INTERNAL, "hl7.no-patient-domain", sentence))
        return Posts(letters, hashlib.sha256(octets).digest())

    def _patient_domain(self) -> Domain | None:
        """Return where patients' addresses are: our own patient domain, else the only other one."""
        ours = [domain for domain, kind in self._hosted.domains.items() if kind == "patient"]
        known = ours or sorted(self._hosted.patient_domains)
        return known[0] if len(known) == 1 else None

    async def _look_at(self, posts: Posts) -> None:
        for post in posts.letters:
            decision = await self._screen.judge(post.reading.octets)
            if not decision.accepted:
                raise _refusal(decision)


def _refusal(decision: Decision) -> _Never | _Later:
    fault = Fault(_INTERNAL, decision.rule.name, decision.rule.text)
    return _Later(fault) if decision.verdict is Verdict.DEFER else _Never(fault)
