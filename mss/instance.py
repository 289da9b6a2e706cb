"""A new operator: its folder with settings, store, certificates and a first trust list, so that it runs at once.

It asks nobody and prints nothing. The certificates are of a development PKI unless the operator brings its own, which
production needs (IGC-Santé).
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import Final

from mss import pki
from mss.clock import Clock, system_clock
from mss.config import BASE_PORT, Config
from mss.directory import trustlist
from mss.errors import Malformed, Misconfigured
from mss.model.address import Address, Domain, parse_domain
from mss.model.peer import DN, TrustList
from mss.revocation import read_certificates
from mss.services import operators
from mss.settings import load
from mss.store import Store
from mss.store.store import create
from mss.tls import TlsMaterial, dn_of

TOML: Final = "mss.toml"
TRUST_LIST: Final = "trust-list.xml"
KINDS: Final = ("professional", "patient")
# How far from the base port each door listens; workers take the operator's ports after the last.
PORTS: Final = {"mx": 0, "submission": 1, "submissions": 2, "imap": 3, "imaps": 4, "webmail": 5, "ops": 10}
# Where the doors of a production operator are, on a machine or in a container of its own.
STANDARD_PORTS: Final = {
    "mx": 25, "submission": 587, "submissions": 465, "imap": 143, "imaps": 993, "webmail": 443, "ops": 9180
}  # fmt: skip

# The list that names only ourselves stands in for a real one, whose date is later whatever it is.
_BEFORE_ANY_LIST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_TEMPLATE: Final = Path(__file__).with_name("instance.toml")


@dataclass(frozen=True, slots=True)
class OwnFiles:
    """Certificates that the operator brings: they are copied. Lists may be PEM or DER."""

    certificate: Path
    key: Path
    ca: Path
    crls: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to make. `domains` are (name, "professional" or "patient").

    `authority` is the folder of a development authority to share; without it, and without `own` files, the instance
    gets an authority of its own. `trust_list` is a file to follow; without it a list is made that names this operator
    only. `routes` maps domains to `host:port`. With `standard_ports` the base port does not count.
    """

    name: str
    hostname: str = "localhost"
    domains: tuple[tuple[str, str], ...] = ()
    base_port: int = BASE_PORT
    authority: Path | None = None
    own: OwnFiles | None = None
    test_identities: bool = True
    trust_list: Path | None = None
    routes: Mapping[str, str] = field(default_factory=dict)
    patient_domains: tuple[str, ...] = ("patient.mssante.fr",)
    postmaster: str = ""
    host: str = "127.0.0.1"
    standard_ports: bool = False


def make(directory: Path, plan: Plan, clock: Clock = system_clock) -> Path:
    """Make a runnable operator in an empty or new folder and return the path of its TOML.

    All or nothing: what was made is removed again when something fails. Misconfigured says what to mend. It runs a
    loop of its own: call it in a thread where one is running.
    """
    check(plan)
    with ExitStack() as undo:
        _begin(directory, undo)
        _certificates(directory, plan, clock)
        toml = directory / TOML
        _write(toml, settings(plan, directory))
        config = load(toml)
        TlsMaterial(config)
        if plan.trust_list is None:
            first = first_list(config)
            _write(directory / TRUST_LIST, trustlist.render(first).decode())
        create(config, clock)
        asyncio.run(_keep_list(config, clock))
        undo.pop_all()
    return toml


def subject_of(certificate: Path) -> DN:
    """Return the subject of the first certificate of a PEM file, as the trust list names it."""
    return dn_of(read_certificates(certificate)[0])


def first_list(config: Config) -> TrustList:
    """Return the trust list that names one operator for its own domains; any other list counts as newer."""
    subjects = frozenset({subject_of(config.path(config.tls.certificate_file))})
    domains = {parse_domain(domain.name): subjects for domain in config.domains}
    return TrustList(_BEFORE_ANY_LIST, domains, _BEFORE_ANY_LIST)


# What may be wrong with a plan --------------------------------------------------------------------------------------


