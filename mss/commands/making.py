"""What `mss init` was told, read: pairs of names, and the operator's own certificates. It makes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mss.errors import Misconfigured
from mss.instance import OwnFiles

# What an operator hosts that was told nothing.
PLAYGROUND: Final = ("hopital.example=professional", "patient.example=patient")


def pairs(texts: Sequence[str], option: str) -> list[tuple[str, str]]:
    """Read NAME=VALUE; Misconfigured names the option."""
    read = [text.partition("=") for text in texts]
    if wrong := [first for first, sign, last in read if not (first and sign and last)]:
        raise Misconfigured(f"{option} {wrong[0]}: it is written NAME=VALUE, for instance {PLAYGROUND[0]}")
    return [(first.strip(), last.strip()) for first, _, last in read]


def own_files(certificate: Path | None, key: Path | None, ca: Path | None, crl: Sequence[Path]) -> OwnFiles | None:
    """Return the operator's own certificates; None when it brings none, Misconfigured when one is missing."""
    if not (certificate or key or ca or crl):
        return None
    if certificate is None or key is None or ca is None or not crl:
        raise Misconfigured("your own certificate needs all of --certificate, --key, --ca and --crl")
    return OwnFiles(certificate, key, ca, tuple(crl))
