"""Settings from one TOML file, checked; an unknown key is an error that names its line.

Every field is explained in `config/mss.toml`; a test compares the two.
"""

from __future__ import annotations

import functools
import math
import re
import tomllib
import types
import typing
from collections.abc import Hashable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import date
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal

from mss.config import Config
from mss.errors import Malformed, Misconfigured
from mss.model.address import Address


def load(path: Path) -> Config:
    """Read one TOML file; Misconfigured says which line to mend."""
    try:
        # Some editors begin a file with a byte order mark.
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{path} is not UTF-8 text: save it as UTF-8") from error
    return parse(text, root=path.resolve().parent, name=str(path))


def parse(text: str, *, root: Path, name: str = "mss.toml") -> Config:
    """Read the TOML text; `root` is where relative paths count from."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{name}: not TOML: {error}") from error
    try:
        if "root" in table:
            raise _BadKeyError(("root",), "unknown key “root”")
        config: Config = _build(Config, {**table, "root": root}, ())
    except _BadKeyError as bad:
        line = _line_of(text, bad.path)
        raise Misconfigured(f"{name}, line {line}: {bad.reason}") from bad
    _check(config, name)
    return config


# Where a value stands: keys, and numbers (from 0) inside lists.
_Path = tuple[str | int, ...]


class _BadKeyError(Exception):
    def __init__(self, path: _Path, reason: str) -> None:
        super().__init__(reason)
        self.path, self.reason = path, reason


def _bad(path: _Path, must: str) -> _BadKeyError:
    return _BadKeyError(path, f"“{_dotted(path)}” {must}")


def _dotted(path: _Path) -> str:
    return ".".join(part for part in path if isinstance(part, str))


@functools.cache
def _hints(cls: Hashable) -> dict[str, Any]:
    """Return the types of a class's fields: finding them takes most of the time of reading."""
    return typing.get_type_hints(cls)


def _build(cls: type[Any], table: Mapping[str, Any], path: _Path) -> Any:
    hints = _hints(typing.cast(Hashable, cls))
    known = {f.name: f for f in fields(cls)}
    for key in table:
        if key not in known:
            raise _BadKeyError((*path, key), f"unknown key “{_dotted((*path, key))}”")
    for key, spec in known.items():
        if key not in table and spec.default is MISSING and spec.default_factory is MISSING:
            raise _BadKeyError(path, f"“{_dotted((*path, key))}” is missing")
    return cls(**{key: _convert(hints[key], value, (*path, key)) for key, value in table.items()})


def _convert(hint: Any, value: Any, path: _Path) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _convert(next(a for a in args if a is not type(None)), value, path)
    if is_dataclass(hint):
        return _build(typing.cast(type[Any], hint), _expect(dict, value, path), path)
    if origin is tuple:
        return tuple(_convert(args[0], item, (*path, n)) for n, item in enumerate(_expect(list, value, path)))
    if origin is Literal:
        if value not in args:
            raise _bad(path, f"must be one of {', '.join(map(repr, args))}")
        return value
    if origin is not None:  # Mapping[str, str]
        return {key: _expect(args[1], item, (*path, key)) for key, item in _expect(dict, value, path).items()}
    if hint is date:
        if type(value) is not date:  # A moment is a date to Python, and another thing to us.
            raise _bad(path, "must be a day, such as 2027-01-31")
        return value
    if hint is Path:
        return value if isinstance(value, Path) else Path(_expect(str, value, path))
    return _number(hint, value, path) if hint in (int, float) else _expect(hint, value, path)


_KINDS = {str: "a text", bool: "true or false", list: "a list", dict: "a table"}

# Zero of these means "none" or "at once"; of any other number it would stop the house or make it spin.
_MAY_BE_ZERO = frozenset({"crl_grace_s", "delay_notice_s", "inline_max_octets", "leeway_s", "shrink_max_share"})


def _expect(kind: type[Any], value: Any, path: _Path) -> Any:
    if not isinstance(value, kind):
        raise _bad(path, f"must be {_KINDS[kind]}")
    return value


def _number(kind: type[Any], value: Any, path: _Path) -> int | float:
    whole = kind is int
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not math.isfinite(value):
        raise _bad(path, "must be a whole number" if whole else "must be a number")
    if value < 0:
        raise _bad(path, "must not be negative")
    if value == 0 and not _MAY_BE_ZERO & set(path):
        raise _bad(path, "must be at least 1" if whole else "must be above 0")
    return value if whole else float(value)


_TABLE = re.compile(r"\s*(\[\[?)([^\]]+)\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_KEY_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")