def check(plan: Plan) -> None:
    """Refuse a plan that cannot work; Misconfigured says what to change."""
    if not plan.name.strip() or not plan.name.isprintable():
        raise Misconfigured("the operator's name must be a printable text")
    _domain(plan.hostname)
    if not plan.domains:
        raise Misconfigured("say at least one domain, such as hopital.example=professional")
    names = [_dotted(name) for name, _ in plan.domains]
    if len(set(names)) != len(names):
        raise Misconfigured("a domain stands twice")
    if wrong := [kind for _, kind in plan.domains if kind not in KINDS]:
        raise Misconfigured(f"a domain is {' or '.join(KINDS)}, not “{wrong[0]}”")
    if not 1 <= plan.base_port <= 65535 - PORTS["ops"]:
        raise Misconfigured(f"the base port must be from 1 to {65535 - PORTS['ops']}")
    if plan.own is not None and plan.authority is not None:
        raise Misconfigured("give a development authority or certificates of your own, not both")
    _postmaster(plan)


def _domain(text: str) -> Domain:
    try:
        return parse_domain(text)
    except Malformed as error:
        raise Misconfigured(f"“{text}” is not a domain name") from error


def _dotted(text: str) -> Domain:
    domain = _domain(text)
    if "." not in domain:
        raise Misconfigured(f"“{text}” needs a dot: the trust list names no other domains")
    return domain


def _postmaster(plan: Plan) -> str:
    """Return the postmaster's address: the one given, else that of the first professional domain."""
    professional = [name for name, kind in plan.domains if kind == "professional"]
    text = plan.postmaster or f"postmaster@{_dotted((professional or [plan.domains[0][0]])[0])}"
    try:
        return Address.own(text).spec
    except Malformed as error:
        raise Misconfigured("the postmaster needs a mail address") from error


# The folder ---------------------------------------------------------------------------------------------------------


def _begin(directory: Path, undo: ExitStack) -> None:
    """Make the folder, and remember to empty it again."""
    try:
        if not directory.exists():
            directory.mkdir(parents=True, mode=0o700)
            undo.callback(shutil.rmtree, directory, ignore_errors=True)
        elif any(directory.iterdir()):
            raise Misconfigured(f"{directory} is not empty: name a new folder")
        else:
            undo.callback(_empty, directory)
    except OSError as error:
        raise Misconfigured(f"cannot make {directory}: {error.strerror}") from error


def _empty(directory: Path) -> None:
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _certificates(directory: Path, plan: Plan, clock: Clock) -> None:
    certs = directory / "certs"
    certs.mkdir(mode=0o700)
    if plan.own is not None:
        _copy_own(certs, plan.own)
        return
    now = clock()
    if plan.authority is not None:
        authority = pki.load_authority(plan.authority)
    else:
        authority = pki.make_authority(directory / "authority", now=now)
    pki.issue(certs, authority, _subject(plan), [plan.hostname], now=now)
    pki.publish(authority, certs)


def _subject(plan: Plan) -> list[tuple[str, str]]:
    # OU is an IdNat_Struct in the real lists (3 and a SIRET); this one belongs to nobody.
    return [
        ("C", "FR"),
        ("ST", "Paris (75)"),
        ("O", plan.name.upper()[:64]),
        ("OU", "300000000000000"),
        ("CN", plan.hostname[:64]),
    ]


def _copy_own(certs: Path, own: OwnFiles) -> None:
    pairs = [(own.certificate, "operator.pem"), (own.ca, "ca.pem"), *zip(own.crls, _crl_names(own), strict=True)]
    for source, name in pairs:
        _copy(source, certs / name, 0o644)
    _copy(own.key, certs / "operator.key", 0o600)


def _crl_names(own: OwnFiles) -> list[str]:
    return ["crl.pem"] if len(own.crls) == 1 else [f"crl-{number}.pem" for number, _ in enumerate(own.crls, 1)]


