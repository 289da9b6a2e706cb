"""Who is at the browser: sessions in the store behind a cookie (RFC 6265bis), and the boxes they may act for.

The cookie holds a random token, the store its SHA-256. It checks no password.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

from mss.model.account import Account
from mss.services import accounts
from mss.services.accounts import BoxAccess, WebSession

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mss.clock import Clock
    from mss.store import Store, Uow

_TOUCH_AFTER: Final = timedelta(seconds=60)
_DEVICE_MAX_CHARACTERS: Final = 200
_TOKEN_MAX_CHARACTERS: Final = 100


@dataclass(frozen=True, slots=True)
class Visit:
    """A signed-in browser: its session, account, the boxes that the account may act for, and the one in view."""

    session: WebSession
    account: Account
    boxes: tuple[BoxAccess, ...]
    access: BoxAccess | None


class Cookies:
    """Names and attributes of our cookies; the `__Host-` prefix keeps other hosts from planting one."""

    def __init__(self, *, secure: bool) -> None:
        self._secure = secure
        prefix = "__Host-" if secure else ""
        self.session, self.form, self.locale = f"{prefix}mss", f"{prefix}mss-form", f"{prefix}mss-lang"

    def put(self, response: Response, name: str, value: str, max_age_s: int | None = None) -> None:
        """Set a cookie that scripts cannot read and other sites' forms do not carry."""
        response.set_cookie(
            name, value, max_age=max_age_s, path="/", secure=self._secure, httponly=True, samesite="lax"
        )

    def drop(self, response: Response, name: str) -> None:
        """Take a cookie back."""
        response.delete_cookie(name, path="/", secure=self._secure, httponly=True, samesite="lax")


class Sessions:
    """Opens, finds and closes sessions."""

    def __init__(self, store: Store, clock: Clock, cookies: Cookies, *, idle_s: int, max_s: int) -> None:
        self._store, self._clock, self._cookies = store, clock, cookies
        self._idle_s, self._max_s = idle_s, max_s

    async def open(
        self, response: Response, account_id: int, box_id: int, device: str, *, second_factor_done: bool
    ) -> None:
        """Begin a session and put its token into the cookie of an answer."""
        now = self._clock()
        session = WebSession("", account_id, box_id, new_token(), now, now, second_factor_done, _device(device))
        await self._begin(response, session, None)

    async def renew(self, response: Response, old: WebSession, *, box_id: int, second_factor_done: bool) -> WebSession:
        """Replace a session by one with new tokens that ends no later; both in one unit of work."""
        session = replace(old, box_id=box_id, second_factor_done=second_factor_done, csrf=new_token())
        return await self._begin(response, session, old.token_hash)

    async def _begin(self, response: Response, session: WebSession, old_hash: str | None) -> WebSession:
        token, now = new_token(), self._clock()
        session = replace(session, token_hash=hash_of(token), seen_at=now)
        await self._store.write(_exchange, session, old_hash, now)
        self._cookies.put(response, self._cookies.session, token)
        return session

    async def find(self, request: Request) -> Visit | None:
        """Return who is there, noting the activity about once a minute; None without a live session."""
        token = request.cookies.get(self._cookies.session, "")
        if not token or len(token) > _TOKEN_MAX_CHARACTERS:
            return None
        now = self._clock()
        visit = await self._store.read(_visit, hash_of(token), self._idle_s, self._max_s, now)
        if visit is not None and now - visit.session.seen_at >= _TOUCH_AFTER:
            await self._store.write(accounts.touch_session, visit.session.token_hash, None, now)
        return visit

    async def close(self, response: Response, session: WebSession) -> None:
        """End a session and take its cookie back."""
        await self._store.write(accounts.close_session, session.token_hash, self._clock())
        self._cookies.drop(response, self._cookies.session)


def _exchange(uow: Uow, session: WebSession, old_hash: str | None, now: datetime) -> None:
    if old_hash is not None:
        accounts.close_session(uow, old_hash, now)
    accounts.open_session(uow, session, now)


def _visit(uow: Uow, token_hash: str, idle_s: int, max_s: int, now: datetime) -> Visit | None:
    found = accounts.session(uow, token_hash, idle_s, max_s, now)
    if found is None:
        return None
    session, account = found
    boxes = accounts.boxes_of(uow, account.id, now)
    inview = next((access for access in boxes if access.box.id == session.box_id), None)
    return Visit(session, account, boxes, inview)


def new_token() -> str:
    """Return 256 random bits as text."""
    return secrets.token_urlsafe(32)


def hash_of(token: str) -> str:
    """Return what the store keeps of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


Browser = Literal["Firefox", "Edge", "Chrome", "Safari", ""]
_BROWSERS: Final[tuple[tuple[str, Browser], ...]] = (
    ("Firefox/", "Firefox"),
    ("Edg", "Edge"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)


def _device(user_agent: str) -> str:
    """Return a browser and a system that a person recognises; the rest of a User-Agent identifies too much."""
    browser = next((name for sign, name in _BROWSERS if sign in user_agent), "")
    system = next((name for sign, name in _SYSTEMS if sign in user_agent), "")
    return " – ".join(filter(None, (browser, system)))[:_DEVICE_MAX_CHARACTERS]
