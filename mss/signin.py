"""One way to sign in for every door: by password, in a few threads and slower after failures; by certificate; by token.

The store keeps the failures of each login by network (`policy.backoff` says who waits for them); this process keeps
those of each network in memory, so that guessing one password on many logins is slowed down too. Refusals tell nobody
whether a login exists, neither by text nor by time.
It does not speak any door's protocol, nor know what a session is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

from mss import passwords
from mss.clock import from_us
from mss.errors import Conflict, Unavailable
from mss.model.account import Account, AccountKind
from mss.policy.access import MAY_USE, Door
from mss.policy.backoff import network_of
from mss.services import accounts, proofs
from mss.services.accounts import Try
from mss.services.proofs import NotProven, Proof, TokenName
from mss.tokens import sasl
from mss.tokens.verify import Fault, Token

if TYPE_CHECKING:
    from mss.clock import Clock
    from mss.config import Limits
    from mss.model.peer import ClientCertificate
    from mss.model.secret import Secret
    from mss.store import Store
    from mss.tokens.issuer import Issuer
    from mss.tokens.sasl import Bearer

EVERY_KIND = frozenset(AccountKind)
MAIL_CLIENTS = MAY_USE[Door.IMAP]
ROBOTS = frozenset({AccountKind.APPLICATION})
EXTERNAL = "EXTERNAL"
LOGIN_MAX_CHARACTERS = 320
SOURCES_MAX = 10_000

P = ParamSpec("P")
T = TypeVar("T")


class Reason(StrEnum):
    """Why a sign-in was refused; for logs and metrics."""

    BAD_CREDENTIALS = "bad-credentials"
    LOCKED = "locked"
    BUSY = "busy"
    UNAVAILABLE = "unavailable"
    WRONG_DOOR = "wrong-door"


@dataclass(frozen=True, slots=True)
class Refused:
    """A sign-in that failed. `retry_after_s` is 0 unless it is useless to try before."""

    reason: Reason
    retry_after_s: int = 0

    @property
    def temporary(self) -> bool:
        """Whether the same words may be right later: SMTP says 454 then, IMAP UNAVAILABLE, the webmail 429."""
        return self.reason in (Reason.LOCKED, Reason.BUSY, Reason.UNAVAILABLE)


class SignInMetrics(Protocol):
    """Counts `mss_auth_total`."""

    def signed_in(self, mechanism: str, outcome: str) -> None:
        """Count one sign-in: the outcome is "ok" or the reason of the refusal."""


class _Uncounted:
    def signed_in(self, mechanism: str, outcome: str) -> None:
        """Count nothing."""


class SignIn:
    """The bounded place where passwords are compared; one per process."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        limits: Limits,
        metrics: SignInMetrics | None = None,
        issuer: Issuer | None = None,
    ) -> None:
        self._store, self._clock, self._limits, self._issuer = store, clock, limits, issuer
        self._metrics = metrics or _Uncounted()
        self._threads = ThreadPoolExecutor(limits.argon2_threads, thread_name_prefix="argon2")
        self._slots = asyncio.Semaphore(limits.argon2_threads)
        self._sources = _Sources(limits.login_failures_per_source_max, timedelta(seconds=limits.login_window_s))
        self._waiting = 0

    async def check(
        self,
        login: str,
        password: Secret,
        mechanism: str,
        source: str,
        *,
        kinds: frozenset[AccountKind] = EVERY_KIND,
        final: bool = True,
    ) -> Account | Refused:
        """Return the account whose login and password these are, or why not.

        `mechanism` is a static word ("PLAIN", "web"), `source` the client's IP address. `kinds` are those that the
        door lets in. `final=False` leaves a success unrecorded: a second factor follows, and `attempt` records.
        """
        found: Account | None = None

        async def compare(stored: Account | None) -> Account | None:
            nonlocal found
            found = await self._compare(stored, password)
            return found if found is not None and found.kind in kinds else None

        outcome = await self._guarded(login, mechanism, source, compare, final=final)
        if isinstance(outcome, Refused) and outcome.reason is Reason.BAD_CREDENTIALS and found is not None:
            outcome = Refused(Reason.WRONG_DOOR)
        self._metrics.signed_in(mechanism, outcome.reason.value if isinstance(outcome, Refused) else "ok")
        return outcome

    async def attempt(
        self, account: Account, mechanism: str, source: str, judge: Callable[[], Awaitable[bool]]
    ) -> Refused | None:
        """Run another proof (a one-time code) of a known account under the same back-off; None when it holds."""

        async def compare(stored: Account | None) -> Account | None:
            same = stored is not None and stored.id == account.id and stored.enabled
            return stored if same and await judge() else None

        outcome = await self._guarded(account.login, mechanism, source, compare, final=True, code=True)
        self._metrics.signed_in(mechanism, outcome.reason.value if isinstance(outcome, Refused) else "ok")
        return outcome if isinstance(outcome, Refused) else None

    def mechanisms(self, shown: ClientCertificate | None) -> tuple[str, ...]:
        """Return the SASL mechanisms beside passwords that can work in a session; `shown` is what its client showed."""
        return (*((EXTERNAL,) if shown else ()), *(sasl.MECHANISMS if self._issuer else ()))

    def challenge(self, mechanism: str) -> bytes:
        """Return what a client whose token was refused is told before the refusal; nothing for other mechanisms."""
        known = self._issuer is not None and mechanism in sasl.MECHANISMS
        return sasl.failure(mechanism, self._issuer.discovery) if known and self._issuer else b""

    async def bearer(
        self,
        given: Bearer,
        mechanism: str,
        source: str,
        shown: ClientCertificate | None = None,
        *,
        kinds: frozenset[AccountKind] = MAIL_CLIENTS,
    ) -> Account | Refused:
        """Return the account that a token means, or why nobody is signed in; whom it may act as is the door's."""
        proof = Proof(mechanism, source, kinds)
        outcome = await self._proven(proof, partial(self._by_token, given, proof, shown))
        return self._counted(mechanism, outcome)

    async def certificate(
        self, shown: ClientCertificate | None, acting_as: str, mechanism: str, source: str
    ) -> Account | Refused:
        """Return the robot's account that a client's certificate is bound to, or why nobody is signed in."""
        proof = Proof(mechanism, source, ROBOTS)
        outcome = await self._proven(proof, partial(self._by_certificate, shown, acting_as, proof))
        return self._counted(mechanism, outcome)

    def _counted(self, mechanism: str, outcome: Account | str | Refused) -> Account | Refused:
        """Count an outcome under its own reason; the client learns less."""
        if isinstance(outcome, Account):
            self._metrics.signed_in(mechanism, "ok")
            return outcome
        self._metrics.signed_in(mechanism, outcome.reason.value if isinstance(outcome, Refused) else outcome)
        if isinstance(outcome, Refused):
            return outcome
        return Refused(Reason.WRONG_DOOR if outcome == NotProven.WRONG_DOOR else Reason.BAD_CREDENTIALS)

    async def _proven(
        self, proof: Proof, judge: Callable[[], Awaitable[Account | NotProven | Fault | Refused]]
    ) -> Account | str | Refused:
        """Judge a proof that is no password: failures slow its source down, and lock nobody's account."""
        if wait_s := self._sources.wait_s(proof.source, self._clock()):
            return Refused(Reason.LOCKED, wait_s)
        outcome = await judge()
        if isinstance(outcome, Account | Refused):
            return outcome
        self._sources.failed(proof.source, self._clock())
        return outcome.value

    async def _by_token(
        self, given: Bearer, proof: Proof, shown: ClientCertificate | None
    ) -> Account | NotProven | Fault | Refused:
        if self._issuer is None:
            return Refused(Reason.BAD_CREDENTIALS)
        try:
            token = await self._issuer.judge(given.token.octets, shown.thumbprint if shown else "")
        except Unavailable:
            return Refused(Reason.UNAVAILABLE)
        if isinstance(token, Fault):
            await self._store.write(proofs.note_attempt, None, token.value, proof, self._clock())
            return token
        return await self._store.write(proofs.sign_in_by_token, self._name(token), proof, self._clock())

    def _name(self, token: Token) -> TokenName:
        assert self._issuer is not None
        config = self._issuer.config
        expires_at = from_us(int(token.expires_at * 1_000_000))
        by_subject = config.account_by == "subject"
        return TokenName(config.issuer, token.subject, by_subject, token.mark, expires_at, config.single_use)

    async def _by_certificate(
        self, shown: ClientCertificate | None, acting_as: str, proof: Proof
    ) -> Account | NotProven | Refused:
        if shown is not None and shown.revocation in ("stale", "unknown"):
            return Refused(Reason.UNAVAILABLE)
        if shown is None or shown.revocation != "good":
            reason = "certificate-revoked" if shown else "no-certificate"
            await self._store.write(proofs.note_attempt, None, reason, proof, self._clock())
            return NotProven.NOBODY
        return await self._store.write(proofs.sign_in_by_certificate, shown, acting_as, proof, self._clock())

    async def hash(self, password: Secret) -> str:
        """Return the hash of a new password, computed off the loop."""
        async with self._slots:
            return await self._in_thread(passwords.hash_password, password.text())

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _guarded(
        self,
        login: str,
        mechanism: str,
        source: str,
        compare: Callable[[Account | None], Awaitable[Account | None]],
        *,
        final: bool,
        code: bool = False,
    ) -> Account | Refused:
        """Judge one attempt, one of a few at a time.

        The wait is read after the turn has come: guesses sent all at once wait in the line and meet the failures of
        those before them.
        """
        if self._waiting >= self._limits.login_waiting_max:
            return Refused(Reason.BUSY, 1)
        self._waiting += 1
        try:
            async with self._slots:
                outcome, tried = await self._judged(login, mechanism, source, compare, code=code)
        finally:
            self._waiting -= 1
        # Nobody in the line has to meet a success: its turn is over before it is on disk.
        if final and tried is not None and isinstance(outcome, Account):
            await self._store.write(accounts.record_login, tried, True, self._clock())
        return outcome

    async def _judged(
        self,
        login: str,
        mechanism: str,
        source: str,
        compare: Callable[[Account | None], Awaitable[Account | None]],
        *,
        code: bool,
    ) -> tuple[Account | Refused, Try | None]:
        """Return the outcome, and what is to be recorded of it; a failure is recorded already."""
        login = login[: LOGIN_MAX_CHARACTERS + 1]
        now = self._clock()
        if wait_s := self._sources.wait_s(source, now):
            return Refused(Reason.LOCKED, wait_s), None
        known = await self._store.read(accounts.credentials, login, source, self._limits, now)
        if known.locked_until is not None and known.locked_until > now:
            return Refused(Reason.LOCKED, _seconds(known.locked_until - now)), None
        account = await compare(known.account if len(login) <= LOGIN_MAX_CHARACTERS else None)
        tried = Try(login, known.account.id if known.account else None, mechanism, source, code)
        if account is not None:
            return account, tried
        self._sources.failed(source, now)
        await self._store.write(accounts.record_login, tried, False, self._clock())
        return Refused(Reason.BAD_CREDENTIALS), tried

    async def _compare(self, stored: Account | None, password: Secret) -> Account | None:
        try:
            text = password.text()
        except UnicodeDecodeError:
            stored, text = None, ""
        if stored is None:
            await self._in_thread(passwords.verify_nothing)
            return None
        right = await self._in_thread(passwords.verify, stored.password_hash, text)
        if not right or not stored.enabled:
            return None
        if passwords.needs_rehash(stored.password_hash):
            await self._renew(stored, text)
        return stored

    async def _renew(self, stored: Account, text: str) -> None:
        """Hash a password at today's cost: only now, when it is here. Where that fails, the next sign-in tries."""
        renewed = await self._in_thread(passwords.hash_password, text)
        with contextlib.suppress(Unavailable, Conflict):
            await self._store.write(accounts.renew_hash, stored.id, stored.password_hash, renewed)

    async def _in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        call = partial(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


class _Sources:
    """The failures of each network within a sliding window; those quiet for longest are forgotten first."""

    def __init__(self, failures_max: int, window: timedelta) -> None:
        self._failures_max, self._window = max(1, failures_max), window
        self._times: OrderedDict[str, deque[datetime]] = OrderedDict()

    def failed(self, source: str, now: datetime) -> None:
        """Note a failure."""
        network = network_of(source)
        self._times.setdefault(network, deque(maxlen=self._failures_max)).append(now)
        self._times.move_to_end(network)
        if len(self._times) > SOURCES_MAX:
            self._times.popitem(last=False)

    def wait_s(self, source: str, now: datetime) -> int:
        """Return how long the source must wait before its next attempt; 0 when it may try now."""
        times = self._times.get(network_of(source))
        if times is None or len(times) < self._failures_max:
            return 0
        return _seconds(times[0] + self._window - now)


def _seconds(span: timedelta) -> int:
    """Return whole seconds, rounded up, never negative."""
    return max(0, ceil(span.total_seconds()))
