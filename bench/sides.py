"""The sides of a measurement: mss with some workers, and Debian's Postfix delivering to Dovecot; same certificates,
same disk, same load generator.

Both answer 250 only when the letter is on disk. Postfix then still has to deliver it; at mss it is in its mailbox.
"""

from __future__ import annotations

import asyncio
import imaplib
import json
import os
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench.machine import tree_cpu_s
from demo.house import Operator
from mss import instance, pki
from mss.clock import system_clock
from mss.directory import trustlist
from mss.model.account import AccountKind, Delegation, DelegationKind
from mss.model.address import Address, parse_domain
from mss.model.party import BoxKind
from mss.model.peer import TrustList
from mss.passwords import hash_password
from mss.services import accounts
from mss.store import Store

ROOT = Path(__file__).parent
USERS = 10
PASSWORD = "secret"
_POSTFIX_PORT, _DOVECOT_IMAPS_PORT = 13600, 13693
_DRAIN_PATIENCE_S = 120.0
_RUN_PATIENCE_S = 300.0


@dataclass(frozen=True, slots=True)
class Side:
    """One side: where its doors are, which processes it is, and how many letters it has yet to deliver."""

    label: str
    port: int
    domain: str
    roots: tuple[int, ...]
    imaps_port: int
    login: str
    waiting: Callable[[], int]

    def cpu_s(self) -> float:
        """Return the processor time of all its processes so far."""
        return sum(map(tree_cpu_s, self.roots))

    def drain(self) -> None:
        """Wait until every letter that it answered with 250 is in its mailbox."""
        end = time.monotonic() + _DRAIN_PATIENCE_S
        while self.waiting():
            if time.monotonic() > end:
                raise SystemExit(f"{self.label}: {self.waiting()} letters wait after {_DRAIN_PATIENCE_S:.0f} s")
            time.sleep(0.02)

    def readable(self, ca_file: Path) -> int:
        """Return how many letters its users' INBOXes show over IMAP."""
        tls = ssl.create_default_context(cafile=str(ca_file))
        return sum(self._inbox(tls, f"{self.login}".format(number)) for number in range(USERS))

    def _inbox(self, tls: ssl.SSLContext, login: str) -> int:
        with imaplib.IMAP4_SSL("localhost", self.imaps_port, ssl_context=tls, timeout=30) as client:
            client.login(login, PASSWORD)
            _, (answer,) = client.status("INBOX", "(MESSAGES)")
            return int(answer.rpartition(b" ")[2].rstrip(b")"))


def certificates(folder: Path) -> dict[str, Path]:
    """Make one authority, a server certificate for Postfix and the sender's client certificate."""
    now = system_clock()
    authority = pki.make_authority(folder / "authority", now=now, name="BENCH")
    files = {"authority": authority.directory, "ca": authority.ca_file}
    for name in ("server", "sender"):
        subject = {"CN": f"{name}.example.test", "O": "Bench", "C": "FR"}
        chain, key = pki.issue(folder / name, authority, subject, [f"{name}.example.test", "localhost"], now=now)
        files |= {name: chain, f"{name}_key": key}
    peer = folder / "postfix-pki"
    peer.mkdir(mode=0o755)
    for target, source in (
        ("server.pem", files["server"]),
        ("server.key", files["server_key"]),
        ("ca.pem", files["ca"]),
    ):
        (peer / target).write_bytes(source.read_bytes())
        (peer / target).chmod(0o644)
    return files | {"postfix": peer}


def build_load(folder: Path) -> Path:
    """Compile the load generator."""
    program = folder / "smtp_load"
    source = str(ROOT / "smtp_load.c")
    subprocess.run(["cc", "-O2", "-pthread", "-o", str(program), source, "-lssl", "-lcrypto"], check=True)
    return program


