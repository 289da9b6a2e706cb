"""Handlers before and at login: TLS, LOGIN, AUTHENTICATE (RFC 4616, 4422, 7628, 4959), and what any state may ask.

Passwords, certificates and tokens are judged by `mss.signin`. Patient accounts have no IMAP: they are web only.
"""

from __future__ import annotations

import binascii
from base64 import b64encode
from typing import Final

from mss.errors import Malformed
from mss.imap import commands as c
from mss.imap import responses, units
from mss.imap.connection import State
from mss.imap.session import Answer, Session, done
from mss.imap.stream import Gone
from mss.imap.wire import Frame, GoAhead, Refused, WireLimits
from mss.model.account import Account
from mss.model.secret import Secret
from mss.signin import EXTERNAL, MAIL_CLIENTS, Reason
from mss.signin import Refused as SignInRefused
from mss.tokens import sasl

_FAILED: Final = Answer("NO", "Wrong user name or password", "AUTHENTICATIONFAILED")
_NOT_BASE64: Final = Answer("BAD", "The response is not base64")
_NOT_A_RESPONSE: Final = Answer("BAD", "Not a response of this mechanism")
_WEB_ONLY: Final = Answer("NO", "This account is for the web only", "AUTHORIZATIONFAILED")
_NO_BOX: Final = Answer("NO", "This account has no such mailbox to read", "AUTHORIZATIONFAILED")


async def capability(session: Session, _: c.Capability) -> Answer:
    """Announce what is possible now."""
    session.stream.write(responses.untagged(f"CAPABILITY {session.capabilities()}"))
    return done()


async def noop(_session: Session, _: c.Noop | c.Check) -> Answer:
    """Do nothing: news are told after every command."""
    return done()


async def identify(session: Session, _: c.Id) -> Answer:
    """Say who we are, without a version."""
    session.stream.write(b'* ID ("name" "mss")\r\n')
    return done()


async def logout(session: Session, _: c.Logout) -> Answer:
    """Say goodbye."""
    session.unselect()
    session.stream.write(responses.tagged("*", "BYE", "Goodbye"))
    session.move_to(State.LOGOUT)
    return done()


async def start_tls(session: Session, tag: str) -> Answer | None:
    """Answer, then shake hands; octets that came in the clear with the command end the connection."""
    if session.stream.wire.pending:
        raise Gone("injected", "Octets before TLS")
    session.stream.write(responses.tagged(tag, "OK", "Begin TLS now"))
    await session.start_tls()
    return None


async def login(session: Session, command: c.Login) -> Answer:
    """Sign in with user name and password."""
    return await _sign_in(session, "LOGIN", command.user, command.password, b"")


async def authenticate(session: Session, command: c.Authenticate) -> Answer:
    """Sign in with one of the SASL mechanisms that work here."""
    mechanism = command.mechanism
    if mechanism not in session.mechanisms():
        return Answer("NO", "Unsupported mechanism", "CANNOT")
    encoded = command.initial
    if encoded is None:
        encoded = await _sasl_response(session)
        if encoded == b"*":
            return Answer("BAD", "Cancelled")
    elif encoded == b"=":
        encoded = b""
    try:
        response = binascii.a2b_base64(encoded, strict_mode=True)
        given = _given(mechanism, response)
    except ValueError:
        return _NOT_BASE64
    except Malformed:
        return _NOT_A_RESPONSE
    match given:
        case sasl.Bearer():
            return await _bearer(session, mechanism, given)
        case str():
            return await _external(session, given)
        case _:
            acting_as, login_name, password = given
            return await _sign_in(session, mechanism, login_name, Secret(password), acting_as)


def _given(mechanism: str, response: bytes) -> sasl.Bearer | str | tuple[bytes, bytes, bytes]:
    """Read a response: a token, whom a certificate's holder acts as, or the three fields of PLAIN."""
    if mechanism == EXTERNAL:
        return response.decode()
    if mechanism in sasl.MECHANISMS:
        return sasl.parse(mechanism, response)
    acting_as, login_name, password = response.split(b"\0")
    return acting_as, login_name, password


async def _external(session: Session, acting_as: str) -> Answer:
    found = await session.house.sign_in.certificate(
        session.certificate(), acting_as, "imap-external", session.stream.ip
    )
    return _refused(session, found) if isinstance(found, SignInRefused) else await _welcome(session, found, acting_as)


async def _bearer(session: Session, mechanism: str, given: sasl.Bearer) -> Answer:
    """Sign in with a token; a client whose token is refused hears why in a challenge, which it answers with nothing."""
    sign_in = session.house.sign_in
    found = await sign_in.bearer(given, f"imap-{mechanism.lower()}", session.stream.ip, session.certificate())
    if not isinstance(found, SignInRefused):
        return await _welcome(session, found, given.acting_as)
    answer = _refused(session, found)
    if not found.temporary:
        await _sasl_response(session, sign_in.challenge(mechanism))
    return answer


async def _sasl_response(session: Session, challenge: bytes = b"") -> bytes:
    """Ask for the response and return its line."""
    session.stream.write(responses.go_ahead(b64encode(challenge).decode()))
    match await session.stream.next(session.deadline()):
        case Frame(text, ()):
            return text
        case None:
            session.check_closing()
            return b"*"
        case Frame() | GoAhead() | Refused():
            raise Gone("refused", "A response is one line")


async def _sign_in(session: Session, mechanism: str, user: bytes, password: Secret, acting_as: bytes) -> Answer:
    login_name = user.decode("utf-8", "replace")
    found = await session.house.sign_in.check(login_name, password, mechanism, session.stream.ip, kinds=MAIL_CLIENTS)
    if isinstance(found, SignInRefused):
        return _refused(session, found)
    return await _welcome(session, found, acting_as.decode("utf-8", "replace"))


def _refused(session: Session, refused: SignInRefused) -> Answer:
    session.login_failures += 1
    if session.login_failures >= session.house.limits.login_failures_max:
        raise Gone("login-failures", "Too many failures")
    if refused.temporary:
        return Answer("NO", f"Try again in {max(1, refused.retry_after_s)} seconds", "UNAVAILABLE")
    return _WEB_ONLY if refused.reason is Reason.WRONG_DOOR else _FAILED


async def _welcome(session: Session, account: Account, acting_as: str) -> Answer:
    """Let an account in; `acting_as` names the box that becomes its personal one, when it may act for it."""
    now = session.house.clock()
    wanted = acting_as.strip().lower()
    places = await session.read(units.places, account, None, now)
    if wanted and wanted != account.login.lower():
        chosen = next((place.box.id for place in places.all if place.box.address.key == wanted), None)
        if chosen is None:
            return _NO_BOX
        session.personal_box_id = chosen
        places = await session.read(units.places, account, chosen, now)
    if not places.all:
        return _NO_BOX
    session.account, session.places = account, places
    session.stream.wire.limits = WireLimits.after_login(session.house.limits)
    session.move_to(State.AUTHENTICATED)
    return done("Logged in", f"CAPABILITY {session.capabilities()}")
