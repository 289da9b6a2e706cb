"""A process that writes one large object and one record, and says when it was answered: for `strace`."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from mss import log
from mss.store.store import Store, Uow
from tests.store.store_world import NOW, config_in


@dataclass(frozen=True)
class Large:
    """Octets that go aside."""

    octets: bytes

    def heavy(self) -> tuple[bytes, ...]:
        """Return them."""
        return (self.octets,)


def keep(uow: Uow, large: Large) -> None:
    """Keep the octets for the operator."""
    uow.objects.hold(0, uow.objects.put(large.octets, NOW))


async def main(folder: Path) -> None:
    """Write, and answer on standard output with one system call each; whatever is logged goes elsewhere."""
    log.configure()
    store = Store(config_in(folder))
    os.write(1, b"begin\n")
    await store.write(keep, Large(bytes(100_000)))
    os.write(1, b"answered\n")
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
