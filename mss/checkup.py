"""What is wrong with an operator before it hurts: certificates, trust list, store, keys, ports, disk, clock.

It changes nothing and fetches nothing. Each finding says what to do. `live` and `ready` ask a running operator instead.
"""

from __future__ import annotations

import asyncio
import errno
import http.client
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Final

from mss import checkorders, checkpeers, checkscan
from mss.checkpeers import CLOCK_DRIFT, Level
from mss.clock import Clock, system_clock
from mss.config import MIB, Config
from mss.errors import Malformed, MssError, Unavailable
from mss.model.address import Address, parse_domain
from mss.services import operators
from mss.smtp.signing import KeyRing
from mss.store import Store, Uow
from mss.store.blobs import FILE, open_blobs, try_place
from mss.store.engine import fault_of
from mss.store.keys import OPERATOR
from mss.store.schema import Fit
from mss.tokens.issuer import issuer_of

DISK_WARNING_OCTETS: Final = 1024 * MIB
DISK_WRONG_OCTETS: Final = 100 * MIB
LIVE_TIMEOUT_S: Final = 5
_TOO_LATE: Final = 0
# The house was built after this day: an earlier clock is not set.
_BUILT: Final = datetime(2026, 1, 1, tzinfo=UTC)

Finding = checkpeers.Finding


def run(config: Config, clock: Clock = system_clock) -> tuple[Finding, ...]:
    """Look at everything; a check that cannot be made is a finding, never an error."""
    now = clock()
    checks: tuple[tuple[str, Callable[[Config, datetime], Iterator[Finding]]], ...] = (
        ("domains", _domains),
        ("certificate", checkpeers.certificates),
        ("handshake", checkpeers.handshake),
        ("tokens", _tokens),
        ("antivirus", checkscan.antivirus),
        ("revocation lists", checkpeers.revocation),
        ("signatures", _signatures),
        ("trust list file", checkpeers.trust_list_file),
        ("master key", _master_key),
        ("store", _store),
        ("files", _files),
        ("disk", _disk),
        ("ports", _ports),
        ("orders' folder", checkorders.folder),
        ("webmail", _webmail),
    )
    return tuple(finding for subject, check in checks for finding in _guarded(subject, partial(check, config, now)))


def is_well(findings: tuple[Finding, ...]) -> bool:
    """Say whether nothing is wrong; warnings are well."""
    return all(finding.level != "wrong" for finding in findings)