def load_command(load: Path, files: dict[str, Path], port: int, domain: str, **options: int | bool) -> list[str]:
    """Return the command that sends letters to users of a domain; options as the program has them."""
    command = [
        str(load), "--port", str(port), "--servername", "localhost", "--cafile", str(files["ca"]),
        "--cert", str(files["sender"]), "--key", str(files["sender_key"]), "--starttls",
        "--from", "bench@example.test", "--rcpt", f"user%d@{domain}", "--users", str(USERS),
    ]  # fmt: skip
    for name, value in options.items():
        if value is not False:
            command += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return command


def run_load(command: list[str]) -> dict[str, Any]:
    """Run the load generator; returns what it measured."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=_RUN_PATIENCE_S)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


@contextmanager
def postfix_dovecot(folder: Path, files: dict[str, Path]) -> Iterator[Side]:
    """Run Postfix in front of Dovecot, with a private configuration."""
    script, where = str(ROOT / "peers" / "postfix_dovecot.sh"), folder / "postfix"
    environment = {
        "SMTP_PORT": str(_POSTFIX_PORT),
        "IMAP_PORT": "13643",
        "IMAPS_PORT": str(_DOVECOT_IMAPS_PORT),
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    }
    quiet: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "env": environment}
    subprocess.run([script, "start", str(where), str(files["postfix"]), "maildir"], check=True, **quiet)
    masters = (where / "pfspool" / "pid" / "master.pid", where / "dv" / "run" / "master.pid")
    queues = [where / "pfspool" / name for name in ("maildrop", "incoming", "active", "deferred")]

    def waiting() -> int:
        return sum(len(names) for queue in queues for _, _, names in os.walk(queue))

    try:
        yield Side(
            "Postfix + Dovecot", _POSTFIX_PORT, "example.test",
            tuple(int(file.read_text()) for file in masters), _DOVECOT_IMAPS_PORT, "user{}@example.test", waiting,
        )  # fmt: skip
    finally:
        subprocess.run([script, "stop", str(where)], check=False, **quiet)


@contextmanager
def mss(folder: Path, files: dict[str, Path], port: int, workers: int) -> Iterator[Side]:
    """Run an operator of ours with so many workers."""
    plan = instance.Plan(
        name="Bench", hostname="mx.hospital.test", domains=(("hospital.test", "professional"),), base_port=port,
        authority=files["authority"],
    )  # fmt: skip
    operator = Operator("bench", "mss", "hospital.test", "professional", port, folder)
    operator.config_file = instance.make(folder, plan, system_clock)
    _list_the_sender(operator, files["sender"])
    asyncio.run(_make_boxes(operator))
    operator.start(workers=workers)
    try:
        operator.wait_until_ready()
        assert operator.process is not None
        label = f"mss, {workers} worker{'s' if workers > 1 else ''}"
        yield Side(
            label, port, "hospital.test", (operator.process.pid,), operator.port("imaps"), "user{}", lambda: 0
        )  # fmt: skip
    finally:
        operator.stop()


def _list_the_sender(operator: Operator, certificate: Path) -> None:
    now = system_clock()
    subjects = {
        parse_domain("example.test"): frozenset({instance.subject_of(certificate)}),
        parse_domain("hospital.test"): frozenset({operator.subject}),
    }
    file = operator.config.trust_list.file
    assert file is not None
    octets = trustlist.render(TrustList(now - timedelta(minutes=1), subjects, now))
    operator.config.path(file).write_bytes(octets)


async def _make_boxes(operator: Operator) -> None:
    store, now, by = Store(operator.config), system_clock(), "system:bench"
    hashed = hash_password(PASSWORD)
    try:
        for number in range(USERS):
            login = f"user{number}"
            new = accounts.NewBox(Address(login, parse_domain("hospital.test")), BoxKind.PER, f"User {number}")
            box = await store.write(accounts.create_box, new, by, now)
            kind = AccountKind.PROFESSIONAL
            account = await store.write(accounts.create_account, login, kind, login, hashed, by, now)
            await store.write(accounts.delegate, Delegation(account.id, box.id, DelegationKind.OWNER), by, now)
    finally:
        await store.close()
