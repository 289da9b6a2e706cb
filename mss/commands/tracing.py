"""The journal for another system: JSON Lines, or syslog (RFC 5424) to a file or over TLS (RFC 5425).

A position for each chain says how far the last run came. It is written after the octets went out: a run that is cut off
repeats some, and loses none.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mss.commands.house import in_store
from mss.commands.journal import day_of
from mss.commands.words import TraceForm
from mss.config import Config
from mss.errors import Malformed, Unavailable
from mss.model.audit import AuditRecord
from mss.store import Store, Uow

_AT_ONCE: Final = 500
_TIMEOUT_S: Final = 60
# Facility 13 (log audit); severity 6 (informational), 4 (warning) for what was refused or failed (RFC 5424 §6.2.1).
_DONE, _REFUSED = 13 * 8 + 6, 13 * 8 + 4
# The number that is kept for documentation (RFC 5612): we have none of our own.
_SD_ID: Final = "mss@32473"
_ESCAPED: Final = str.maketrans({'"': '\\"', "\\": "\\\\", "]": "\\]"})
Write = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class Order:
    """What to export: the form, where to, from which day, and where positions are remembered."""

    form: TraceForm = TraceForm.JSONL
    to: str = "-"
    since: str = ""
    state: Path | None = None
    ca_file: Path | None = None


def export(config: Config, order: Order) -> int:
    """Write the journal out; returns how many records went."""
    positions = _positions(order.state)
    since = day_of(order.since)

    async def work(store: Store) -> int:
        count = 0
        with _opened(order) as (write, flush):
            async for page in _pages(store, positions, since):
                write(b"".join(_framed(one, config, order) for one in page))
                flush()
                positions[page[-1].writer] = page[-1].number
                _remember(order.state, positions)
                count += len(page)
        return count

    return in_store(config, work)


async def _pages(store: Store, positions: dict[str, int], since: Any) -> AsyncIterator[tuple[AuditRecord, ...]]:
    for writer in await store.read(_writers):
        while page := await store.read(_page, writer, positions.get(writer, 0), since):
            yield page


def _writers(uow: Uow) -> tuple[str, ...]:
    return tuple(uow.chains.writers())


def _page(uow: Uow, writer: str, after: int, since: Any) -> tuple[AuditRecord, ...]:
    return uow.chains.page(writer, after, _AT_ONCE, since)


# -- forms -------------------------------------------------------------------------------------------------------------


def _framed(record: AuditRecord, config: Config, order: Order) -> bytes:
    line = json_line(record) if order.form is TraceForm.JSONL else syslog_line(record, config.operator.hostname)
    octets = line.encode()
    # Over TLS each message says its length; in a file each has a line (RFC 5425 §4.3).
    over_tls = order.to.startswith("tls://") and order.form is TraceForm.SYSLOG
    return b"%d %b" % (len(octets), octets) if over_tls else octets + b"\n"


def fields(record: AuditRecord) -> dict[str, Any]:
    """Return a record's fields by name, as other systems read them."""
    event = record.event
    return {
        "at": record.at.isoformat(),
        "actor": event.actor,
        "action": event.action,
        "target": event.target,
        "decision": event.decision,
        "rule": event.rule,
        "box": event.subject_box_id,
        "message": event.message,
        "facts": dict(event.facts),
        "writer": record.writer,
        "number": record.number,
        "hash": record.hash,
    }


def json_line(record: AuditRecord) -> str:
    """Return a record as one line of JSON."""
    return json.dumps(fields(record), separators=(",", ":"), ensure_ascii=True)


def syslog_line(record: AuditRecord, hostname: str) -> str:
    """Return a record as a syslog message: its fields as structured data, and a sentence."""
    event = record.event
    refused = event.decision in ("reject", "defer", "quarantine") or event.action.endswith((".failed", ".refuse"))
    at = record.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    values = {**fields(record), **{f"fact-{name}": value for name, value in event.facts.items()}}
    params = " ".join(
        f'{name}="{_param(value)}"'
        for name, value in values.items()
        if name not in ("facts", "at") and value not in ("", None)
    )
    name = event.action[:32] or "-"
    said = f"{event.actor} {event.action} {event.target} {event.decision}".strip()
    return f"<{_REFUSED if refused else _DONE}>1 {at} {hostname or '-'} mss - {name} [{_SD_ID} {params}] {_plain(said)}"


def _param(value: object) -> str:
    return _plain(str(value)).translate(_ESCAPED)


def _plain(text: str) -> str:
    return "".join(one if one.isprintable() else " " for one in text)


# -- where to ----------------------------------------------------------------------------------------------------------


@contextmanager
def _opened(order: Order) -> Iterator[tuple[Write, Callable[[], None]]]:
    if order.to == "-":
        yield _to_stdout, lambda: None
    elif order.to.startswith("tls://"):
        with _connected(order) as connection:
            yield connection.sendall, lambda: None
    else:
        with open(order.to, "ab", opener=_private) as file:
            yield file.write, lambda: _to_disk(file)


def _to_stdout(octets: bytes) -> None:
    sys.stdout.write(octets.decode())
    sys.stdout.flush()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _to_disk(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def _connected(order: Order) -> Iterator[ssl.SSLSocket]:
    host, colon, port = order.to.removeprefix("tls://").rpartition(":")
    if not colon or not port.isdigit():
        raise Malformed(f"{order.to}: a server is written tls://host:port")
    context = ssl.create_default_context(cafile=None if order.ca_file is None else os.fspath(order.ca_file))
    try:
        with (
            socket.create_connection((host.strip("[]"), int(port)), _TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=host.strip("[]")) as connection,
        ):
            yield connection
            # Whatever the other side refuses is heard of before anybody says that it is done.
            connection.unwrap()
    except OSError as error:
        raise Unavailable(f"{order.to} does not take it: {type(error).__name__}") from error


# -- positions ---------------------------------------------------------------------------------------------------------


def _positions(state: Path | None) -> dict[str, int]:
    if state is None or not state.exists():
        return {}
    try:
        return {str(name): int(number) for name, number in json.loads(state.read_text(encoding="utf-8")).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise Malformed(f"{state} holds no positions: remove it to begin anew") from error


def _remember(state: Path | None, positions: dict[str, int]) -> None:
    if state is None:
        return
    half = state.with_name(state.name + ".part")
    half.write_text(json.dumps(positions), encoding="utf-8")
    os.replace(half, state)
