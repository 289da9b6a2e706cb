"""`make bench`: run the measurements and print their ratios; ARGS names some, or `imap` and some of its rows."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

from bench import delivery, dossier, imap, relay, rights, scale

BENCHES: dict[str, Callable[[], int]] = {
    "delivery": delivery.main,
    "dossier": dossier.main,
    "relay": relay.main,
    "imap": lambda: imap.main([]),
    "rights": rights.main,
}
# Too long for every day: only when it is named.
NAMED: dict[str, Callable[[], int]] = {"scale": scale.main}


def main(names: list[str]) -> int:
    """Run the named measurements, all when none is named; the exit code says whether all ratios hold."""
    if names[:1] == ["imap"]:
        return imap.main(names[1:])
    every = BENCHES | NAMED
    unknown = [name for name in names if name not in every]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(every)}", file=sys.stderr)
        return 2
    return max(every[name]() for name in names or BENCHES)


def _end(_number: int, _frame: object) -> None:
    """Leave through the measurements' own clean-up: servers that they started must not outlive them."""
    raise SystemExit(143)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    sys.exit(main(sys.argv[1:]))
