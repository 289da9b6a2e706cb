"""When a login may be tried again after failures, so that guessing is slow and nobody can lock somebody else out.

Rules. Failures count for the login and the network that they came from: only that network waits a whole window.
Networks from which the login succeeded lately are known, and wait for their own failures only. All others share a
slow-down: after many failures of strangers within a day, they get one try as many seconds after the last failure as
there were failures, up to a window. Wrong codes after a right password stop all strangers for a window: whoever sends
them knows the password.

So a stranger's failures cost the holder nothing where they usually sign in, and a wait elsewhere; and all strangers of
the world together get some hundreds of guesses a day for one login (compare NIST SP 800-63B §5.2.2). Unknown logins
behave the same. It counts nothing and knows no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

STRANGERS_WITHIN: Final = timedelta(days=1)
# One subscriber has at least so much of IPv6 (RFC 6177): counting single addresses would count nothing.
_IPV6_PREFIX: Final = 64


@dataclass(frozen=True, slots=True)
class Tally:
    """How many failures, and when the newest was."""

    count: int = 0
    newest_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Failures:
    """What failed for one login, as seen from one network.

    `here`: from this network, within the window. `codes`: strangers' wrong codes within the window. `strangers`: all of
    strangers within a day. `known`: the login succeeded from this network lately.
    """

    here: Tally = Tally()
    codes: Tally = Tally()
    strangers: Tally = Tally()
    known: bool = False


def wait_until(failures: Failures, failures_max: int, strangers_max: int, window: timedelta) -> datetime | None:
    """Return the instant before which a try is refused, which may be over already; None when nothing is in its way."""
    ends = [_after(failures.here, failures_max, window)]
    if not failures.known:
        slow = min(window, timedelta(seconds=failures.strangers.count))
        ends += [_after(failures.codes, failures_max, window), _after(failures.strangers, strangers_max, slow)]
    return max((end for end in ends if end is not None), default=None)


def _after(tally: Tally, most: int, pause: timedelta) -> datetime | None:
    return tally.newest_at + pause if tally.newest_at is not None and tally.count >= most else None


def network_of(source: str) -> str:
    """Return the network that an IP address stands for: itself for IPv4, the /64 for IPv6; other texts as they are."""
    try:
        address = ip_address(source)
    except ValueError:
        return source
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((address, _IPV6_PREFIX), strict=False))
