"""Make a development authority and a leaf: `python certs/make.py certs/out mx.example.org`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mss.clock import system_clock
from mss.errors import MssError
from mss.pki import Authority, issue, load_authority, make_authority


def main(arguments: list[str] | None = None) -> int:
    """Make what is missing and say where it is; 1 with a sentence when it cannot be done."""
    options = _parser().parse_args(arguments)
    now = system_clock()
    subject = [
        ("C", "FR"),
        ("ST", options.county),
        ("O", options.organisation),
        ("OU", options.identifier),
        ("CN", options.hostname),
    ]
    try:
        authority = _authority(options.directory)
        chain, key = issue(options.directory / options.name, authority, subject, [options.hostname], now=now)
    except MssError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    lines = {"certificate": chain, "key": key, "ca_file": authority.ca_file, "crl_files": authority.crl_file}
    sys.stdout.writelines(f"{name:12} {path}\n" for name, path in lines.items())
    return 0


def _authority(directory: Path) -> Authority:
    if (directory / "root.pem").exists():
        return load_authority(directory)
    return make_authority(directory, now=system_clock())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Make a development certificate; never for production.")
    parser.add_argument("directory", type=Path, help="where the authority is, or shall be")
    parser.add_argument("hostname", help="the operator's host name: CN and SAN of the leaf")
    parser.add_argument("--name", default="operator", help="folder of the leaf, below the directory")
    parser.add_argument("--organisation", default="GIP DEMONSTRATION", help="O of the subject")
    parser.add_argument("--identifier", default="318310021300028", help="OU of the subject: an IdNat_Struct")
    parser.add_argument("--county", default="Haute-Garonne (31)", help="ST of the subject")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
