"""Handlers of quotas and access rights (RFC 9208, RFC 4314).

Rights follow the delegations of a box: they are shown here, and given where a person's identity is known
(docs/decisions/mailbox-sharing.md). Quotas are the operator's to set.
"""

from __future__ import annotations

from typing import Final

from mss.imap import commands as c
from mss.imap import responses, units
from mss.imap.folders import located
from mss.imap.places import Place
from mss.imap.session import Answer, Session, done
from mss.model.account import DelegationKind
from mss.services.mailbox import NoSuchMailbox
from mss.services.quotas import Filling

# "c" and "d" are the old names of what "k" and "e", "t", "x" let (RFC 4314 §2.1.1).
_MEMBER: Final = "lrswikxtecd"
_READER: Final = "lr"
_ADMIN: Final = "a"
_NOT_YOURS: Final = Answer("NO", "Only who is responsible for the box may ask", "NOPERM")
_ELSEWHERE: Final = Answer("NO", "Rights follow delegations: ask the operator to give or end one", "NOPERM")
_NO_ROOT: Final = Answer("NO", "There is no such quota root", "NONEXISTENT")
_UNIT_OCTETS: Final = 1024


# --- quotas ---


async def get_quota_root(session: Session, command: c.GetQuotaRoot) -> Answer:
    """Tell a mailbox's quota root: its box, when that has a quota."""
    place, name = located(session, command.mailbox)
    filling = await session.read(units.filling_of_mailbox, place.box.id, name, session.house.clock())
    told = _quota(place, filling)
    root = b" " + responses.string(_root(place)) if told else b""
    written = responses.mailbox_name(command.mailbox, utf8=session.utf8)
    session.stream.write(b"* QUOTAROOT " + written + root + b"\r\n" + told)
    return done()


async def get_quota(session: Session, command: c.GetQuota) -> Answer:
    """Tell a root's usage and limits."""
    place = next((one for one in session.places.all if _root(one) == command.root), None)
    if place is None:
        return _NO_ROOT
    told = _quota(place, await session.read(units.filling, place.box.id, session.house.clock()))
    if not told:
        return _NO_ROOT
    session.stream.write(told)
    return done()


def _root(place: Place) -> bytes:
    return place.box.address.key.encode("utf-8", "replace")


def _quota(place: Place, filling: Filling) -> bytes:
    """Return the QUOTA response, nothing for a box without a quota."""
    resources = []
    if filling.quota.octets_max is not None:
        used, most = -(-filling.usage.octets // _UNIT_OCTETS), filling.quota.octets_max // _UNIT_OCTETS
        resources.append(b"STORAGE %d %d" % (used, most))
    if filling.quota.letters_max is not None:
        resources.append(b"MESSAGE %d %d" % (filling.usage.letters, filling.quota.letters_max))
    if not resources:
        return b""
    return b"* QUOTA " + responses.string(_root(place)) + b" (" + b" ".join(resources) + b")\r\n"


# --- rights ---


async def my_rights(session: Session, command: c.MyRights) -> Answer:
    """Tell what the session's account may do with a mailbox."""
    place = await _existing(session, command.mailbox)
    _write(session, b"MYRIGHTS", command.mailbox, _rights(place).encode())
    return done()


async def get_acl(session: Session, command: c.GetAcl) -> Answer:
    """Tell who may do what with a mailbox, to who is responsible for its box."""
    place = await _existing(session, command.mailbox)
    if not place.responsible:
        return _NOT_YOURS
    holders = await session.read(units.holders, place.box.id, session.house.clock())
    pairs = [responses.string(login.encode()) + b" " + _of(kind, place).encode() for login, kind in holders]
    _write(session, b"ACL", command.mailbox, *pairs)
    return done()


async def list_rights(session: Session, command: c.ListRights) -> Answer:
    """Tell which rights somebody has in any case; none can be given or taken here."""
    place = await _existing(session, command.mailbox)
    if not place.responsible:
        return _NOT_YOURS
    holders = dict(await session.read(units.holders, place.box.id, session.house.clock()))
    kind = holders.get(command.identifier.decode("utf-8", "replace").lower())
    always = _of(kind, place).encode() if kind is not None else b'""'
    _write(session, b"LISTRIGHTS", command.mailbox, responses.string(command.identifier), always)
    return done()


async def set_acl(session: Session, command: c.SetAcl) -> Answer:
    """Refuse to change rights, and say where that is done."""
    place = await _existing(session, command.mailbox)
    return _ELSEWHERE if place.responsible else _NOT_YOURS


async def _existing(session: Session, mailbox: str) -> Place:
    place, name = located(session, mailbox)
    await session.read(units.status_by_name, place.box.id, name, session.house.clock())
    if not name:
        raise NoSuchMailbox("there is no such mailbox")
    return place


def _rights(place: Place) -> str:
    kind = DelegationKind.OWNER if place.responsible else DelegationKind.MEMBER
    return _of(kind, place)


def _of(kind: DelegationKind, place: Place) -> str:
    rights = _MEMBER if place.writable else _READER
    return rights + _ADMIN if kind is DelegationKind.OWNER else rights


def _write(session: Session, word: bytes, mailbox: str, *values: bytes) -> None:
    name = responses.mailbox_name(mailbox, utf8=session.utf8)
    session.stream.write(b" ".join((b"*", word, name, *values)) + b"\r\n")
