"""How this process gives memory back to the system: large blocks at once. Linux with glibc only; elsewhere nothing.

Its malloc takes blocks of up to 32 MiB from its own heap once a larger one was freed (mallopt(3): the "dynamic mmap
threshold"), as Argon2's 19 MiB are at the first sign-in. From then on the buffers of TLS stay resident: an idle IMAP
session costs 112 KiB instead of 36 (docs/decisions/imap.md).
"""

from __future__ import annotations

import ctypes
import sys
from typing import Final

from mss.config import KIB

# Blocks from this size on are the system's own, and go back to it when they are freed. Setting it at all, even to its
# first value, stops glibc from moving it.
_MMAP_THRESHOLD_OCTETS: Final = 128 * KIB
_M_MMAP_THRESHOLD: Final = -3


def give_large_blocks_back() -> bool:
    """Let freed blocks of 128 KiB and more go back to the system; False where that cannot be said to the allocator."""
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version") or not hasattr(library, "mallopt"):
        return False
    return bool(library.mallopt(ctypes.c_int(_M_MMAP_THRESHOLD), ctypes.c_int(_MMAP_THRESHOLD_OCTETS)))
