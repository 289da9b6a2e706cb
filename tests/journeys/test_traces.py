"""The look behind the servers finds what it looks for, in every form in which it may be written."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from demo.letters import SAMPLE
from tests.journeys import traces
from tests.journeys.logs import Log
from tests.journeys.sites import SECRET


def _site(root: Path) -> Path:
    (root / "hospital" / "data").mkdir(parents=True)
    return root / "hospital"


@pytest.mark.parametrize("word", [SAMPLE.matricule, "Camille.Durand@region-demo.mssante.fr", "pat-trois", SECRET])
def test_a_log_that_tells_is_found(tmp_path: Path, word: str) -> None:
    site = _site(tmp_path)
    (site / "server.log").write_text(f'{{"event": "x", "peer": "mx.region-demo.mssante.fr", "rule": "{word}"}}\n')
    assert traces.told_in_logs(tmp_path)


def test_a_discreet_log_passes(tmp_path: Path) -> None:
    (_site(tmp_path) / "server.log").write_text('{"event": "x", "peer": "mx.region-demo.mssante.fr", "account": 1}\n')
    assert traces.told_in_logs(tmp_path) == []
    assert Log(tmp_path / "hospital" / "server.log").surprises() == []


@pytest.mark.parametrize("before", [b"", b"a", b"ab", b"abc"])
@pytest.mark.parametrize("charset", ["utf-8", "latin-1", "utf-16-le"])
def test_content_in_plain_is_found(tmp_path: Path, charset: str, before: bytes) -> None:
    octets = before + "à vous: Nos échanges sont terminés, voilà".encode(charset)
    written = base64.b64encode(octets) if charset == "utf-8" else octets
    (_site(tmp_path) / "data" / "store.sqlite-wal").write_bytes(b"\0\xff" + written)
    assert len(traces.plain_in_stores(tmp_path)) == 1


def test_sealed_content_passes(tmp_path: Path) -> None:
    (_site(tmp_path) / "data" / "store.sqlite").write_bytes(bytes(range(256)) * 100)
    assert traces.store_files(tmp_path)
    assert traces.plain_in_stores(tmp_path) == []


@pytest.mark.parametrize("line", ["Traceback (most recent call last):", '{"event": "x", "exception": "…"}', "[1]"])
def test_an_unforeseen_error_is_a_surprise(tmp_path: Path, line: str) -> None:
    path = _site(tmp_path) / "server.log"
    path.write_text(f'{{"event": "y"}}\n{line}\n', encoding="utf-8")
    assert len(Log(path).surprises()) == 1
