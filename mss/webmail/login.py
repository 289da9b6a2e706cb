"""Signing in: password, then a one-time code; the first time, the setting-up of the codes; signing out.

A session exists from the right password on, and opens nothing but these pages until the code was right. Its token
changes at every step.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mss.model.account import Account
from mss.model.secret import Secret
from mss.policy.access import MAY_USE, Door
from mss.services import accounts
from mss.services.accounts import SecondFactor
from mss.signin import Reason, Refused
from mss.store import Uow
from mss.web import forms
from mss.web.forms import Form
from mss.web.pages import Locale, choose_locale, is_locale, mark
from mss.web.sessions import Visit, new_token
from mss.webmail import secondfactor
from mss.webmail.room import Room, go

SIGN_IN: Final = "/sign-in"
CODE: Final = "/sign-in/code"
RECOVERY: Final = "/sign-in/recovery-code"
SET_UP: Final = "/sign-in/set-up"
HOME: Final = "/conversations"

_PATIENTS: Final = MAY_USE[Door.WEBMAIL]
REFUSALS: Final = {
    Reason.BAD_CREDENTIALS: mark("The user name or the password is not right."),
    Reason.LOCKED: mark("Too many failed attempts. Try again in %(minutes)s min."),
    Reason.BUSY: mark("The service is very busy. Try again in a moment."),
    Reason.WRONG_DOOR: mark("This webmail is for patients. Professionals read their letters with their mail program."),
}
CODE_REFUSALS: Final = REFUSALS | {
    Reason.BAD_CREDENTIALS: mark("This code is not right, or has been used already. Wait for the next one."),
}
_RECOVERY_REFUSALS: Final = REFUSALS | {
    Reason.BAD_CREDENTIALS: mark("This recovery code is not right, or has been used already."),
}


def source_of(request: Request) -> str:
    """Return the client's IP address."""
    return request.client.host if request.client else ""