def _guarded(subject: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except MssError as error:
        yield Finding(subject, "wrong", str(error), "mend it and check again")
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        yield Finding(subject, "wrong", f"{error.strerror or type(error).__name__}{where}", "mend it and check again")


# Who we are -------------------------------------------------------------------------------------------------------


def _domains(config: Config, now: datetime) -> Iterator[Finding]:
    for domain in config.domains:
        yield _domain(domain.name, domain.kind)
    yield _postmaster(config)
    if config.policy.test_identities:
        yield Finding(
            "test identities",
            "warning",
            "boxes of test identities take letters",
            "in production set [policy] test_identities = false",
        )


def _domain(name: str, kind: str) -> Finding:
    try:
        parsed = parse_domain(name)
    except Malformed as error:
        return Finding("domain", "wrong", f"“{name}”: {error}", "write it as host names are written")
    if parsed != name:
        return Finding("domain", "warning", f"“{name}” is read as {parsed}", f'write name = "{parsed}"')
    return Finding("domain", "ok", f"{name} ({kind})")


def _postmaster(config: Config) -> Finding:
    try:
        address = _postmaster_address(config)
    except Malformed as error:
        return Finding("postmaster", "wrong", str(error), "write a mail address: [operator] postmaster")
    return Finding("postmaster", "ok", f"an address at {address.domain}")


def _postmaster_address(config: Config) -> Address:
    return Address.parse(config.operator.postmaster or f"postmaster@{config.domains[0].name}")


# Signatures -------------------------------------------------------------------------------------------------------


def _signatures(config: Config, now: datetime) -> Iterator[Finding]:
    ring = KeyRing(config)
    ring.check()
    for domain in ring.domains:
        key = ring.current(domain, now.date())
        if key is None:
            remedy = "add a key to [dkim] keys, or take the old ones out"
            yield Finding("signatures", "warning", f"no DKIM key of {domain} is in force today", remedy)
        else:
            yield Finding("signatures", "ok", f"letters from {domain} are signed with {key.selector}")


# Tokens -----------------------------------------------------------------------------------------------------------


def _tokens(config: Config, now: datetime) -> Iterator[Finding]:
    """Ask the issuer of tokens for its keys, where there is one."""
    issuer = issuer_of(config, lambda: now)
    if issuer is None:
        return
    keys = asyncio.run(issuer.read_keys())
    if keys:
        yield Finding("tokens", "ok", f"{keys} keys of {config.tokens.issuer}")
    else:
        remedy = "check [tokens] issuer, jwks_url and ca_file, and whether it can be reached from here"
        yield Finding("tokens", "warning", f"no keys can be had of {config.tokens.issuer}", remedy)


# Store ------------------------------------------------------------------------------------------------------------


def _master_key(config: Config, now: datetime) -> Iterator[Finding]:
    path = config.path(config.store.master_key_file)
    status = path.stat()
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding("master key", "wrong", "others may read it", f"chmod 600 {path}")
    elif status.st_uid != os.geteuid():
        yield Finding("master key", "warning", "it belongs to another user", f"let the server's user own {path}")
    else:
        yield Finding("master key", "ok", "only its owner may read it; keep a copy elsewhere")


def _store(config: Config, now: datetime) -> Iterator[Finding]:
    lost = [*_lost(config, "store", config.store.url), *_lost(config, "keys", config.store.keys_url)]
    if lost:
        yield from lost
        return
    # The whole look happens in one loop, so that the findings come out after the store is closed.
    yield from asyncio.run(_look_into_store(config, now))


def _lost(config: Config, subject: str, url: str) -> Iterator[Finding]:
    """Look for the database's file before it is opened: opening would make an empty one."""
    if fault := fault_of(config.sqlite_url(url)):
        yield Finding(subject, "wrong", fault, "bring its backup back, or run mss init")


async def _look_into_store(config: Config, now: datetime) -> list[Finding]:
    store = Store(config)
    try:
        fit = await store.fit()
        if not fit.may_run:
            return [Finding("store", "wrong", fit.said.partition(":")[0], fit.said.partition(": ")[2])]
        await store.read(_unlock)
        await store.write(_nothing)
        listed = await store.read(operators.trust_list, now)
        last = await store.read(operators.readings, 1, now)
        newest = await store.read(_newest_record)
        writable = Finding("store", "ok", "its tables are of this program's form, it can be written and its keys open")
        if fit is Fit.NEWER:
            writable = Finding(
                "store", "warning", fit.said.partition(":")[0], "replace this program on every node soon"
            )
        postmaster = await store.read(_postmaster_box, config)
        readings = [checkpeers.list_in_use(config, listed, now), *checkpeers.last_reading(last)]
        sender = await store.read(checkorders.sender, config, now)
        return [writable, *readings, _clock_finding(now, newest), *postmaster, *sender]
    except Unavailable as error:
        return [Finding("store", "wrong", str(error), "see that the database runs and its files are ours to write")]
    finally:
        await store.close()


def _unlock(uow: Uow) -> None:
    """Prove that the master key opens the database of keys."""
    uow.sealing.seal_text(OPERATOR, "", b"checkup")


def _nothing(uow: Uow) -> None:
    """Prove that a write unit can begin and end."""


def _postmaster_box(uow: Uow, config: Config) -> list[Finding]:
    """Look for the postmaster's box, when its domain is ours (RFC 5321 §4.5.1)."""
    try:
        address = _postmaster_address(config)
    except Malformed:
        return []
    if address.domain not in {domain.name.lower() for domain in config.domains}:
        return []
    box = uow.accounts.box_by_address(address)
    if box is not None and box.receives:
        return [Finding("postmaster's box", "ok", "it takes letters")]
    text = "there is none" if box is None else f"it is {box.state}"
    remedy = f"mss account add {address.spec} --kind org --name Postmaster" if box is None else "open it"
    return [Finding("postmaster's box", "warning", text, remedy)]


def _newest_record(uow: Uow) -> datetime | None:
    return next((record.at for record in uow.journal.newest(1)), None)


def _clock_finding(now: datetime, newest: datetime | None) -> Finding:
    said = f"{now:%Y-%m-%d %H:%M} UTC"
    if now < _BUILT or (newest is not None and newest > now + CLOCK_DRIFT):
        remedy = "set the clock and keep it set (NTP): certificates, lists and the journal depend on it"
        return Finding("clock", "wrong", f"it says {said}, but that time is over", remedy)
    return Finding("clock", "ok", said)


# Machine ----------------------------------------------------------------------------------------------------------


def _files(config: Config, now: datetime) -> Iterator[Finding]:
    blobs = config.path(config.store.blobs_dir)
    folder = next(path for path in (blobs, *blobs.parents) if path.exists())
    with tempfile.TemporaryFile(dir=folder):
        yield Finding("blobs", "ok", "the folder can be written")
    if config.store.blobs != FILE:
        yield _bucket(config)
    optional = {"habilitations": config.policy.habilitations_file, "directory": config.directory.extraction_file}
    for name, file in optional.items():
        if file is not None:
            config.path(file).open("rb").close()
            yield Finding(name, "ok", "the file can be read")


def _bucket(config: Config) -> Finding:
    try:
        try_place(open_blobs(config))
    except Unavailable as error:
        remedy = "check [store] blobs, s3_endpoint and both key files; letters that are large are deferred meanwhile"
        return Finding("bucket", "wrong", str(error), remedy)
    return Finding("bucket", "ok", "octets can be written, read and removed")


def _disk(config: Config, now: datetime) -> Iterator[Finding]:
    blobs = config.path(config.store.blobs_dir)
    folder = next(path for path in (blobs, *blobs.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    text = f"{free // MIB} MiB free"
    if free < DISK_WRONG_OCTETS:
        yield Finding("disk", "wrong", text, "make room now: letters are deferred when the disk is full")
    elif free < DISK_WARNING_OCTETS:
        yield Finding("disk", "warning", text, "make room soon")
    else:
        yield Finding("disk", "ok", text)


def _ports(config: Config, now: datetime) -> Iterator[Finding]:
    running = _answers(config, "/livez") is not None
    smtp, imap = config.smtp, config.imap
    doors = {
        "mx": smtp.mx_listen,
        "submission": (*smtp.submission_listen, *smtp.submissions_listen),
        "imap": (*imap.listen, *imap.imaps_listen),
        "webmail": config.webmail.listen,
        "ops": (config.ops.listen,) if config.ops.listen else (),
    }
    doors |= {"fhir": config.fhir.listen} if config.fhir.listen else {}
    doors |= {"hl7": config.hl7.mllp_listen} if config.hl7.mllp_listen else {}
    for name, addresses in doors.items():
        if not addresses:
            yield Finding(f"door {name}", "warning", "it is closed: no address is configured")
        for address in addresses:
            yield _port(name, address, running)


def _port(door: str, address: str, running: bool) -> Finding:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, int(port)))
    except (OSError, ValueError, OverflowError) as error:
        return _taken(door, address, error, running)
    return Finding(f"door {door}", "ok", f"{address} is free")


def _taken(door: str, address: str, error: Exception, running: bool) -> Finding:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE and running:
        return Finding(f"door {door}", "ok", f"{address} is in use: the operator is running")
    if number == errno.EADDRINUSE:
        return Finding(
            f"door {door}", "wrong", f"{address} is taken by another program", "stop it or take another port"
        )
    if number == errno.EACCES:
        remedy = "take a port from 1024 on, or lower net.ipv4.ip_unprivileged_port_start"
        return Finding(f"door {door}", "wrong", f"{address} is for the administrator only", remedy)
    why = (error.strerror if isinstance(error, OSError) else None) or "not host:port"
    return Finding(f"door {door}", "wrong", f"cannot listen on {address}: {why}", "write an address of this machine")


def _webmail(config: Config, now: datetime) -> Iterator[Finding]:
    settings = config.webmail
    if not settings.listen:
        return
    if not settings.base_url.startswith("https://"):
        level: Level = "warning" if settings.plain else "wrong"
        yield Finding("webmail", level, "base_url is not https", 'name what browsers show: base_url = "https://…"')
    else:
        yield Finding("webmail", "ok", settings.base_url)


# A running operator -----------------------------------------------------------------------------------------------


def live(config: Config) -> Finding:
    """Ask the operator's own port whether the process lives; for the health check of a container."""
    return _asked(config, "live", "/livez")


def ready(config: Config) -> Finding:
    """Ask the operator's own port whether it can do its work now."""
    return _asked(config, "ready", "/readyz")


def _asked(config: Config, what: str, path: str) -> Finding:
    if not config.ops.listen:
        return Finding(what, "wrong", "there is no operator's port to ask", "name one: [ops] listen")
    answer = _answers(config, path)
    if answer is None:
        return Finding(what, "wrong", f"nobody answers on {config.ops.listen}", "start it: mss serve")
    status, text = answer
    if status == _TOO_LATE:
        return Finding(what, "wrong", text, "see what keeps it so busy")
    if status == http.client.OK:
        return Finding(what, "ok", f"{config.ops.listen} says that it is {what}")
    return Finding(what, "wrong", f"it is not {what} ({status}): {text}", "see its log")


def _answers(config: Config, path: str) -> tuple[int, str] | None:
    """Ask the operator's port; None when nobody is there, `_TOO_LATE` when somebody is who does not answer in time."""
    host, _, port = config.ops.listen.rpartition(":")
    if not port.isdigit():
        return None
    # Who listens everywhere is asked on loopback.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host.strip("[]"), host.strip("[]"))  # noqa: S104
    connection = http.client.HTTPConnection(host, int(port), timeout=LIVE_TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(500).decode("utf-8", "replace").strip()
    except TimeoutError:
        return _TOO_LATE, f"{config.ops.listen} does not answer within {LIVE_TIMEOUT_S} s"
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
