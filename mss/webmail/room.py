"""What every page of the webmail works with: store, clock, sessions, templates, and how a page is drawn.

It holds no page and takes no decision.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from mss.clock import Clock
from mss.config import Config
from mss.model.account import Box, DelegationKind
from mss.screening import Screen
from mss.services import records
from mss.services.accounts import BoxAccess
from mss.services.house import hosted
from mss.services.rights import book_of
from mss.services.submit import Outside
from mss.signin import SignIn
from mss.store import Store
from mss.web import forms
from mss.web.forms import Form, TooLarge
from mss.web.pages import Locale, choose_locale, locale_of, mark, pages_of
from mss.web.sessions import Cookies, Sessions, Visit
from mss.webmail import files
from mss.webmail.looking import Noted
from mss.webmail.veil import Veil, make_veil

UPLOADS_AT_ONCE: Final = 8
_FORM_ROOM_OCTETS: Final = 512 * 1024
_SENT_TWICE_WITHIN: Final = timedelta(seconds=60)
_SENT_REMEMBERED_MAX: Final = 1000

# What a page says after something was done; `?done=` carries the key, so that nothing of a person is in a URL.
DONE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "sent": mark("Your message has been sent."),
        "saved": mark("Your draft has been saved, with its files."),
        "dropped": mark("Your draft has been deleted."),
        "removed": mark("The file has been removed from your draft."),
        "filed": mark("The document has been added to your documents."),
        "closed": mark("The session has been closed."),
        "others-closed": mark("All your other sessions have been closed."),
        "password": mark("Your password has been changed. Sign in with the new one."),
        "box": mark("You are now in another mailbox."),
        "named": mark("It is set. You can take it back at any time."),
        "withdrawn": mark("It has been taken back."),
        "chosen": mark("Your choices have been kept."),
        "masked": mark("The document is masked from professionals."),
        "unmasked": mark("The document can be seen by professionals who may see your documents."),
        "accepted": mark("You accepted the invitation. Choose the mailbox at the top of the page."),
        "refused": mark("You refused the invitation."),
        "left": mark("You no longer act for this person."),
        "opposed": mark("You no longer receive messages."),
        "reopened": mark("You receive messages again."),
        "out": mark("You have signed out."),
        "expired": mark("You have been signed out because nothing happened for a while. Sign in again."),
    }
)


@dataclass(frozen=True, slots=True)
class Guest:
    """A signed-in person with both factors, in a box that they may act for."""

    visit: Visit
    access: BoxAccess
    locale: Locale

    @property
    def box(self) -> Box:
        """The box in view."""
        return self.access.box

    @property
    def account_id(self) -> int:
        """Who acts."""
        return self.visit.account.id

    @property
    def acts_for_another(self) -> bool:
        """Whether the box is somebody else's."""
        return self.access.kind is not DelegationKind.OWNER


Page = Callable[["Room", Request, Guest], Awaitable[Response]]


