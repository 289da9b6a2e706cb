"""Who is behind a TCP balancer: the PROXY protocol, versions 1 and 2, as HAProxy's specification says (§2.1, §2.2).

Octets in, an address out. Only a configured balancer is asked who is behind it, and it must say so before anything
else; nobody else's octets are looked at here. What version 2 says beyond the address (certificates, checksums) is not
read: peers show their certificates to us.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from mss.config import Config
from mss.errors import Malformed

# A network address and a port, as sockets give them.
Source = tuple[str, int]

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_WORD: Final = b"PROXY "
_LINE_MAX_OCTETS: Final = 107
_FIXED: Final = struct.Struct("!12sBBH")
_VERSION, _LOCAL, _PROXY = 2, 0, 1
_PORT_MAX: Final = 65535
# Family and transport: the layout of both addresses and both ports. TCP only: these doors have no other.
_TCP: Final = {0x11: struct.Struct("!4s4sHH"), 0x21: struct.Struct("!16s16sHH")}
_UNSPECIFIED: Final = 0x00
_TLV: Final = struct.Struct("!BH")
_FAMILIES: Final[dict[bytes, type[IPv4Address] | type[IPv6Address]]] = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}


@dataclass(frozen=True, slots=True)
class Balancers:
    """From which addresses balancers connect, and what they have time and room to say."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    header_max_octets: int = 0
    timeout_s: float = 0

    def include(self, ip: str) -> bool:
        """Whether a balancer connects from this address."""
        if not self.networks:
            return False
        address = _plain(ip_address(ip.partition("%")[0]))
        return any(address in network for network in self.networks)


NO_BALANCERS: Final = Balancers()


def balancers_of(config: Config) -> Balancers:
    """Return the balancers of an operator; ValueError when an address is none."""
    limits = config.limits
    networks = tuple(ip_network(address) for address in config.balancer.addresses)
    return Balancers(networks, limits.proxy_header_max_octets, limits.proxy_header_timeout_s)


class Header:
    """The header of one connection, as its octets come.

    Once `done`, `source` is who is behind the balancer; None: the balancer itself (a health check), or nobody known.
    """

    def __init__(self, max_octets: int) -> None:
        self.done = False
        self.source: Source | None = None
        self._max_octets = max_octets
        self._held = b""

    def feed(self, octets: bytes) -> int:
        """Take what belongs to the header and return how many octets: the rest is the client's. Malformed: none."""
        before, self._held = len(self._held), self._held + octets
        end = _end(self._held, self._max_octets)
        if end is None or len(self._held) < end:
            return len(octets)
        header = self._held[:end]
        self.source = _line(header) if header.startswith(_WORD) else _binary(header)
        self.done = True
        return end - before


def _end(held: bytes, max_octets: int) -> int | None:
    """Return where the header ends, None while that cannot be known."""
    if held[: len(_SIGNATURE)] == _SIGNATURE[: len(held)]:
        if len(held) < _FIXED.size:
            return None
        end: int = _FIXED.size + _FIXED.unpack_from(held)[3]
        if end > max_octets:
            raise Malformed("header too long")
        return end
    if held[: len(_WORD)] != _WORD[: len(held)]:
        raise Malformed("no header")
    end = held.find(b"\n", 0, _LINE_MAX_OCTETS) + 1
    if not end and len(held) >= _LINE_MAX_OCTETS:
        raise Malformed("header too long")
    return end or None


def _line(header: bytes) -> Source | None:
    """Read version 1: `PROXY TCP4 source destination port port`, or UNKNOWN and anything."""
    if not header.endswith(b"\r\n"):
        raise Malformed("header without its end")
    family, *words = header[len(_WORD) : -2].split(b" ")
    if family == b"UNKNOWN":
        return None
    if family not in _FAMILIES or len(words) != 4:
        raise Malformed("header of no known form")
    source, _ = (_address(family, word) for word in words[:2])
    port, _ = (_port(word) for word in words[2:])
    return source, port


def _address(family: bytes, word: bytes) -> str:
    try:
        # A zone ("%eth0") means something on the balancer only.
        return str(_plain(_FAMILIES[family](word.decode("ascii").replace("%", "?"))))
    except ValueError as error:
        raise Malformed("header with a bad address") from error


def _port(word: bytes) -> int:
    if not word.isdigit() or len(word) > 5 or word != b"%d" % int(word) or int(word) > _PORT_MAX:
        raise Malformed("header with a bad port")
    return int(word)


def _binary(header: bytes) -> Source | None:
    """Read version 2: its command, its family, two addresses and ports; then more, which is only walked over."""
    _, how, family, _ = _FIXED.unpack_from(header)
    if how >> 4 != _VERSION or how & 0xF not in (_LOCAL, _PROXY):
        raise Malformed("header of no known version or command")
    if how & 0xF == _LOCAL or family == _UNSPECIFIED:
        return None
    layout = _TCP.get(family)
    if layout is None or len(header) < _FIXED.size + layout.size:
        raise Malformed("header of no known form")
    source, _, port, _ = layout.unpack_from(header, _FIXED.size)
    _walk_over(header, _FIXED.size + layout.size)
    return str(_plain(ip_address(source))), port


def _walk_over(header: bytes, at: int) -> None:
    """Make sure that whole values follow the addresses, and nothing else."""
    while at < len(header):
        if at + _TLV.size > len(header):
            raise Malformed("header with half a value")
        at += _TLV.size + _TLV.unpack_from(header, at)[1]
    if at > len(header):
        raise Malformed("header with half a value")


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return an IPv4 address that came in IPv6's clothes as what it is: limits count it once."""
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
