"""Two operators under one authority, a rogue under another, and handshakes between memory buffers."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from mss import pki, tls
from mss.clock import system_clock
from mss.config import Config, DomainConfig, OperatorConfig, TlsConfig
from mss.revocation import Revocation

NOW = system_clock()
HOUR = timedelta(hours=1)
HOSPITAL = [("C", "FR"), ("ST", "Gironde (33)"), ("O", "CHU ESSAI"), ("OU", "1330000001"), ("CN", "mx.chu.example")]
REGION = [("C", "FR"), ("ST", "Haute-Garonne (31)"), ("O", "GIP ESSAI"), ("OU", "3183"), ("CN", "mx.gip.example")]


@dataclass(frozen=True)
class World:
    """One authority with two operators, and a foreign authority with a rogue."""

    root: Path
    authority: pki.Authority
    foreign: pki.Authority

    def config(self, name: str, *, authority: pki.Authority | None = None, **changes: Any) -> Config:
        trusted = authority or self.authority
        folder = self.root / name
        settings = TlsConfig(
            certificate_file=folder / "operator.pem",
            key_file=folder / "operator.key",
            ca_file=trusted.ca_file,
            crl_files=(trusted.crl_file,),
        )
        return Config(
            operator=OperatorConfig(name=name, hostname=f"mx.{name}.example"),
            domains=(DomainConfig(f"{name}.mssante.fr", "professional"),),
            tls=replace(settings, **changes),
        )


def make_world(tmp_path: Path) -> World:
    """Make the authorities and the leaves of chu, gip, rogue (foreign) and expired."""
    made = World(
        tmp_path,
        pki.make_authority(tmp_path / "authority", now=NOW),
        pki.make_authority(tmp_path / "foreign", now=NOW, name="ETRANGERE"),
    )
    pki.issue(tmp_path / "chu", made.authority, HOSPITAL, ["mx.chu.example"], now=NOW)
    pki.issue(tmp_path / "gip", made.authority, REGION, ["mx.gip.example"], now=NOW)
    pki.issue(tmp_path / "rogue", made.foreign, HOSPITAL, ["mx.chu.example"], now=NOW)
    pki.issue(tmp_path / "expired", made.authority, REGION, ["mx.gip.example"], now=NOW, days=-1)
    return made


@dataclass(frozen=True)
class Ends:
    server: ssl.SSLObject
    client: ssl.SSLObject
    finish: Callable[[], None]


def handshake(server_context: ssl.SSLContext, client_context: ssl.SSLContext, name: str = "mx.chu.example") -> Ends:
    """Shake hands in memory; `finish` carries what remains (the tickets of TLS 1.3) over to the client."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    waiting = [client, server]
    for _ in range(20):
        waiting = [end for end in waiting if not _stepped(end)]
        if not waiting:
            break
    assert not waiting

    def finish() -> None:
        server.write(b"x")
        assert client.read(1) == b"x"

    return Ends(server, client, finish)


def _stepped(end: ssl.SSLObject) -> bool:
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def leaf_der(path: Path) -> bytes:
    return x509.load_pem_x509_certificates(path.read_bytes())[0].public_bytes(serialization.Encoding.DER)


def revocation_of(world: World, *, authority: pki.Authority | None = None, grace: timedelta = HOUR) -> Revocation:
    trusted = authority or world.authority
    revocation, problems = Revocation.load(trusted.ca_file, [trusted.crl_file], grace)
    assert problems == []
    return revocation


def judged(world: World, name: str, revocation: Revocation, now: datetime = NOW) -> str:
    return tls.peer_of(leaf_der(world.root / name / "operator.pem"), revocation, ip="::1", now=now).revocation