def refusal(room: Room, request: Request, sentences: dict[Reason, str], refused: Refused) -> tuple[str, int]:
    """Return the sentence for a refusal and the status of the page."""
    minutes = -(-refused.retry_after_s // 60)
    sentence = room.pages.sentence(sentences[refused.reason], room.locale(request), minutes=minutes)
    return sentence, 429 if refused.temporary else 422


async def sign_in(room: Room, request: Request) -> Response:
    """Show the form for user name and password, or judge it."""
    if request.method == "POST":
        return await _judge_password(room, request)
    return _password_page(room, request, 200)


def _password_page(room: Room, request: Request, status: int, login: str = "", problem: str = "") -> Response:
    token = room.form_cookie(request) or new_token()
    response = room.draw(
        request, "sign_in.html", room.locale(request), status, csrf=token, login=login, problem=problem,
        idle_minutes=room.config.webmail.session_idle_s // 60,
    )  # fmt: skip
    room.cookies.put(response, room.cookies.form, token)
    return response


async def _judge_password(room: Room, request: Request) -> Response:
    form = await forms.read(request, room.form_cookie(request))
    login, password = form.get("login").strip(), form.get("password")
    secret = Secret(password.encode("utf-8", "surrogatepass"))
    outcome = await room.sign_in.check(login, secret, "web", source_of(request), kinds=_PATIENTS, final=False)
    if isinstance(outcome, Refused):
        problem, status = refusal(room, request, REFUSALS, outcome)
        return _password_page(room, request, status, login, problem)
    return await _begin(room, request, outcome)


async def _begin(room: Room, request: Request, account: Account) -> Response:
    """Open a session that waits for the second factor; without a confirmed one, make a new secret."""
    now = room.clock()
    boxes = await room.store.read(accounts.boxes_of, account.id, now)
    if not boxes:
        return _password_page(room, request, 422, account.login, _no_box(room, request))
    factor = await room.store.read(accounts.second_factor, account.id, now)
    confirmed = factor is not None and factor.confirmed
    if not confirmed:
        await room.store.write(accounts.set_second_factor, account.id, secondfactor.new_secret(), (), now)
    response = go(CODE if confirmed else SET_UP)
    device = request.headers.get("user-agent", "")
    await room.sessions.open(response, account.id, boxes[0].box.id, device, second_factor_done=False)
    room.cookies.drop(response, room.cookies.form)
    if not request.cookies.get(room.cookies.locale):
        # Pages that know no account yet, and those of errors, speak the account's language from now on.
        remember_locale(room, response, choose_locale(account.locale, "", room.config.webmail.default_locale))
    return response


def remember_locale(room: Room, response: Response, locale: Locale) -> None:
    """Let this browser speak a language for a year."""
    room.cookies.put(response, room.cookies.locale, locale, 365 * 86400)


def _no_box(room: Room, request: Request) -> str:
    return room.pages.sentence(mark("This account has no mailbox. Ask your operator."), room.locale(request))


async def _waiting(room: Room, request: Request, *, confirmed: bool) -> tuple[Visit, SecondFactor] | Response:
    """Return who waits for the second factor; or where else this browser belongs."""
    visit = await room.sessions.find(request)
    if visit is None:
        return go(SIGN_IN)
    if visit.session.second_factor_done:
        return go(HOME)
    factor = await room.store.read(accounts.second_factor, visit.account.id, room.clock())
    if factor is None:
        return go(SIGN_IN)
    if factor.confirmed != confirmed:
        return go(CODE if factor.confirmed else SET_UP)
    return visit, factor


def _step_page(room: Room, request: Request, visit: Visit, name: str, status: int = 200, **values: object) -> Response:
    csrf, locale = visit.session.csrf, room.locale(request, visit)
    return room.draw(request, name, locale, status, csrf=csrf, **({"problem": ""} | values))


async def code(room: Room, request: Request) -> Response:
    """Ask for the one-time code, or judge it."""
    waiting = await _waiting(room, request, confirmed=True)
    if isinstance(waiting, Response):
        return waiting
    visit, factor = waiting
    if request.method != "POST":
        return _step_page(room, request, visit, "code.html")
    form = await forms.read(request, visit.session.csrf)

    async def judge() -> bool:
        now = room.clock()
        step = secondfactor.step_of(factor.secret, form.get("code"), now, factor.last_step)
        return step is not None and await room.store.write(accounts.use_code, visit.account.id, step, now)

    refused = await room.sign_in.attempt(visit.account, "totp", source_of(request), judge)
    if refused is not None:
        problem, status = refusal(room, request, CODE_REFUSALS, refused)
        return _step_page(room, request, visit, "code.html", status, problem=problem)
    return await _enter(room, visit)


async def recovery_code(room: Room, request: Request) -> Response:
    """Ask for a recovery code, or judge it."""
    waiting = await _waiting(room, request, confirmed=True)
    if isinstance(waiting, Response):
        return waiting
    visit, _ = waiting
    if request.method != "POST":
        return _step_page(room, request, visit, "recovery_code.html")
    form = await forms.read(request, visit.session.csrf)
    hashed = secondfactor.recovery_hash(form.get("code"), visit.account.id)

    async def judge() -> bool:
        return await room.store.write(accounts.use_recovery_code, visit.account.id, hashed, room.clock())

    refused = await room.sign_in.attempt(visit.account, "recovery-code", source_of(request), judge)
    if refused is not None:
        problem, status = refusal(room, request, _RECOVERY_REFUSALS, refused)
        return _step_page(room, request, visit, "recovery_code.html", status, problem=problem)
    return await _enter(room, visit)


async def _enter(room: Room, visit: Visit, path: str = HOME) -> Response:
    response = go(path)
    await room.sessions.renew(response, visit.session, box_id=visit.session.box_id, second_factor_done=True)
    return response


async def set_up(room: Room, request: Request) -> Response:
    """Show the new secret as a picture and as text, or judge the first code made with it."""
    waiting = await _waiting(room, request, confirmed=False)
    if isinstance(waiting, Response):
        return waiting
    visit, factor = waiting
    if request.method != "POST":
        return _set_up_page(room, request, visit, factor)
    form = await forms.read(request, visit.session.csrf)
    return await _judge_first_code(room, request, visit, factor, form)


def _set_up_page(
    room: Room, request: Request, visit: Visit, factor: SecondFactor, status: int = 200, problem: str = ""
) -> Response:
    address = secondfactor.uri(factor.secret, visit.account.login, room.config.operator.name)
    return _step_page(
        room, request, visit, "set_up.html", status, problem=problem, picture=secondfactor.picture(address),
        secret=secondfactor.grouped(factor.secret), address=address,
    )  # fmt: skip


async def _judge_first_code(room: Room, request: Request, visit: Visit, factor: SecondFactor, form: Form) -> Response:
    codes, hashes = new_recovery_codes(visit.account.id)

    async def judge() -> bool:
        now = room.clock()
        step = secondfactor.step_of(factor.secret, form.get("code"), now, -1)
        if step is None:
            return False
        return await room.store.write(confirm_factor, visit.account.id, factor.secret, hashes, step, now)

    refused = await room.sign_in.attempt(visit.account, "totp", source_of(request), judge)
    if refused is not None:
        problem, status = refusal(room, request, CODE_REFUSALS, refused)
        return _set_up_page(room, request, visit, factor, status, problem)
    # The codes are drawn here and nowhere else: the store has only their hashes.
    return await recovery_codes_page(room, request, visit, codes)


def new_recovery_codes(account_id: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return new recovery codes and what the store keeps of them."""
    codes = secondfactor.new_recovery_codes()
    return codes, tuple(secondfactor.recovery_hash(code, account_id) for code in codes)


async def recovery_codes_page(room: Room, request: Request, visit: Visit, codes: tuple[str, ...]) -> Response:
    """Show new recovery codes, once; the session's token changes with the right that it gained."""
    response = Response()
    session = await room.sessions.renew(response, visit.session, box_id=visit.session.box_id, second_factor_done=True)
    locale = room.locale(request, visit)
    page = room.draw(request, "recovery_codes.html", locale, csrf=session.csrf, codes=codes)
    page.raw_headers.extend(item for item in response.raw_headers if item[0] == b"set-cookie")
    return page


def confirm_factor(
    uow: Uow, account_id: int, secret: Secret, hashes: tuple[str, ...], step: int, now: datetime
) -> bool:
    """Store the recovery codes of a secret whose first code was right, and confirm it; one unit of work."""
    known = accounts.second_factor(uow, account_id, now)
    if known is None or known.secret != secret:
        return False
    accounts.set_second_factor(uow, account_id, secret, hashes, now)
    return accounts.use_code(uow, account_id, step, now)


async def sign_out(room: Room, request: Request) -> Response:
    """End the session."""
    visit = await room.sessions.find(request)
    if visit is None:
        return go(SIGN_IN)
    await forms.read(request, visit.session.csrf)
    response = go(SIGN_IN, "out")
    await room.sessions.close(response, visit.session)
    return response


async def change_language(room: Room, request: Request) -> Response:
    """Remember a language and go back to where the link stood."""
    locale = request.path_params["locale"]
    back = request.query_params.get("back", "/")
    if not is_locale(locale):
        raise HTTPException(404)
    # Only a path of our own: a double slash or a backslash would lead to another host.
    own = back.startswith("/") and not back.startswith(("//", "/\\")) and back.isprintable()
    response = go(back if own else "/")
    remember_locale(room, response, locale)
    return response


async def give_text_back(room: Room, request: Request) -> Response:
    """Show a text that was sent after the session had ended, so that nothing typed is lost; nothing is done with it."""
    text = await forms.text_of_stranger(request, "text", room.limits.http_body_max_octets)
    return room.draw(request, "expired.html", room.locale(request), 401, text=text)
