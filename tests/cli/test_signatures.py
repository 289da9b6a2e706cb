"""`mss dkim`: a key is made once, its record is what verifies, and the list says which key signs."""

from __future__ import annotations

import re
import stat

import pytest

from mss.mail import dkim
from tests.cli.cli_world import Desk

LETTER = b"From: a@hopital.example\r\n\r\nHello\r\n"


def published(line: str) -> tuple[str, bytes]:
    """Return name and value of a zone file's line, as a name server would read it."""
    match = re.fullmatch(r'(\S+)\. IN TXT \( ((?:"[^"]{1,255}" ?)+)\)', line)
    assert match, line
    return match[1], "".join(re.findall(r'"([^"]*)"', match[2])).encode()


@pytest.mark.parametrize("bits", ["2048", "4096"])
def test_the_record_verifies_what_the_key_signs(desk: Desk, bits: str) -> None:
    record, where, setting = desk.does(
        "dkim", "keygen", "Hopital.example", "--selector", "s1", "--bits", bits
    ).splitlines()
    name, value = published(record)
    assert name == "s1._domainkey.hopital.example"
    path = desk.folder / "keys" / "dkim-hopital.example-s1.pem"
    assert str(path) in where
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    octets = dkim.sign(LETTER, "s1", "hopital.example", path.read_bytes()) + LETTER
    assert dkim.verify(octets, {name: value}.get).result == "pass"
    assert 'key_file = "keys/dkim-hopital.example-s1.pem"' in setting


def test_configured_keys_are_listed_with_their_records(desk: Desk) -> None:
    assert desk.does("dkim", "list") == ""
    made = [desk.does("dkim", "keygen", "hopital.example", "--selector", name).splitlines() for name in ("s1", "s2")]
    settings = [lines[-1] for lines in made]
    settings[0] = re.sub(r"since = \S+", "until = 2026-01-01", settings[0])
    settings[1] = re.sub(r"since = \S+", "since = 2999-01-01", settings[1])
    with desk.toml.open("a", encoding="utf-8") as file:
        file.write(f"\n[dkim]\nkeys = [{', '.join(settings)}]\n")
    listed = desk.does("dkim", "list").splitlines()
    assert listed[0].startswith("hopital.example s1: ended 2026-01-01")
    assert listed[2] == "hopital.example s2: from 2999-01-01"
    assert [listed[1].strip(), listed[3].strip()] == [lines[0] for lines in made]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("other.example",), "other.example is no domain of ours"),
        (("hopital.example", "--bits", "2047"), "a DKIM key has 2048 to 4096 bits"),
        (("hopital.example", "--bits", "4097"), "a DKIM key has 2048 to 4096 bits"),
    ],
)
def test_what_cannot_be_made_is_said(desk: Desk, words: tuple[str, ...], said: str) -> None:
    assert said in desk.fails("dkim", "keygen", *words, code=2)


def test_a_key_is_never_written_over(desk: Desk) -> None:
    desk.does("dkim", "keygen", "hopital.example", "--selector", "s1")
    assert "choose another --selector" in desk.fails("dkim", "keygen", "hopital.example", "--selector", "s1", code=2)
