"""What a person reads on the terminal: lines, tables, marks. The only module that names rich.

What others wrote (peers' texts, names) is printed without the characters that steer terminals.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

_STYLES: Final = {"✓": "green", "!": "yellow", "✗": "red"}
# A pipe has no width: rows stay whole for grep and awk.
_PIPE_WIDTH: Final = 1000


def clean(text: str) -> str:
    """Return a text whose characters all print: no escape sequences, no marks of direction, one line."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def say(text: str = "") -> None:
    """Print a line."""
    _console().print(clean(text), soft_wrap=True)


def say_marked(mark: str, text: str) -> None:
    """Print a line that begins with ✓, ! or ✗."""
    line = Text.assemble((mark, _STYLES.get(mark, "")), " ", clean(text))
    _console().print(line, soft_wrap=True)


def complain(text: str) -> None:
    """Print a line on standard error."""
    Console(file=sys.stderr, highlight=False, markup=False, emoji=False).print(clean(text), soft_wrap=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, nothing: str) -> None:
    """Print rows under their titles, or a sentence when there are none."""
    console = _console()
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column, overflow="fold", no_wrap=not console.is_terminal)
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 - the count is used below.
        made.add_row(*(Text(clean(cell)) for cell in row))
    if count:
        console.print(made)
    else:
        say(nothing)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show how far long work is: what this yields takes (done, of how many). On standard error, for people only."""
    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def say_json(value: object) -> None:
    """Print a value as one line of JSON; others' texts hold no character there that steers a terminal."""
    _console().print(clean(json.dumps(value, ensure_ascii=False)), soft_wrap=True)


def when(instant: datetime) -> str:
    """Return an instant as people here write it: UTC, to the second."""
    return f"{instant:%Y-%m-%d %H:%M:%S}Z"


def _console() -> Console:
    terminal = sys.stdout.isatty()
    return Console(file=sys.stdout, highlight=False, markup=False, emoji=False, width=None if terminal else _PIPE_WIDTH)
