"""What every fuzzer guided by coverage does alike: seeds on disk, a dictionary, and libFuzzer's options.

The fuzzers are the modules `tests/*/fuzz_*.py`; `tools/fuzz 60` runs each. Options of libFuzzer may follow
(`-runs=1000`); an input that failed is tried again by naming its file.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import atheris

from mss.log import configure


def fuzz(one: Callable[[bytes], None], seeds: Iterable[bytes], words: Iterable[bytes], max_octets: int) -> None:
    """Run until libFuzzer's options say stop, or something fails."""
    configure(level="ERROR", json=True)
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        named = [word for word in sys.argv[1:] if not word.startswith("-")]
        begin = [] if named else _written(Path(folder), seeds, words)
        atheris.Setup([*sys.argv, f"-max_len={max_octets}", "-timeout=20", *begin], one)
        atheris.Fuzz()


def _written(folder: Path, seeds: Iterable[bytes], words: Iterable[bytes]) -> list[str]:
    corpus, dictionary = folder / "corpus", folder / "words"
    corpus.mkdir()
    for number, seed in enumerate(seeds):
        (corpus / f"{number:03}").write_bytes(seed)
    lines = ('"' + "".join(f"\\x{octet:02x}" for octet in word[:60]) + '"\n' for word in words)
    dictionary.write_text("".join(lines), encoding="ascii")
    return [f"-dict={dictionary}", str(corpus)]
