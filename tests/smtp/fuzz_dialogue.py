"""atheris on the SMTP dialogue: the readers of commands, DATA, BDAT and AUTH, in every state; `make fuzz` runs it.

Alone: `tools/fuzz 60`. Options of libFuzzer may follow (`-runs=1000`); a file that failed is tried again by naming it.
The first four octets of an input choose door, state and how the rest is cut.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from pathlib import Path
from typing import Final

import atheris

with atheris.instrument_imports(include=["mss.smtp", "mss.model.address", "mss.mail.scan"]):
    from mss.log import configure
    from mss.smtp.session import Listener
    from tests.smtp.smtp_memory import STATES, check, converse, split
    from tests.smtp.test_states import PIECES

_CHOICES: Final = 4
_STATES: Final = tuple(STATES.values())
_LISTENERS: Final = (Listener.MX, Listener.SUBMISSION)
_loop = asyncio.new_event_loop()


def one(data: bytes) -> None:
    """Say the octets whole and in pieces; both must come to the same, and to nothing forbidden."""
    if len(data) < _CHOICES:
        return
    listener, state = _LISTENERS[data[0] % len(_LISTENERS)], _STATES[data[1] % len(_STATES)]
    octets = state + data[_CHOICES:]
    whole = _loop.run_until_complete(converse([octets], listener))
    check(whole)
    pieces = split(octets, [1 + data[2] % 64, 1 + data[3] % 16])
    assert _loop.run_until_complete(converse(pieces, listener)) == whole


def _seeds(folder: Path) -> list[str]:
    """Write what a fuzzer should begin with: every state with a few words of the protocol, and a dictionary."""
    corpus = folder / "corpus"
    corpus.mkdir()
    for number in range(len(_STATES)):
        for at in range(0, len(PIECES), 6):
            head = bytes((at % 2, number, at, number))
            (corpus / f"{number}-{at}").write_bytes(head + b"".join(PIECES[at : at + 6]))
    words = "\n".join('"' + "".join(f"\\x{octet:02x}" for octet in piece[:60]) + '"' for piece in PIECES)
    (folder / "words").write_text(words + "\n", encoding="ascii")
    return [f"-dict={folder / 'words'}", "-max_len=600", "-timeout=20", str(corpus)]


def main() -> None:
    """Run until libFuzzer's options say stop, or something fails."""
    configure(level="ERROR", json=True)
    logging.disable(logging.CRITICAL)
    asyncio.set_event_loop(_loop)
    with tempfile.TemporaryDirectory() as folder:
        named = [word for word in sys.argv[1:] if not word.startswith("-")]
        atheris.Setup([*sys.argv, *([] if named else _seeds(Path(folder)))], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
