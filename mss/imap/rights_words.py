"""The words of quotas and access rights (RFC 9208, RFC 4314)."""

from __future__ import annotations

import re
from typing import Final

from mss.errors import Malformed
from mss.imap import commands as c
from mss.imap.lexer import Cursor

_RIGHTS: Final = re.compile(rb"[+-]?[a-z0-9]*")


def read_get_quota(cursor: Cursor) -> c.GetQuota:
    """Read GETQUOTA."""
    cursor.space()
    return c.GetQuota(cursor.astring())


def read_list_rights(cursor: Cursor) -> c.ListRights:
    """Read LISTRIGHTS."""
    cursor.space()
    mailbox = cursor.mailbox()
    cursor.space()
    return c.ListRights(mailbox, cursor.astring())


def read_set_acl(cursor: Cursor) -> c.SetAcl:
    """Read SETACL; rights are lower case letters and digits, after + or - for a change."""
    cursor.space()
    mailbox = cursor.mailbox()
    cursor.space()
    identifier = cursor.astring()
    cursor.space()
    rights = cursor.astring()
    if not _RIGHTS.fullmatch(rights):
        raise Malformed("Not rights")
    return c.SetAcl(mailbox, identifier, rights.decode("ascii"))


def read_delete_acl(cursor: Cursor) -> c.SetAcl:
    """Read DELETEACL."""
    cursor.space()
    mailbox = cursor.mailbox()
    cursor.space()
    return c.SetAcl(mailbox, cursor.astring())
