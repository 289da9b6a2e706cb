"""One session: the loop from octets to answers, its state, its errors, its one line in the log.

Commands are done in `handlers`. The error map: Malformed → BAD, what a mailbox cannot do → NO with its code,
Unavailable → NO [UNAVAILABLE], all else → an incident number in the log and in a NO [UNAVAILABLE].
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from time import monotonic
from typing import Concatenate, Final, ParamSpec, TypeVar

from mss.errors import Conflict, Malformed, Unavailable, incident_number
from mss.imap import commands as c
from mss.imap import responses, units
from mss.imap.connection import State, capabilities, may_tell_expunges, refusal
from mss.imap.fetch import UnknownEncoding
from mss.imap.house import House
from mss.imap.parser import parse
from mss.imap.places import Place, Places
from mss.imap.stream import Gone, Stream
from mss.imap.view import View
from mss.imap.wire import Frame, GoAhead, Reason, Refused, WireLimits
from mss.log import get_logger
from mss.model.account import Account
from mss.model.message import Structure
from mss.model.peer import ClientCertificate
from mss.services import own_seen
from mss.services.mailbox import (
    LimitReached,
    MailboxExists,
    NoSuchLetter,
    NoSuchMailbox,
    NotPermitted,
    UseTaken,
)
from mss.services.quotas import OverQuota
from mss.store import Uow
from mss.store.store import Subscription

P = ParamSpec("P")
T = TypeVar("T")

_log = get_logger("imap")

# The words of `Session.enabled`.
REV2: Final = "IMAP4REV2"
UTF8: Final = "UTF8=ACCEPT"
_LARGE_OCTETS: Final = 64 * 1024
_MEMORY_TIMEOUT_S: Final = 30
_ACCESS_CHECK_S: Final = 30
_CATCH_UP_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended."""

    condition: str
    text: str
    code: str = ""


def done(text: str = "Done", code: str = "") -> Answer:
    """Return the answer of a command that did what it was asked."""
    return Answer("OK", text, code)


Handlers = Callable[["Session", c.Request], Awaitable[Answer | None]]


class Selected:
    """The selected mailbox: its numbering, its place, the wake-ups of its box, and the last letter's index."""

    __slots__ = ("caught_up_at", "indexed_uid", "place", "structure", "subscription", "told_keywords", "view")

    def __init__(self, view: View, place: Place, subscription: Subscription) -> None:
        self.view, self.place, self.subscription = view, place, subscription
        self.told_keywords = view.mailbox.keywords
        self.caught_up_at = monotonic()
        self.indexed_uid = 0
        self.structure: Structure | None = None


