"""Whatever comes, every answer is a well-formed reply, nothing is our fault, and the dialogue ends."""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mss.config import Limits
from mss.smtp.session import Listener
from mss.tls import TlsMaterial
from tests.smtp.smtp_world import Pki, Recorder, connected, serving

pytestmark = [pytest.mark.journey, pytest.mark.slow]

_REPLY = re.compile(rb"[2-5]\d\d[ -][ -~]*\Z")

_MECHANISMS = ("PLAIN", "LOGIN", "EXTERNAL", "OAUTHBEARER", "XOAUTH2")

_verbs = st.sampled_from(
    [
        b"EHLO",
        b"HELO",
        b"MAIL",
        b"RCPT",
        b"DATA",
        b"RSET",
        b"NOOP",
        b"VRFY",
        b"EXPN",
        b"HELP",
        b"AUTH",
        b"STARTTLS",
        b"BDAT",
        b"X",
    ]
)
_words = st.one_of(
    st.sampled_from(
        [
            b"FROM:<a@chu.example>",
            b"FROM:<>",
            b"TO:<b@patient.example>",
            b'TO:<"">',
            b"SIZE=1",
            b"SIZE=99999999999",
            b"NOTIFY=NEVER",
            b"ORCPT=rfc822;a",
            b"SMTPUTF8",
            b"REQUIRETLS",
            b"3",
            b"0 LAST",
            b"60 LAST",
            b"PLAIN",
            b"LOGIN",
            b"EXTERNAL",
            b"OAUTHBEARER",
            b"XOAUTH2",
            b"dXNlcj0BYXV0aD1CZWFyZXIgeAEB",
            b"AGxvZ2luAHJpZ2h0",
            b"=",
            b"*",
            b"client.example",
        ]
    ),
    st.binary(max_size=12),
)
_ends = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\r\n", b"\0\r\n"])
_lines = st.builds(
    lambda verb, words, end: b" ".join([verb, *words]) + end, _verbs, st.lists(_words, max_size=4), _ends
)
_letters = st.sampled_from(
    [
        b"MAIL FROM:<a@chu.example>\r\nRCPT TO:<b@patient.example>\r\nDATA\r\nSubject: x\r\n\r\n.\r\n",
        b"MAIL FROM:<a@chu.example>\r\nRCPT TO:<b@patient.example>\r\nDATA\r\nx\n.\nQUIT\r\n.\r\n",
        b"MAIL FROM:<>\r\nRCPT TO:<b@patient.example>\r\nDATA\r\n..\r\n" + b"x" * 3000 + b"\r\n.\r\n",
    ]
)
scripts = st.lists(st.one_of(_lines, _lines, _letters, st.binary(max_size=40)), max_size=12).map(b"".join)


@pytest.mark.parametrize("listener", [Listener.MX, Listener.SUBMISSION])
async def test_any_dialogue_is_answered_and_ends(material: TlsMaterial, pki_world: Pki, listener: Listener) -> None:
    door = Recorder(listener=listener, mechanisms=_MECHANISMS if listener is Listener.SUBMISSION else ())
    limits = Limits(message_max_octets=1000)
    loop = asyncio.get_running_loop()
    async with serving(door, material, limits=limits) as (server, port):

        @settings(max_examples=60, deadline=None, database=None)
        @given(scripts, st.booleans())
        def any_dialogue(script: bytes, under_tls: bool) -> None:
            told = asyncio.run_coroutine_threadsafe(dialogue(script, under_tls), loop).result(30)
            for line in told.split(b"\r\n")[:-1]:
                assert _REPLY.match(line), line
                assert not line.startswith(b"451"), "an exception came to the peer"
            assert told.endswith(b"\r\n")

        async def dialogue(script: bytes, under_tls: bool) -> bytes:
            async with connected(port) as talk:
                if under_tls:
                    await talk.hello(pki_world.client("chu"))
                talk.writer.write(script + b"\r\n*\r\n.\r\n.\r\nRSET\r\nNOOP\r\nQUIT\r\n")
                if not under_tls:
                    talk.writer.write_eof()  # A handshake that the script began will not come.
                try:
                    async with asyncio.timeout(20):
                        return await talk.reader.read()
                except ConnectionError:
                    return b"221 cut after the last words\r\n"

        await asyncio.to_thread(any_dialogue)
        async with asyncio.timeout(30):
            while server.connections:
                await asyncio.sleep(0)