def _line_of(text: str, path: _Path) -> int:
    """Return the line (from 1) of the key, or of what holds it: the nearest key or table above it, else 1."""
    table: _Path = ()
    lists: dict[_Path, int] = {}
    best, depth = 1, 0
    for number, line in enumerate(text.splitlines(), 1):
        here = table
        if header := _TABLE.match(line):
            here = table = _keys(header.group(2))
            if header.group(1) == "[[":
                lists[here] = lists.get(here, -1) + 1
                here = table = (*here, lists[here])
        elif key := _KEY.match(line):
            here = (*table, *_keys(key.group(1)))
        shared = min(len(here), len(path))
        if shared > depth and here[:shared] == path[:shared]:
            best, depth = number, shared
    return best


def _keys(dotted: str) -> _Path:
    return tuple(part.strip("\"'") for part in _KEY_PART.findall(dotted))


_SELECTOR = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,61}[A-Za-z0-9])?\Z")


def _check(config: Config, name: str) -> None:
    _check_domains(config, name)
    _check_tokens(config, name)
    _check_lists(config, name)
    _check_ops(config, name)
    _check_hl7(config, name)
    _check_balancer(config, name)
    _check_life(config, name)
    _check_journal(config, name)


def _check_balancer(config: Config, name: str) -> None:
    for address in config.balancer.addresses:
        try:
            ip_network(address)
        except ValueError as error:
            raise Misconfigured(f"{name}: “balancer.addresses”: {error}") from error


def _check_hl7(config: Config, name: str) -> None:
    hl7 = config.hl7
    if not hl7.mllp_listen and hl7.folder is None:
        return
    if not hl7.box:
        raise Misconfigured(f"{name}: say which box sends the letters of orders: [hl7] box")
    if hl7.mllp_listen and not hl7.plain and config.tls.client_ca_file is None:
        raise Misconfigured(f"{name}: [hl7] mllp_listen needs [tls] client_ca_file: orders come with a certificate")
    hosts = [address.rpartition(":")[0].strip("[]") for address in hl7.mllp_listen]
    if hl7.plain and not all(host in ("localhost", "::1") or host.startswith("127.") for host in hosts):
        raise Misconfigured(f"{name}: [hl7] plain is for loopback addresses only")


def _check_domains(config: Config, name: str) -> None:
    if not config.domains:
        raise Misconfigured(f"{name}: no [[domains]]: say which domains this operator hosts")
    seen = [domain.name.lower() for domain in config.domains]
    for domain in sorted(set(seen)):
        if seen.count(domain) > 1:
            raise Misconfigured(f"{name}: the domain {domain} stands twice")
    for key in config.dkim.keys:
        if key.domain.lower() not in seen:
            raise Misconfigured(f"{name}: [[dkim.keys]] names {key.domain}, which is no domain of [[domains]]")
        if not _SELECTOR.match(key.selector):
            raise Misconfigured(f"{name}: “{key.selector}” can be no DKIM selector: letters, digits, hyphens and dots")
        if key.since and key.until and key.since >= key.until:
            raise Misconfigured(f"{name}: the DKIM key {key.selector} of {key.domain} ends before it begins")


def _check_tokens(config: Config, name: str) -> None:
    tokens = config.tokens
    if tokens.issuer and not (tokens.audiences or tokens.clients):
        # A token that its owner gave to any other service of the same issuer would open the mailbox.
        raise Misconfigured(f"{name}: [tokens] needs audiences or clients: say whom a token must be made for")
    if tokens.issuer and not tokens.algorithms:
        raise Misconfigured(f"{name}: [tokens] algorithms is empty: no token could be proven")


def _check_lists(config: Config, name: str) -> None:
    listed = config.trust_list
    if listed.url and not listed.url.startswith("https://"):
        raise Misconfigured(f"{name}: “trust_list.url” must begin with https://: the list says who may enter")
    if listed.url and listed.file is not None:
        raise Misconfigured(f"{name}: [trust_list] names a file and a url: keep one")
    for url in config.tls.crl_urls:
        if not url.startswith(("http://", "https://")):
            raise Misconfigured(f"{name}: “tls.crl_urls”: {url[:100]} is neither http:// nor https://")


def _check_life(config: Config, name: str) -> None:
    if config.life.full_notice_share > 1:
        raise Misconfigured(f"{name}: “life.full_notice_share” is a share of the quota: 1 at most")


def _check_journal(config: Config, name: str) -> None:
    try:
        if config.journal.anchors_to:
            Address.parse(config.journal.anchors_to)
    except Malformed as error:
        raise Misconfigured(f"{name}: “journal.anchors_to” is no address: {error}") from error


def _check_ops(config: Config, name: str) -> None:
    host = config.ops.listen.rpartition(":")[0].strip("[]")
    if config.ops.pages and host not in ("127.0.0.1", "::1", "localhost"):
        # Its pages ask for no password: whoever can sign in on this machine may read the store anyway.
        raise Misconfigured(f"{name}: [ops] pages needs a loopback address in listen, such as 127.0.0.1:9180")
