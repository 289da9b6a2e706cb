"""What stands behind the verbs: paths and parameters of MAIL and RCPT, names of EHLO, responses of AUTH.

It reads and judges form only (RFC 5321 §4.1, RFC 1870, 3461 §4, 4616, 6152, 6531, 8689); whether
anybody may send is policy. Each function returns what it read, or the reply that says why it could not.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mss.errors import Malformed
from mss.model.address import Address, Domain
from mss.model.envelope import Body, Notify, Recipient, Ret
from mss.model.secret import Secret
from mss.smtp import reply
from mss.smtp.reply import Reply
from mss.tokens import sasl
from mss.tokens.sasl import Bearer

ENVID_MAX_OCTETS: Final = 100
ORCPT_MAX_OCTETS: Final = 500
HELLO_MAX_OCTETS: Final = 255
PARAMETERS_MAX: Final = 20

# A source route is read and forgotten (RFC 5321 §4.1.1.3); quoted local parts may hold anything printable.
_PATH = re.compile(r'<(?:@[^:<>" ]+:)?((?:"(?:[^"\\]|\\.)*"|[^"<>\s])*)>')
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\s=\x00-\x20\x7f]+))?\Z")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+\Z")
_ORCPT = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*;")
_SIZE = re.compile(r"\d{1,20}\Z", re.ASCII)
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_SPEC_MAX: Final = 64 + 1 + 255 + 2


@dataclass(frozen=True, slots=True)
class Mail:
    """A MAIL command. `size_octets` is what SIZE= declared; None without."""

    reverse_path: Address | None
    size_octets: int | None = None
    body: Body = Body.SEVENBIT
    smtputf8: bool = False
    ret: Ret | None = None
    envid: str | None = None
    require_tls: bool = False


@dataclass(frozen=True, slots=True)
class Credentials:
    """What AUTH brought. `acting_as` is SASL's authorization identity, often empty."""

    login: str
    password: Secret
    acting_as: str = ""


@dataclass(frozen=True, slots=True)
class External:
    """A wish to sign in by what TLS proved (RFC 4422, appendix A)."""

    acting_as: str = ""


Given = Credentials | External | Bearer


def split(line: bytes) -> tuple[str, str] | Reply:
    """Return the verb in upper case and its argument, without outer spaces."""
    if _CONTROL.search(line):
        return reply.BAD_SYNTAX
    verb, _, argument = line.partition(b" ")
    try:
        return verb.decode("ascii").upper(), argument.decode("utf-8").strip()
    except UnicodeDecodeError:
        return reply.BAD_SYNTAX


def parse_hello(argument: str) -> str | Reply:
    """Return the name that the client gives itself: printable ASCII, for the trace field only."""
    name = argument.split(" ", 1)[0]
    if not name or len(name) > HELLO_MAX_OCTETS or not name.isascii():
        return reply.BAD_ARGUMENT
    return name


def parse_mail(argument: str, *, extended: bool, size_max: int) -> Mail | Reply:
    """Read `FROM:<path> parameters`; `extended` says whether EHLO allowed parameters."""
    split_path = _path_and_parameters(argument, "FROM:", extended)
    if isinstance(split_path, Reply):
        return split_path
    spec, parameters = split_path
    refusal = _mail_refusal(parameters, size_max)
    if refusal:
        return refusal
    if not spec.isascii() and "SMTPUTF8" not in parameters:
        return reply.NEEDS_SMTPUTF8
    try:
        sender = Address.parse(spec) if spec else None
    except Malformed:
        return reply.BAD_SENDER
    return _mail(sender, parameters)


def parse_rcpt(argument: str, *, extended: bool, smtputf8: bool, home: Domain) -> Recipient | Reply:
    """Read `TO:<path> parameters`; a bare `postmaster` belongs to `home` (RFC 5321 §4.5.1)."""
    split_path = _path_and_parameters(argument, "TO:", extended)
    if isinstance(split_path, Reply):
        return split_path
    spec, parameters = split_path
    if not spec.isascii() and not smtputf8:
        return reply.NEEDS_SMTPUTF8
    try:
        address = Address("postmaster", home) if spec.lower() == "postmaster" else Address.parse(spec)
    except Malformed:
        return reply.BAD_ADDRESS
    return _recipient(address, parameters)


def _path_and_parameters(argument: str, keyword: str, extended: bool) -> tuple[str, dict[str, str | None]] | Reply:
    if argument[: len(keyword)].upper() != keyword:
        return reply.BAD_ARGUMENT
    rest = argument[len(keyword) :].lstrip(" ")
    path = _PATH.match(rest)
    if not path:
        return reply.BAD_ARGUMENT
    if len(path.group(1)) > _SPEC_MAX:
        return reply.BAD_ADDRESS
    tail = rest[path.end() :]
    if not tail:
        return path.group(1), {}
    if not tail.startswith(" ") or not extended:
        return reply.BAD_ARGUMENT
    parameters = _parameters(tail.split())
    return parameters if isinstance(parameters, Reply) else (path.group(1), parameters)


