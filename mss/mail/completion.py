"""What submission completes in a letter's header beyond its traces: the author's name (RFC 6409 §8, ECO.2.2.7).

It invents nothing: the name is given by the caller. A field that it cannot rewrite safely stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

from mss.config import Limits
from mss.errors import Malformed
from mss.mail.compose import Correspondent, mailbox
from mss.mail.fields import field
from mss.mail.headers import addresses
from mss.mail.mime import every_field
from mss.model.address import Address
from mss.model.message import Message


def name_author(message: Message, names: Mapping[str, str], limits: Limits) -> bytes:
    """Return the octets with a display name in From where its one author has none; `names` are by address key.

    An address that stands where the name should counts as none: patients see the name, never an address.
    """
    spans = [span for name, span in every_field(message) if name == "from"]
    named = addresses(message.header("from") or b"", limits)
    if len(spans) != 1 or len(named) != 1:
        return message.octets
    shown, spec = named[0]
    if shown.strip() and "@" not in shown:
        return message.octets
    try:
        author = Address.parse(spec)
        name = names.get(author.key, "")
        if not name or "@" in name:
            return message.octets
        line = field("From", mailbox(Correspondent(author, name)))
    except Malformed:
        return message.octets
    return message.octets[: spans[0].start] + line + message.octets[spans[0].end :]