def _copy(source: Path, target: Path, mode: int) -> None:
    try:
        octets = source.read_bytes()
    except OSError as error:
        raise Misconfigured(f"cannot read {source}: {error.strerror}") from error
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(octets)


async def _keep_list(config: Config, clock: Clock) -> None:
    """Make the trust list the store's current one, so that the first letter need not wait for the schedule."""
    file = config.trust_list.file
    if file is None:
        return
    new = read_list(config, config.path(file), clock())
    store = Store(config)
    try:
        await store.write(operators.replace_trust_list, new, clock())
    finally:
        await store.close()


def read_list(config: Config, path: Path, now: datetime) -> TrustList:
    """Read a trust list file; Misconfigured says why it cannot be used."""
    try:
        octets = path.read_bytes()
        return trustlist.parse(octets, fetched_at=now, max_octets=config.limits.trust_list_max_octets)
    except OSError as error:
        raise Misconfigured(f"cannot read the trust list {path}: {error.strerror}") from error
    except Malformed as error:
        raise Misconfigured(f"the trust list {path} cannot be used: {error}") from error


# The settings -------------------------------------------------------------------------------------------------------


def settings(plan: Plan, directory: Path) -> str:
    """Return the commented TOML of a plan."""
    listening = {f"{door}_listen": _list([address(plan, door)]) for door in PORTS if door != "ops"}
    postmaster = _postmaster(plan)
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        listening,
        name=_text(plan.name),
        hostname=_text(plan.hostname),
        postmaster=_text(postmaster),
        postmaster_word=postmaster,
        domains="\n".join(map(_domain_table, plan.domains)),
        certificate_comment=_certificate_comment(plan),
        crl_files=_list([f"certs/{name}" for name in (_crl_names(plan.own) if plan.own else ["crl.pem"])]),
        base_url=_text(_base_url(plan)),
        ops_listen=_text(address(plan, "ops")),
        clamd=_text("off" if plan.test_identities else "/run/clamav/clamd.ctl"),
        trust_list_comment=_trust_list_comment(plan),
        trust_list=_text(TRUST_LIST if plan.trust_list is None else _path(plan.trust_list, directory)),
        test_identities="true" if plan.test_identities else "false",
        patient_domains=_list(plan.patient_domains),
        routes="".join(f"{_text(_domain(domain))} = {_text(hop)}\n" for domain, hop in sorted(plan.routes.items())),
    )


def address(plan: Plan, door: str) -> str:
    """Return the `host:port` of a door."""
    host = f"[{plan.host}]" if ":" in plan.host else plan.host
    return f"{host}:{_port(plan, door)}"


def _port(plan: Plan, door: str) -> int:
    return STANDARD_PORTS[door] if plan.standard_ports else plan.base_port + PORTS[door]


def _base_url(plan: Plan) -> str:
    port = _port(plan, "webmail")
    return f"https://{plan.hostname}" + ("" if port == STANDARD_PORTS["webmail"] else f":{port}")


def _certificate_comment(plan: Plan) -> str:
    if plan.own is not None:
        return "Our certificate (server and client) with its chain, and its key."
    return "Our certificate (server and client) and its key: a development one, for production ask IGC-Santé."


def _trust_list_comment(plan: Plan) -> str:
    if plan.trust_list is not None:
        return "Replace the file to renew it."
    return "This one names only\n# ourselves: replace the file by the real one."


def _path(path: Path, directory: Path) -> str:
    """Return a path as the TOML names it: relative when it is inside the folder."""
    whole, root = path.resolve(), directory.resolve()
    return str(whole.relative_to(root)) if whole.is_relative_to(root) else str(whole)


def _domain_table(domain: tuple[str, str]) -> str:
    return f"[[domains]]\nname = {_text(_dotted(domain[0]))}\nkind = {_text(domain[1])}\n"


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(_text, texts))}]"


def _text(text: str) -> str:
    # A JSON string is a TOML basic string, but for DEL, which no setting holds: names are printable.
    return json.dumps(text, ensure_ascii=False)