def _parameters(words: list[str]) -> dict[str, str | None] | Reply:
    """Return keyword → value; each keyword may stand once."""
    found: dict[str, str | None] = {}
    for word in words[: PARAMETERS_MAX + 1]:
        match = _PARAMETER.match(word)
        if not match or match.group(1).upper() in found or len(found) == PARAMETERS_MAX:
            return reply.BAD_ARGUMENT
        found[match.group(1).upper()] = match.group(2)
    return found


def is_xtext(value: str | None, octets_max: int) -> bool:
    """Whether a value is xtext of RFC 3461 §4 and not longer than allowed."""
    return bool(value) and len(value or "") <= octets_max and _XTEXT.match(value or "") is not None


def _is_notify(value: str | None) -> bool:
    words = (value or "").upper().split(",")
    once = len(set(words)) == len(words)
    return words == ["NEVER"] or (once and all(word in ("SUCCESS", "FAILURE", "DELAY") for word in words))


def _is_orcpt(value: str | None) -> bool:
    """Whether a value is `type;xtext`, at most 500 octets in all (RFC 3461 §4.2)."""
    kind = _ORCPT.match(value or "")
    return kind is not None and is_xtext((value or "")[kind.end() :], ORCPT_MAX_OCTETS - kind.end())


_Check = Callable[[str | None], bool]
_MAIL_VALUES: Final[dict[str, _Check]] = {
    "SIZE": lambda value: _SIZE.match(value or "") is not None,
    "BODY": lambda value: (value or "").upper() in set(Body),
    "SMTPUTF8": lambda value: value is None,
    # Whoever asks has it: nothing is said before TLS, and every peer is verified (RFC 8689 §4.1).
    "REQUIRETLS": lambda value: value is None,
    "RET": lambda value: (value or "").upper() in set(Ret),
    "ENVID": lambda value: is_xtext(value, ENVID_MAX_OCTETS),
    # Read for its form and not believed: the certificate or the sign-in says who it is (RFC 4954 §5).
    "AUTH": lambda value: value == "<>" or is_xtext(value, ORCPT_MAX_OCTETS),
}
_RCPT_VALUES: Final[dict[str, _Check]] = {"NOTIFY": _is_notify, "ORCPT": _is_orcpt}


def _refusal(parameters: dict[str, str | None], known: dict[str, _Check]) -> Reply | None:
    if not parameters:
        return None
    if not parameters.keys() <= known.keys():
        return reply.UNKNOWN_PARAMETER
    return None if all(known[name](value) for name, value in parameters.items()) else reply.BAD_ARGUMENT


def _mail_refusal(parameters: dict[str, str | None], size_max: int) -> Reply | None:
    refusal, size = _refusal(parameters, _MAIL_VALUES), parameters.get("SIZE")
    if refusal:
        return refusal
    return reply.TOO_LARGE if size and int(size) > size_max else None


def _mail(sender: Address | None, parameters: dict[str, str | None]) -> Mail:
    size, body, ret = parameters.get("SIZE"), parameters.get("BODY"), parameters.get("RET")
    return Mail(
        reverse_path=sender,
        size_octets=int(size) if size else None,
        body=Body((body or Body.SEVENBIT).upper()),
        smtputf8="SMTPUTF8" in parameters,
        ret=Ret(ret.upper()) if ret else None,
        envid=parameters.get("ENVID"),
        require_tls="REQUIRETLS" in parameters,
    )


def _recipient(address: Address, parameters: dict[str, str | None]) -> Recipient | Reply:
    refusal = _refusal(parameters, _RCPT_VALUES)
    if refusal:
        return refusal
    notify = parameters.get("NOTIFY")
    wishes = frozenset(Notify(word) for word in notify.upper().split(",")) if notify else frozenset()
    return Recipient(address, wishes, parameters.get("ORCPT"))


def decode_response(text: str) -> bytes | Reply:
    """Return the octets of a SASL response in base64; `=` stands for an empty one (RFC 4954 §4)."""
    if text == "*":
        return reply.AUTH_CANCELLED
    try:
        return b"" if text == "=" else b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        return reply.BAD_BASE64


def parse_sasl(mechanism: str, response: bytes) -> Given | Reply:
    """Read a whole response of a mechanism that has one: all but LOGIN."""
    try:
        match mechanism:
            case "PLAIN":
                return parse_plain(response)
            case "EXTERNAL":
                return reply.BAD_ARGUMENT if b"\0" in response else External(response.decode())
            case _:
                return sasl.parse(mechanism, response)
    except (Malformed, UnicodeDecodeError):
        return reply.BAD_ARGUMENT


def parse_plain(response: bytes) -> Credentials | Reply:
    """Read a response of PLAIN: authorization identity, login, password (RFC 4616)."""
    parts = response.split(b"\0")
    if len(parts) != 3:
        return reply.BAD_ARGUMENT
    return credentials(parts[1], parts[2], parts[0])


def credentials(login: bytes, password: bytes, acting_as: bytes = b"") -> Credentials | Reply:
    """Make credentials of octets: names are UTF-8, neither name nor password is empty, no NUL anywhere."""
    if not login or not password or b"\0" in login + password + acting_as:
        return reply.BAD_CREDENTIALS
    try:
        return Credentials(login.decode(), Secret(password), acting_as.decode())
    except UnicodeDecodeError:
        return reply.BAD_CREDENTIALS
