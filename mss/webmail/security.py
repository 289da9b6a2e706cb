"""The patient's own keys: changing the password, and moving the one-time codes to another application.

Both ask for the password again: a browser left open is not enough.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from mss.errors import Malformed
from mss.model.secret import Secret
from mss.passwords import PASSWORD_MIN_CHARACTERS, check_strength
from mss.services import accounts
from mss.signin import Reason, Refused
from mss.store import Uow
from mss.web.forms import Form
from mss.web.pages import mark
from mss.webmail import login, secondfactor
from mss.webmail.conversations import Problem
from mss.webmail.room import Guest, Room, go

PASSWORD: Final = "/sessions/password"
APPLICATION: Final = "/sessions/application"
_WEAK: Final = mark("Choose a password of at least %(min)s characters that are not all the same.")


async def change_password(room: Room, request: Request, guest: Guest) -> Response:
    """Ask for the old and the new password; the change signs out everywhere."""
    if request.method != "POST":
        return await _password_page(room, request, guest)
    form = await room.form(request, guest)
    problems = _unfit(form.get("new"), form.get("again"))
    if not problems:
        problems = await _wrong_password(room, request, guest, form)
    if problems:
        return await _password_page(room, request, guest, 422, tuple(problems))
    hashed = await room.sign_in.hash(_secret(form.get("new")))
    account = guest.visit.account
    await room.store.write(accounts.set_password, account.login, hashed, f"account:{account.id}", room.clock())
    response = go(login.SIGN_IN, "password")
    room.cookies.drop(response, room.cookies.session)
    return response


async def _password_page(
    room: Room, request: Request, guest: Guest, status: int = 200, problems: tuple[Problem, ...] = ()
) -> Response:
    return await room.page(request, guest, "password.html", status, problems=problems, least=PASSWORD_MIN_CHARACTERS)


def _unfit(new: str, again: str) -> list[Problem]:
    try:
        check_strength(new)
    except Malformed:
        return [Problem("new", _WEAK, {"min": PASSWORD_MIN_CHARACTERS})]
    return [] if new == again else [Problem("again", mark("The two new passwords differ."), {})]


async def _wrong_password(room: Room, request: Request, guest: Guest, form: Form) -> list[Problem]:
    """Compare the present password, under the back-off of all sign-ins."""
    account, source = guest.visit.account, login.source_of(request)
    outcome = await room.sign_in.check(account.login, _secret(form.get("password")), "web", source, final=False)
    if not isinstance(outcome, Refused):
        return []
    if outcome.temporary:
        return [Problem("password", login.REFUSALS[outcome.reason], {"minutes": -(-outcome.retry_after_s // 60)})]
    return [Problem("password", mark("This is not your present password."), {})]


def _secret(text: str) -> Secret:
    return Secret(text.encode("utf-8", "surrogatepass"))


async def change_application(room: Room, request: Request, guest: Guest) -> Response:
    """Show a new secret; with the password and a first code made with it, it takes the old one's place.

    Until then the old one holds: the new secret is only in the page.
    """
    if request.method != "POST":
        return await _application_page(room, request, guest, secondfactor.new_secret())
    form = await room.form(request, guest)
    secret = secondfactor.read_secret(form.get("secret"))
    if secret is None:
        return go(APPLICATION)
    now = room.clock()
    step = secondfactor.step_of(secret, form.get("code"), now, -1)
    problems = await _wrong_password(room, request, guest, form)
    if step is None:
        problems.append(Problem("code", login.CODE_REFUSALS[Reason.BAD_CREDENTIALS], {}))
    if problems or step is None:
        return await _application_page(room, request, guest, secret, tuple(problems))
    codes, hashes = login.new_recovery_codes(guest.account_id)
    await room.store.write(replace_factor, guest.account_id, guest.visit.session.token_hash, secret, hashes, step, now)
    return await login.recovery_codes_page(room, request, guest.visit, codes)


async def _application_page(
    room: Room, request: Request, guest: Guest, secret: Secret, problems: tuple[Problem, ...] = ()
) -> Response:
    address = secondfactor.uri(secret, guest.visit.account.login, room.config.operator.name)
    return await room.page(
        request, guest, "application.html", 422 if problems else 200, problems=problems, address=address,
        picture=secondfactor.picture(address), secret=secondfactor.grouped(secret),
    )  # fmt: skip


def replace_factor(
    uow: Uow, account_id: int, own_hash: str, secret: Secret, hashes: tuple[str, ...], step: int, now: datetime
) -> None:
    """Put a new second factor and new recovery codes in place, and end the account's other sessions."""
    accounts.set_second_factor(uow, account_id, secret, hashes, now)
    accounts.use_code(uow, account_id, step, now)
    for session in accounts.sessions(uow, account_id, now):
        if session.token_hash != own_hash:
            accounts.close_session(uow, session.token_hash, now)