class Session:
    """A client's session, from greeting to goodbye."""

    def __init__(self, house: House, stream: Stream, handle: Handlers) -> None:
        self.house, self.stream = house, stream
        self.state = State.NOT_AUTHENTICATED
        self.account: Account | None = None
        self.personal_box_id: int | None = None
        self.places = Places(())
        self.selected: Selected | None = None
        # What ENABLE turned on, in capitals (RFC 5161).
        self.enabled: set[str] = set()
        self.condstore = False
        self.closing = False
        self.login_failures = 0
        # Set by whoever writes: the next catch-up must ask the store.
        self.changed = False
        self._handle = handle
        self._held_octets = 0
        self._errors = 0
        self._commands = 0
        self._started = monotonic()
        self._access_checked_at = monotonic()

    # --- life ---

    async def run(self) -> None:
        """Serve the client until one side ends it; never raises."""
        outcome = "logout"
        try:
            self._greet()
            while self.state is not State.LOGOUT:
                await self._step()
        except Gone as gone:
            outcome = gone.reason
            if gone.bye:
                self.stream.write(responses.tagged("*", "BYE", gone.bye))
                await self.stream.hear_out()
        except Exception:  # noqa: BLE001 – the session's supervisor.
            outcome = "incident"
            _log.exception("imap.session_failed", incident=incident_number())
        finally:
            self._give_back()
            self.unselect()
            await self.stream.close()
            self._write_line(outcome)

    def _greet(self) -> None:
        self.stream.write(responses.tagged("*", "OK", "Ready", f"CAPABILITY {self.capabilities()}"))

    def _write_line(self, outcome: str) -> None:
        stream = self.stream
        self.move_to(None)
        self.house.metrics.session_closed(outcome)
        _log.info(
            "imap.session",
            outcome=outcome,
            ip=stream.ip,
            tls=stream.tls_version,
            account=self.account.id if self.account else None,
            commands=self._commands,
            errors=self._errors,
            octets_in=stream.octets_in,
            octets_out=stream.octets_out,
            duration_s=round(monotonic() - self._started, 3),
        )

    def move_to(self, state: State | None) -> None:
        """Change state; None is the end."""
        self.house.metrics.state(self.state.name.lower(), state.name.lower() if state else "")
        if state is not None:
            self.state = state

    def leave(self) -> None:
        """Ask the session to end as soon as no command is under way."""
        self.closing = True
        self.stream.poke()

    def capabilities(self) -> str:
        """Return what is announced now."""
        limit = self.house.limits.message_max_octets
        return capabilities(self.state, tls=self.stream.tls, append_limit_octets=limit, mechanisms=self.mechanisms())

    def mechanisms(self) -> tuple[str, ...]:
        """Return how this client may sign in."""
        return ("PLAIN", *self.house.sign_in.mechanisms(self.certificate()))

    def certificate(self) -> ClientCertificate | None:
        """Return the certificate that the client shows; None for one that cannot be used: a password may be right."""
        if not self.stream.tls:
            return None
        try:
            return self.house.certificate(self.stream.end, self.house.clock())
        except (Malformed, Unavailable) as error:
            _log.warning("imap.certificate_unusable", ip=self.stream.ip, reason=str(error))
            return None

    async def start_tls(self) -> None:
        """Shake hands."""
        await self.stream.start_tls(self.house.tls_context(), WireLimits.before_login(self.house.limits))

    # --- the loop ---

    def deadline(self) -> float:
        """Return the loop time until which the client must have sent something whole."""
        loop, limits = asyncio.get_running_loop(), self.house.limits
        if self.state is State.NOT_AUTHENTICATED:
            return loop.time() + limits.imap_login_timeout_s - (monotonic() - self._started)
        return loop.time() + limits.imap_idle_timeout_s

    async def _step(self) -> None:
        event = await self.stream.next(self.deadline())
        match event:
            case None:
                self.check_closing()
            case GoAhead(size, waits):
                await self.go_ahead(size, waits=waits)
            case Refused():
                self.refused(event)
            case Frame():
                await self._take(event)
                self._give_back()
        await self.stream.drain()

    def check_closing(self) -> None:
        """End the session when the server is closing."""
        if self.closing:
            raise Gone("closed", "Server is closing, come back soon")

    async def go_ahead(self, size_octets: int, *, waits: bool) -> None:
        """Let a literal come, once there is memory for it."""
        if size_octets > _LARGE_OCTETS and not await self.hold(size_octets):
            self._decline(waits=waits)
            return
        if waits:
            self.stream.write(responses.go_ahead())

    async def hold(self, octets: int) -> bool:
        """Count octets that a command needs in the process's memory until it is done; False when there is no room."""
        if not await self.house.memory.take(octets, _MEMORY_TIMEOUT_S):
            return False
        self._held_octets += octets
        return True

    def let_go(self, octets: int) -> None:
        """Give back some of what is held."""
        self._held_octets -= octets
        self.house.memory.give(octets)

    def _decline(self, *, waits: bool) -> None:
        """Refuse a literal for want of memory; a client that does not do what it announced is cut off."""
        tag = self.stream.wire.decline()
        self._give_back()
        self.stream.write(responses.tagged(tag, "NO", "Too many letters at once, try again", "UNAVAILABLE"))
        if waits and self.stream.wire.pending:
            raise Gone("refused", "Goodbye")

    def _give_back(self) -> None:
        if self._held_octets:
            self.house.memory.give(self._held_octets)
            self._held_octets = 0

    def refused(self, event: Refused) -> None:
        """Answer a command that was too large or not well framed."""
        self._give_back()
        too_big = event.reason is Reason.TOO_BIG
        code = "TOOBIG" if too_big and self.state is not State.NOT_AUTHENTICATED else ""
        self.stream.write(responses.tagged(event.tag, "NO" if code else "BAD", event.text, code))
        if event.fatal or (too_big and self.stream.wire.pending):
            raise Gone("refused", "Goodbye")
        self.count_error()

    def count_error(self) -> None:
        """Count a mistake of the client; too many end the session."""
        self._errors += 1
        if self._errors > self.house.limits.imap_errors_max:
            raise Gone("errors", "Too many errors")

    async def _take(self, frame: Frame) -> None:
        parsed = parse(frame, self.house.limits, frozenset(self.enabled))
        if isinstance(parsed, c.Bad):
            condition = "NO" if parsed.code else "BAD"
            self.stream.write(responses.tagged(parsed.tag, condition, parsed.text, parsed.code))
            self.count_error()
            return
        self._commands += 1
        started = monotonic()
        answer = await self._answer(parsed)
        if answer is not None:
            self.stream.write(responses.tagged(parsed.tag, answer.condition, answer.text, answer.code))
        name = type(parsed.command).__name__.lower()
        self.house.metrics.command(name, answer.condition if answer else "OK", monotonic() - started)
        if answer is not None and answer.condition == "BAD":
            self.count_error()

    async def _answer(self, request: c.Request) -> Answer | None:
        refused = refusal(self.state, request.command, tls=self.stream.tls)
        if refused is not None:
            return Answer(refused.condition, refused.text, refused.code)
        try:
            await self.refresh_if_old()
            answer = await self._handle(self, request)
            await self._catch_up_after(request.command)
            answer = self._with_mark(request.command, answer)
        except Gone:
            raise
        except Exception as error:  # noqa: BLE001 – the door's error map.
            return self._failed(error, request.command)
        return answer

    def _with_mark(self, command: c.Command, answer: Answer | None) -> Answer | None:
        """Name the highest MODSEQ after letters were removed: all changes up to it were told (RFC 7162 §3.2.7)."""
        removes = isinstance(command, c.Expunge) or (isinstance(command, c.Copy) and command.move)
        if not (
            removes and self.condstore and self.selected and answer and answer.condition == "OK" and not answer.code
        ):
            return answer
        return replace(answer, code=f"HIGHESTMODSEQ {max(1, self.selected.view.mailbox.modseq)}")

    def _failed(self, error: Exception, command: c.Command) -> Answer:
        """Map an error to its answer."""
        match error:
            case Malformed() if isinstance(command, c.Create | c.Rename):
                return Answer("NO", "Not a name for a mailbox", "CANNOT")
            case Malformed():
                return Answer("BAD", "That cannot be")
            case NoSuchMailbox():
                creatable = isinstance(command, c.Append | c.Copy | c.Replace)
                return Answer("NO", "No such mailbox", "TRYCREATE" if creatable else "NONEXISTENT")
            case OverQuota():
                return Answer("NO", "The box holds as much as it may", "OVERQUOTA")
            case UseTaken():
                return Answer("NO", "That special use cannot be had", "USEATTR")
            case UnknownEncoding():
                return Answer("NO", "A part's encoding is unknown", "UNKNOWN-CTE")
            case NoSuchLetter():
                return Answer("NO", "The letter is gone", "EXPUNGEISSUED")
            case MailboxExists():
                return Answer("NO", "The mailbox exists already", "ALREADYEXISTS")
            case LimitReached():
                return Answer("NO", "A limit is reached", "LIMIT")
            case NotPermitted():
                return Answer("NO", "That cannot be done with this mailbox", "CANNOT")
        incident, name = incident_number(), type(command).__name__.lower()
        if isinstance(error, Unavailable | Conflict):
            _log.error("imap.incident", incident=incident, command=name, kind=type(error).__name__, reason=str(error))
            return Answer("NO", f"Try again later, incident {incident}", "UNAVAILABLE")
        _log.error("imap.incident", incident=incident, command=name, exc_info=error)
        return Answer("NO", f"Something went wrong here, incident {incident}", "UNAVAILABLE")

    # --- the store ---

    async def read(self, service: Callable[Concatenate[Uow, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Ask the store."""
        return await self.house.store.read(service, *args, **kwargs)

    async def write(self, service: Callable[Concatenate[Uow, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Change the store; the client is told with the answer."""
        self.changed = True
        return await self.house.store.write(service, *args, **kwargs)

    @property
    def actor(self) -> str:
        """Who acts, for the journal."""
        return f"account:{self.account.id}" if self.account else "stranger"

    @property
    def account_id(self) -> int:
        """The account, where the table of states says that there is one."""
        if self.account is None:
            raise RuntimeError("nobody has signed in")
        return self.account.id

    @property
    def reader(self) -> int | None:
        """Whose \\Seen counts in the selected mailbox; None: everybody's."""
        return self.reader_of(self.here.place)

    def reader_of(self, place: Place) -> int | None:
        """Return whose \\Seen counts in a box; None: everybody's."""
        return self.account_id if place.own_seen else None

    @property
    def rev2(self) -> bool:
        """Whether the client speaks IMAP4rev2 (RFC 9051)."""
        return REV2 in self.enabled

    @property
    def utf8(self) -> bool:
        """Whether mailbox names go out in UTF-8."""
        return not self.enabled.isdisjoint((UTF8, REV2))

    async def refresh_if_old(self) -> None:
        """Look again, every so often, whether the account may still be here and which boxes it reaches."""
        if self.account is not None and monotonic() - self._access_checked_at > _ACCESS_CHECK_S:
            await self.refresh_places()

    async def refresh_places(self) -> None:
        """Read the account's boxes; an account that has lost them all, or the selected one, is sent away."""
        if self.account is None:
            return
        self.places = await self.read(units.places, self.account, self.personal_box_id, self.house.clock())
        self._access_checked_at = monotonic()
        lost = self.selected and self.places.by_box(self.selected.place.box.id) is None
        if lost or not self.places.all:
            raise Gone("access-ended", "Access has ended")

    # --- the selected mailbox ---

    def select(self, view: View, place: Place) -> None:
        """Begin to follow a mailbox."""
        self.unselect()
        subscription = self.house.store.subscribe("mailbox", place.box.id)
        self.selected = Selected(view, place, subscription)
        self.move_to(State.SELECTED)

    def unselect(self) -> None:
        """Stop following."""
        if self.selected is not None:
            self.selected.subscription.close()
            self.selected = None
            self.move_to(State.AUTHENTICATED)

    @property
    def here(self) -> Selected:
        """The selected mailbox, where the table of states says that there is one."""
        if self.selected is None:
            raise RuntimeError("no mailbox is selected")
        return self.selected

    async def _catch_up_after(self, command: c.Command) -> None:
        if self.selected is None or isinstance(command, c.Select):
            self.changed = False
            return
        asks = isinstance(command, c.Noop | c.Check | c.Idle)
        if asks or self.changed or await self._is_behind():
            await self.catch_up()
        self.tell(expunges=may_tell_expunges(command))

    async def _is_behind(self) -> bool:
        """Say whether the mailbox may have changed: a wake-up came, or the last look is old."""
        if monotonic() - self.here.caught_up_at > _CATCH_UP_S:
            return True
        return await self.here.subscription.wait(0)

    async def catch_up(self) -> None:
        """Pull what happened since the last time; nothing is told yet."""
        here = self.here
        self.changed = False
        here.caught_up_at = monotonic()
        since = here.view.mailbox
        try:
            now = self.house.clock()
            which = (since.id, since.modseq, now, self.reader)
            news = await self.house.store.glance(own_seen.few_changes, *which)
            if news is None:
                news = await self.read(own_seen.changes, *which)
        except NoSuchMailbox:
            raise Gone("mailbox-gone", "The selected mailbox was deleted") from None
        here.view.apply(news.mailbox, news.log, news.flags)

    def tell(self, *, expunges: bool) -> None:
        """Send what is due of the news."""
        here = self.here
        keywords = here.view.mailbox.keywords
        told = here.view.tell(expunges=expunges, condstore=self.condstore, vanished="QRESYNC" in self.enabled)
        if keywords != here.told_keywords:
            here.told_keywords = keywords
            told.insert(0, responses.mailbox_flags(keywords, read_only=here.view.read_only))
        if told:
            self.stream.write(b"".join(told))
