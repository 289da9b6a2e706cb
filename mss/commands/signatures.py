"""DKIM keys from the command line: made, and shown as the DNS records that publish them (RFC 6376 §3.6.1)."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mss.config import Config, DkimKeyConfig
from mss.errors import Misconfigured
from mss.mail.dkim import KEY_BITS_MAX
from mss.model.address import Domain, parse_domain

BITS: Final = 2048
_STRING_MAX: Final = 255


@dataclass(frozen=True, slots=True)
class Made:
    """A new key: its file, the record to publish, and the line for `[dkim] keys`."""

    path: Path
    record: str
    setting: str


def keygen(config: Config, domain: str, selector: str, bits: int, today: date) -> Made:
    """Make a key for a domain of ours; a file that is there already is never written over."""
    name = parse_domain(domain)
    if name not in {parse_domain(one.name) for one in config.domains}:
        raise Misconfigured(f"{name} is no domain of ours: name one of [[domains]]")
    if not BITS <= bits <= KEY_BITS_MAX:
        raise Misconfigured(f"a DKIM key has {BITS} to {KEY_BITS_MAX} bits")
    selector = selector or f"s{today:%Y%m%d}"
    relative = Path("keys") / f"dkim-{name}-{selector}.pem"
    key = rsa.generate_private_key(65537, bits)
    _write_new(config.path(relative), key)
    setting = f'{{ domain = "{name}", selector = "{selector}", key_file = "{relative}", since = {today:%Y-%m-%d} }}'
    return Made(config.path(relative), record(name, selector, key.public_key()), setting)


def _write_new(path: Path, key: rsa.RSAPrivateKey) -> None:
    octets = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise Misconfigured(f"{path} is there already: choose another --selector") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(octets)


def record(domain: Domain, selector: str, key: rsa.RSAPublicKey) -> str:
    """Return the TXT record of a key as a line of a zone file."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    value = f"v=DKIM1; k=rsa; p={base64.b64encode(der).decode()}"
    strings = (value[at : at + _STRING_MAX] for at in range(0, len(value), _STRING_MAX))
    return f"{selector}._domainkey.{domain}. IN TXT ( " + " ".join(f'"{one}"' for one in strings) + " )"


@dataclass(frozen=True, slots=True)
class Listed:
    """A configured key, how it stands today, and the record that must be published for it."""

    key: DkimKeyConfig
    state: str
    record: str


def configured(config: Config, today: date) -> tuple[Listed, ...]:
    """Return all configured keys; Misconfigured names a file that holds none."""
    return tuple(Listed(one, _state(one, today), _record_of(config, one)) for one in config.dkim.keys)


def _state(key: DkimKeyConfig, today: date) -> str:
    if key.since is not None and today < key.since:
        return f"from {key.since}"
    if key.until is not None and today >= key.until:
        return f"ended {key.until}: keep the record until no letter signed with it is on its way"
    return f"until {key.until}" if key.until else "in force"


def _record_of(config: Config, one: DkimKeyConfig) -> str:
    path = config.path(one.key_file)
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise Misconfigured(f"cannot read the DKIM key {path}: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise Misconfigured(f"{path} holds no private key in PEM") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise Misconfigured(f"{path} holds no RSA key")
    return record(parse_domain(one.domain), one.selector, key.public_key())
