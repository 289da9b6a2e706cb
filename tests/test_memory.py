"""Large blocks go back to the system, on glibc; elsewhere nothing is tried."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from mss import memory

ROOT = Path(__file__).parents[1]
GLIBC = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")

# A block of 8 MiB is freed, then one of the given size is asked for: is it the system's own (mallinfo2.hblks)?
_ASKED = """
import ctypes, sys
from mss.memory import give_large_blocks_back

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keep")]

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
libc.mallinfo2.restype = Info
if sys.argv[1] == "told":
    assert give_large_blocks_back()
libc.free(libc.malloc(8 << 20))
before = libc.mallinfo2().hblks
block = libc.malloc(int(sys.argv[2]))
print(libc.mallinfo2().hblks - before)
"""


@pytest.mark.skipif(not GLIBC, reason="only glibc has the setting")
@pytest.mark.parametrize(
    ("told", "octets", "own"),
    [("told", 100 << 10, 0), ("told", 1 << 20, 1), ("told", 4 << 20, 1), ("untold", 4 << 20, 0)],
)
def test_a_large_block_is_the_system_s_own(told: str, octets: int, own: int) -> None:
    command = [sys.executable, "-c", _ASKED, told, str(octets)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert int(done.stdout) == own


def test_elsewhere_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        def __getattr__(self, name: str) -> object:
            raise AttributeError(name)

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Other())
    assert not memory.give_large_blocks_back()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not memory.give_large_blocks_back()
