"""The log's net: no address, matricule or token leaves, in whatever it is wrapped, and no line takes long."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mss.log import configure, get_logger, redact
from mss.model.address import Address
from tests.model.strategies_model import address_texts, matricules

MASK = "«masked»"
Written = Callable[[], str]


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Written]:
    """What went to standard error since it was asked last; the logging is as it was before afterwards."""
    levels = {name: logging.getLogger(name).level for name in ("mail.log", "mail.debug", "uvicorn.access", "asyncio")}
    yield lambda: capsys.readouterr().err
    structlog.reset_defaults()
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("doctor@chu.fr", MASK),
        ("from <doctor@chu.fr> to <a@b>", f"from <{MASK}> to <{MASK}>"),
        ("Address(local='a@b.fr')", f"Address(local='{MASK}')"),
        ('to:"john doe"@chu.fr.', f"to:{MASK}"),
        ("a@[127.0.0.1]", f"{MASK}[127.0.0.1]"),
        ("GET /compose?to=doctor%40chu.fr&x=1", f"GET {MASK}"),
        ("a@b@c.fr", MASK),
        ("@", MASK),
        ("hélène@chu.fr", MASK),
        ("279035121518989", MASK),
        ("ins=279035121518989;", f"ins={MASK};"),
        ("2790351215189", MASK),
        ("284052A32102552", MASK),
        ("284052b32102552", MASK),
        ("27903512151898", "27903512151898"),
        ("1795348800000005", "1795348800000005"),
        ("x279035121518989", "x279035121518989"),
        ("Authorization: Bearer abc.def-_", f"Authorization: {MASK}"),
        ("auth=bearer  A/b+c=", f"auth={MASK}"),
        ("token eyJhbGciOi.eyJzdWIi.c2ln.", f"token {MASK}"),
        ("access_token%3DeyJhbGciOi.eyJzdWIi.", f"access_token%{MASK}"),
        ("eyJhbGciOi", "eyJhbGciOi"),
        ("mx.chu.fr 127.0.0.1 v1.2.3", "mx.chu.fr 127.0.0.1 v1.2.3"),
        ("", ""),
    ],
)
def test_what_must_not_leave_is_masked_and_the_rest_stays(text: str, redacted: str) -> None:
    assert redact(text) == redacted


_around = st.sampled_from(["", " ", "<", ">", "(", ")", "'", ",", ";", "=", ": ", "\n", "[", "]", "→"])


@given(address_texts(), _around, _around)
def test_no_address_of_the_grammar_leaves(text: str, before: str, after: str) -> None:
    shown = redact(f"x{before} {before}{text}{after}y")
    assert text not in shown
    assert "@" not in shown


@given(matricules(), _around, _around)
def test_no_matricule_leaves(matricule: str, before: str, after: str) -> None:
    for written in (matricule, matricule.lower()):
        assert written not in redact(f"{before}{written}{after}")


@given(st.from_regex(r"eyJ[A-Za-z0-9_-]{4,20}\.eyJ[A-Za-z0-9_-]{4,20}\.[A-Za-z0-9_-]{4,20}", fullmatch=True), _around)
def test_no_token_leaves(token: str, before: str) -> None:
    assert token.split(".")[2] not in redact(f"a {before}{token} b")


@given(st.text())
def test_masking_twice_is_masking_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "line", ["a" * 200_000, "@" * 200_000, '"' * 200_000, '"\\' * 100_000, "eyJ" * 60_000, "eyJ." * 50_000,
             "bearer " * 30_000, "1" * 200_000, "a@" * 100_000, "%4" * 100_000, "bearer" + " " * 200_000],
)  # fmt: skip
def test_a_long_hostile_line_takes_no_time(line: str) -> None:
    started = time.process_time()
    redact(line)
    # A quadratic search took half a minute; this is generous for a slow machine.
    assert time.process_time() - started < 30


def test_a_line_is_json_with_a_time_a_level_a_room_and_its_fields(written: Written) -> None:
    configure(json=True)
    get_logger("smtp").info("letter.accepted", octets=5, ok=True, share=0.5, nothing=None, words=["a", ("b",)])
    line = json.loads(written())
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", line.pop("timestamp"))
    assert line == {
        "event": "letter.accepted",
        "room": "smtp",
        "level": "info",
        "octets": 5,
        "ok": True,
        "share": 0.5,
        "nothing": None,
        "words": ["a", ["b"]],
    }


SECRET = "doctor@chu.fr"


@pytest.mark.parametrize(
    "value",
    [
        SECRET,
        SECRET.encode(),
        [SECRET],
        (SECRET,),
        {SECRET},
        frozenset({SECRET}),
        {"to": {"who": [SECRET]}},
        {SECRET: 1},
        Address.parse(SECRET),
        ValueError(SECRET),
        279035121518989,
        "279035121518989",
        {"ins": 279035121518989},
    ],
    ids=repr,
)
@pytest.mark.parametrize("as_json", [True, False])
def test_nothing_leaves_in_whatever_it_is_wrapped(written: Written, value: Any, as_json: bool) -> None:
    configure(json=as_json)
    get_logger("imap").warning("event", value=value)
    line = written()
    assert "event" in line
    assert "doctor" not in line
    assert "2790351" not in line  # Fewer digits may stand in the time of day.


@pytest.mark.parametrize("as_json", [True, False])
def test_a_traceback_shows_neither_addresses_nor_variables(written: Written, as_json: bool) -> None:
    configure(json=as_json)
    hidden = "a-local-variable"[::-1]
    try:
        raise ValueError(f"cannot send to {SECRET}")
    except ValueError:
        get_logger("relay").exception("delivery.failed")
    lines = written()
    assert "ValueError" in lines
    assert "test_log.py" in lines
    assert SECRET not in lines
    assert hidden not in lines


def test_the_event_and_bound_fields_pass_the_net_too(written: Written) -> None:
    configure(json=True)
    get_logger("smtp").bind(peer=SECRET).error(f"oops {SECRET}")
    with structlog.contextvars.bound_contextvars(session=SECRET):
        get_logger("smtp").info("next")
    lines = written()
    assert SECRET not in lines
    assert lines.count(MASK) == 3


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(text=address_texts())
def test_no_line_holds_an_address_of_the_grammar(written: Written, text: str) -> None:
    configure(json=True)
    get_logger("smtp").info("event", to=text, nested={"deep": [text]})
    line = json.loads(written())
    assert text not in str(line)


@pytest.mark.parametrize(("level", "lines"), [("DEBUG", 3), ("INFO", 2), ("WARNING", 1), ("ERROR", 0)])
def test_the_level_says_what_is_written(written: Written, level: str, lines: int) -> None:
    configure(level=level, json=True)
    log = get_logger("x")
    log.debug("one")
    log.info("two")
    log.warning("three")
    assert len(written().splitlines()) == lines


def test_a_pipe_gets_json_and_a_terminal_columns(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    configure()
    get_logger("x").info("one")
    assert written().startswith("{")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    configure()
    get_logger("x").info("two")
    assert "two" in (line := written())
    assert not line.startswith("{")


def test_the_loggers_of_libraries_that_write_addresses_are_silent(written: Written) -> None:
    configure()
    assert not logging.getLogger("mail.log").isEnabledFor(logging.ERROR)
    assert not logging.getLogger("uvicorn.access").isEnabledFor(logging.ERROR)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), BrokenPipeError()])
def test_a_line_that_cannot_be_written_disturbs_nobody(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise error

    monkeypatch.setattr(sys, "stderr", Full())
    for level in ("info", "warning", "error"):
        getattr(get_logger("test"), level)("event.happened", count=1)


def test_a_line_and_its_end_are_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[str] = []

    class Shared(io.StringIO):
        def write(self, text: str) -> int:
            writes.append(text)
            return len(text)

    monkeypatch.setattr(sys, "stderr", Shared())
    configure(json=True)
    get_logger("smtp").warning("one")
    get_logger("smtp").warning("two")
    assert len(writes) == 2
    assert all(text.endswith("\n") and text.count("\n") == 1 for text in writes)
