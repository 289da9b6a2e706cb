"""What is printed: whole rows on a pipe, and nothing that steers a terminal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.commands import output
from mss.commands.house import seconds_ago

NOW = datetime(2026, 3, 5, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Hôpital – Accueil", "Hôpital – Accueil"),
        ("\x1b[2Jgone", " [2Jgone"),
        ("two\nlines", "two lines"),
        ("mirror\u202eed", "mirror ed"),
        ("", ""),
    ],
)
def test_texts_are_cleaned(text: str, cleaned: str) -> None:
    assert output.clean(text) == cleaned


@given(st.text())
def test_whatever_is_printed_prints(text: str) -> None:
    assert all(c.isprintable() for c in output.clean(text))
    assert len(output.clean(text)) == len(text)


def test_square_brackets_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    output.say("[FIN] [red]x[/red] :smile:")
    assert capsys.readouterr().out == "[FIN] [red]x[/red] :smile:\n"


def test_rows_stay_whole_on_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("A", "B"), [("x" * 200, "[FIN]\x1b"), ("y", "z" * 300)], nothing="none")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].split() == ["x" * 200, "[FIN]"]


def test_no_rows_are_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("A",), [], nothing="There is none.")
    assert capsys.readouterr().out == "There is none.\n"


@pytest.mark.parametrize(
    ("ago", "said"),
    [
        (timedelta(0), "0 s"),
        (timedelta(seconds=-5), "0 s"),
        (timedelta(seconds=59), "59 s"),
        (timedelta(seconds=60), "1 min"),
        (timedelta(minutes=61, seconds=1), "1 h 1 min"),
        (timedelta(days=3, hours=4, minutes=5), "3 d 4 h"),
        (timedelta(days=1, seconds=1), "1 d 1 s"),
    ],
)
def test_ages_have_two_units(ago: timedelta, said: str) -> None:
    assert seconds_ago(NOW - ago, NOW) == said


def test_instants_are_in_utc() -> None:
    assert output.when(NOW) == "2026-03-05 12:00:00Z"
