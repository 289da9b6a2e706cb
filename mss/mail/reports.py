"""Reports about letters, in one place for those who send and read them: delivery (RFC 3464), disposition (RFC 8098).

`is_automatic` tells letters that no person wrote: they are never answered and open no conversation.
"""

from __future__ import annotations

from typing import Final

from mss.mail.dsn import Action as Action
from mss.mail.dsn import DeliveryReport as DeliveryReport
from mss.mail.dsn import RecipientReport as RecipientReport
from mss.mail.dsn import RecipientStatus as RecipientStatus
from mss.mail.dsn import dsn as dsn
from mss.mail.dsn import read_dsn as read_dsn
from mss.mail.headers import decode_text
from mss.mail.mdn import Disposition as Disposition
from mss.mail.mdn import DispositionReport as DispositionReport
from mss.mail.mdn import ErrorCode as ErrorCode
from mss.mail.mdn import mdn as mdn
from mss.mail.mdn import read_mdn as read_mdn
from mss.mail.mdn import requested_by as requested_by
from mss.mail.report_parts import Frame as Frame
from mss.mail.report_texts import SUBJECT_DELAYED as SUBJECT_DELAYED
from mss.mail.report_texts import SUBJECT_DELIVERED as SUBJECT_DELIVERED
from mss.mail.report_texts import SUBJECT_ERROR_PREFIX as SUBJECT_ERROR_PREFIX
from mss.mail.report_texts import SUBJECT_FAILED as SUBJECT_FAILED
from mss.mail.report_texts import SUBJECT_RELAYED as SUBJECT_RELAYED
from mss.mail.report_texts import SUBJECT_TOO_LARGE as SUBJECT_TOO_LARGE
from mss.model.message import Message

_BULK: Final = frozenset({"bulk", "junk", "list", "auto_reply"})


def is_automatic(message: Message) -> bool:
    """Whether a machine wrote the letter (report, automatic answer, bulk); the null reverse path is the caller's."""
    if message.structure.root.content_type == "multipart/report":
        return True
    if any(_keyword(value) != "no" for value in message.headers("auto-submitted")):
        return True
    return any(_keyword(value) in _BULK for value in message.headers("precedence"))


def _keyword(value: bytes) -> str:
    """Return the first word of a value, without parameters and comments."""
    words = decode_text(value).replace(";", " ").replace("(", " ").split()
    return words[0].lower() if words else ""
