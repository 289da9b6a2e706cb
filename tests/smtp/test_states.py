"""Whatever comes, in every state: the same octets in any pieces give the same replies and the same letters."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mss.smtp.session import Listener
from tests.smtp.smtp_memory import BEGUN, STATES, Told, check, converse, split

PIECES = [
    *(
        b"EHLO x\r\n",
        b"HELO x\r\n",
        b"MAIL FROM:<a@chu.example>\r\n",
        b"MAIL FROM:<> SIZE=9\r\n",
        b"RSET\r\n",
        b"NOOP\r\n",
    ),
    *(
        b"RCPT TO:<b@patient.example>\r\n",
        b'RCPT TO:<"">\r\n',
        b"DATA\r\n",
        b"QUIT\r\n",
        b"STARTTLS\r\n",
        b"VRFY x\r\n",
    ),
    *(b"BDAT 0 LAST\r\n", b"BDAT 5\r\n", b"BDAT 30 LAST\r\n", b"BDAT 600\r\n", b"BDAT x\r\n", b"bdat 1\r\n\r"),
    *(
        b"AUTH PLAIN\r\n",
        b"AUTH PLAIN AGxvZ2luAHJpZ2h0\r\n",
        b"AUTH LOGIN bG9naW4=\r\n",
        b"cmlnaHQ=\r\n",
        b"*\r\n",
        b"=\r\n",
    ),
    *(
        b"\r\n.\r\n",
        b".\r\n",
        b"..\r\n",
        b".",
        b"\r",
        b"\n",
        b"\r\n",
        b"\0",
        b"x",
        b"\xff",
        b"\r\n.\r",
        b"\n.\n",
        b"x" * 150,
    ),
]
streams = st.lists(st.one_of(st.sampled_from(PIECES), st.sampled_from(PIECES), st.binary(max_size=6)), max_size=14).map(
    b"".join
)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.mark.parametrize("listener", [Listener.MX, Listener.SUBMISSION])
@pytest.mark.parametrize("state", STATES)
@given(stream=streams, sizes=st.lists(st.integers(1, 60), min_size=1, max_size=5))
@example(stream=b"", sizes=[5])
@example(stream=b"\r\n.\r\nMAIL FROM:<a@chu.example>\r\n", sizes=[1])
def test_any_split_gives_the_same_dialogue(
    loop: asyncio.AbstractEventLoop, listener: Listener, state: str, stream: bytes, sizes: list[int]
) -> None:
    octets = STATES[state] + stream
    whole = loop.run_until_complete(converse([octets], listener))
    check(whole)
    assert loop.run_until_complete(converse(split(octets, sizes), listener)) == whole


def test_a_letter_by_any_way(loop: asyncio.AbstractEventLoop) -> None:
    """The dialogue without a socket is the dialogue: what went in comes out."""
    letter = b"Subject: x\r\n\r\n.\r\nHello\r\n"
    by_data = BEGUN + b"DATA\r\n" + letter.replace(b"\r\n.", b"\r\n..") + b".\r\n"
    by_chunks = BEGUN[BEGUN.index(b"MAIL") :] + b"BDAT %d\r\n%bBDAT 0 LAST\r\nQUIT\r\n" % (len(letter), letter)
    told: Told = loop.run_until_complete(converse(split(by_data + by_chunks, [7])))
    assert told.letters == (letter, letter)
    assert [line[:3] for line in told.replies.splitlines() if line[3:4] == b" "] == [
        *(b"220", b"250", b"250", b"250", b"354", b"250"),
        *(b"250", b"250", b"250", b"250", b"221"),
    ]
