"""atheris on HL7 v2: the frames of MLLP in any split, messages, what they order, and the acknowledgement.

A message is read, refused by a name, or Malformed; its acknowledgement is always a message that can be read.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import atheris

with atheris.instrument_imports(include=["mss.hl7.framing", "mss.dossier", "mss.model"]):
    from mss.config import Limits
    from mss.dossier import er7, mdm
    from mss.dossier.acknowledgement import Fault, acknowledge, fault_of
    from mss.errors import Malformed
    from mss.hl7.framing import Frames, framed
    from tests.support import mdm as seeds
from tests.support.fuzzing import fuzz

_LIMITS = Limits(hl7_message_max_octets=60_000)
_DOMAINS = frozenset({"patient.mssante.fr"})
_NOW = datetime(2026, 3, 14, tzinfo=UTC)


def one(data: bytes) -> None:
    """Read a stream, whole and in pieces; the first two octets say where it is cut."""
    if len(data) < 2:
        return
    stream = data[2:]
    cuts = sorted({0, data[0] % (len(stream) + 1), len(stream) * data[1] // 256, len(stream)})
    messages = _messages([stream])
    assert _messages([stream[a:b] for a, b in pairwise(cuts)]) == messages
    for message in messages or [stream]:
        _order(message)


def _messages(pieces: list[bytes]) -> list[bytes] | None:
    frames, found = Frames(_LIMITS.hl7_message_max_octets), []
    try:
        for piece in pieces:
            found += frames.feed(piece)
    except Malformed:
        return None
    return found


def _order(octets: bytes) -> None:
    try:
        message = er7.parse(octets, _LIMITS)
    except Malformed as error:
        _answered(None, Fault("207", "hl7.unreadable", str(error)))
        return
    try:
        order = mdm.read(message, _LIMITS, _DOMAINS, test_identities=False)
        assert order.documents
        assert order.professionals or order.to_patient
    except mdm.Refused as error:
        _answered(message, fault_of(error.wrong, error.segment))
    else:
        _answered(message, None)


def _answered(message: er7.Er7 | None, fault: Fault | None) -> None:
    answer = er7.parse(acknowledge(message, fault, "1", _NOW), _LIMITS)
    assert answer.first("MSA") is not None


if __name__ == "__main__":
    sent = [seeds.order(event) for event in seeds.CONTROLS]
    sent += [seeds.order(meta={"DESTMSSANTEPAT": "Y"}), seeds.order(to=(), meta={"DESTMSSANTEPAT": "Y"})]
    words = b"MSH|^~\\& MDM^T02^MDM_T02 OBX|9|CE|DESTMSSANTEPAT||Y PRT| RCT ^^^ \\X0D\\ NTE|||| FIN \x1c\r \x0b TXA|"
    seeded = [b"\0\0" + form for octets in sent for form in (octets, framed(octets) * 2)]
    fuzz(one, seeded, words.split(b" "), 20_000)
