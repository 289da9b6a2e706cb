"""The listening sockets of an operator: bound once, inherited by its workers, who share what comes in."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field, fields

from mss.accepting import Share
from mss.config import Config
from mss.errors import Misconfigured


@dataclass(frozen=True, slots=True)
class Shares:
    """How the connections of each door are shared among workers."""

    mx: Share = field(default_factory=Share)
    submission: Share = field(default_factory=Share)
    submissions: Share = field(default_factory=Share)
    imap: Share = field(default_factory=Share)
    webmail: Share = field(default_factory=Share)
    fhir: Share = field(default_factory=Share)

    @classmethod
    def among(cls, workers: int) -> Shares:
        """Make the shares of so many workers, before any of them is there."""
        return cls(*(Share(workers) for _ in fields(cls)))

    def of(self, index: int) -> Shares:
        """Return one worker's shares."""
        return Shares(*(getattr(self, one.name).of(index) for one in fields(self)))


@dataclass(frozen=True, slots=True)
class Sockets:
    """The bound sockets of each door, and how workers share what comes in there."""

    mx: tuple[socket.socket, ...] = ()
    submission: tuple[socket.socket, ...] = ()
    submissions: tuple[socket.socket, ...] = ()
    imap: tuple[socket.socket, ...] = ()
    imaps: tuple[socket.socket, ...] = ()
    webmail: tuple[socket.socket, ...] = ()
    hl7: tuple[socket.socket, ...] = ()
    fhir: tuple[socket.socket, ...] = ()
    shares: Shares = field(default_factory=Shares)


def bind(config: Config, roles: frozenset[str], workers: int = 1) -> Sockets:
    """Bind all listening sockets of the roles; Misconfigured names the address that is taken."""
    smtp_config, imap_config, receive = config.smtp, config.imap, config.limits.smtp_receive_buffer_max_octets
    return Sockets(
        mx=_bound(smtp_config.mx_listen if "mx" in roles else (), receive),
        submission=_bound(smtp_config.submission_listen if "submission" in roles else (), receive),
        submissions=_bound(smtp_config.submissions_listen if "submission" in roles else (), receive),
        imap=_bound(imap_config.listen if "imap" in roles else ()),
        imaps=_bound(imap_config.imaps_listen if "imap" in roles else ()),
        webmail=_bound(config.webmail.listen if "webmail" in roles else ()),
        hl7=_bound(config.hl7.mllp_listen if "hl7" in roles else ()),
        fhir=_bound(config.fhir.listen if "fhir" in roles else ()),
        shares=Shares.among(workers),
    )


def _bound(addresses: tuple[str, ...], receive_octets: int = 0) -> tuple[socket.socket, ...]:
    return tuple(bind_one(address, receive_octets=receive_octets) for address in addresses)


def bind_one(address: str, offset: int = 0, *, receive_octets: int = 0) -> socket.socket:
    """Bind one `host:port` (IPv6 in brackets), the port moved by `offset`; its connections inherit the buffer."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_octets:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_octets)
        bound.bind((host, int(port) + offset))
        bound.listen(512)
    except (OSError, ValueError) as error:
        raise Misconfigured(f"cannot listen on {address}: {getattr(error, 'strerror', None) or error}") from error
    return bound