class Room:
    """The webmail of one operator, in one process."""

    def __init__(
        self,
        store: Store,
        config: Config,
        clock: Clock,
        sign_in: SignIn,
        outside: Callable[[], Outside],
        screen: Screen,
    ) -> None:
        self.screen = screen
        self.store, self.config, self.clock, self.sign_in, self.outside = store, config, clock, sign_in, outside
        self.limits = config.limits
        self.hosted = hosted(config)
        self.secure = not config.webmail.plain or config.webmail.base_url.startswith("https:")
        self.cookies = Cookies(secure=self.secure)
        settings = config.webmail
        self.sessions = Sessions(
            store, clock, self.cookies, idle_s=settings.session_idle_s, max_s=settings.session_max_s
        )
        self.zone = ZoneInfo(settings.time_zone)
        self.pages = pages_of(Path(__file__).parent, self.zone)
        self.files_max_octets = files.room_for_files(config.limits.message_max_octets)
        self.book = book_of(config)
        self.uploads = asyncio.Semaphore(UPLOADS_AT_ONCE)
        self.sent = Recently(clock)
        self.noted = Noted(clock)

    @property
    def body_max_octets(self) -> int:
        """How large a form with files may be."""
        return min(self.files_max_octets + _FORM_ROOM_OCTETS, self.limits.http_body_max_octets)

    def veil(self, guest: Guest) -> Veil:
        """Return what keeps professional addresses off this person's screen."""
        ours = {domain for domain, kind in self.hosted.domains.items() if kind == "professional"}
        instead = self.pages.sentence(mark("[address hidden]"), guest.locale)
        return make_veil(instead, ours | self.outside().reachable)

    def today(self) -> date:
        """Return the day where the patients are."""
        return self.clock().astimezone(self.zone).date()

    def locale(self, request: Request, visit: Visit | None = None) -> Locale:
        """Return the language to speak: the one chosen here, the account's, or the browser's."""
        chosen = request.cookies.get(self.cookies.locale, "")
        if visit is not None:
            return choose_locale(chosen, visit.account.locale, self.config.webmail.default_locale)
        return locale_of(request, self.cookies.locale, self.config.webmail.default_locale)

    def draw(self, request: Request, name: str, locale: Locale, status: int = 200, **values: Any) -> Response:
        """Return a page for somebody who is not signed in, or not yet with both factors."""
        frame = {"operator": self.config.operator.name, "path": request.url.path, "done": _done(request)}
        nobody = {"guest": None, "unread": 0, "csrf": "", "problem": "", "problems": ()}
        return self.pages.page(name, locale, status, **(frame | nobody | values))

    async def page(self, request: Request, guest: Guest, name: str, status: int = 200, **values: Any) -> Response:
        """Return a page inside the frame of a signed-in person."""
        unread = await self.store.read(records.unread, guest.account_id, guest.box.id, self.clock())
        frame = {"guest": guest, "unread": unread, "csrf": guest.visit.session.csrf}
        return self.draw(request, name, guest.locale, status, **(frame | values))

    def error(self, request: Request, status: int, incident: str = "") -> Response:
        """Return the page of an error: what happened, what to do, never a detail."""
        return self.draw(request, "error.html", self.locale(request), status, code=status, incident=incident)

    async def form(
        self, request: Request, guest: Guest, *, max_octets: int = forms.SMALL_OCTETS, files_max: int = 0
    ) -> Form:
        """Return a form of ours that was drawn for the box in view; HTTPException 409 when another box is in view."""
        try:
            form = await forms.read(request, guest.visit.session.csrf, max_octets=max_octets, files_max=files_max)
        except TooLarge as error:
            raise (error if error.form.get("box") == str(guest.box.id) else HTTPException(409)) from None
        if form.get("box") != str(guest.box.id):
            raise HTTPException(409)
        return form

    def form_cookie(self, request: Request) -> str:
        """Return the token of forms before there is a session; empty when the browser brought none of ours."""
        token = request.cookies.get(self.cookies.form, "")
        return token if 20 <= len(token) <= 100 else ""


class Recently:
    """What was just sent, so that a button pressed twice sends once. A hint of this process, kept for a minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: OrderedDict[tuple[int | str, ...], datetime] = OrderedDict()

    def first(self, *key: int | str) -> bool:
        """Note something; False when the same was noted a moment ago."""
        now = self._clock()
        while self._seen and next(iter(self._seen.values())) <= now - _SENT_TWICE_WITHIN:
            self._seen.popitem(last=False)
        if key in self._seen:
            return False
        self._seen[key] = now
        if len(self._seen) > _SENT_REMEMBERED_MAX:
            self._seen.popitem(last=False)
        return True

    def forget(self, *key: int | str) -> None:
        """Take a note back: it was not sent after all."""
        self._seen.pop(key, None)


def go(path: str, done: str = "", fragment: str = "") -> Response:
    """Send the browser on with a GET."""
    query = f"?done={quote(done)}" if done else ""
    return RedirectResponse(f"{path}{query}{'#' if fragment else ''}{fragment}", 303)


def _done(request: Request) -> str:
    return DONE.get(request.query_params.get("done", ""), "")


def number(text: str) -> int:
    """Return an identifier from a path or a form; HTTPException 404 when it is none."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise HTTPException(404)
    return int(text)
