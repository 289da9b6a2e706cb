"""Archives made and explained on the command line read back as they were made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mss.config import Limits
from mss.dossier import xdm
from mss.dossier.make import make_pdf
from tests.cli.cli_world import typed
from tests.support.mdm import document

ABOUT = (
    "--ins", "255081416802538", "--birth-name", "DUPONT", "--first-name", "ÉLODIE", "--birth-date", "19550815",
    "--sex", "F", "--title", "Radio", "--type-code", "18748-4", "--type-label", "CR d'imagerie médicale",
    "--author", "Eric THOMAS",
)  # fmt: skip


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "report.xml"
    path.write_bytes(document())
    return path


def test_an_archive_of_a_cda_and_its_twin(tmp_path: Path, report: Path) -> None:
    twin, out = tmp_path / "report.pdf", tmp_path / "IHE_XDM.ZIP"
    twin.write_bytes(make_pdf(["lisible"]))
    done = typed("xdm", "build", str(out), str(report), "--twin", str(twin), "--software", "DEV935997")
    assert done.exit_code == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[:4] == [
        "Subject: XDM/1.0/DDM+CR d'imagerie médicale DUPONT ELODIE 15/08/1955",
        "X-MSS-NIL: DEV935997",
        "X-MSS-INS: O",
        "X-MSS-CODECDA: 18748-4",
    ]
    assert "20260314_CR-d-imagerie-medicale_DUPONT_ELODIE_1.pdf" in said[4]
    (found,) = xdm.read(out.read_bytes(), Limits()).documents
    assert (found.octets, found.companion_pdf) == (document(), twin.read_bytes())


def test_an_archive_of_a_pdf(tmp_path: Path) -> None:
    pdf, out = tmp_path / "scan.pdf", tmp_path / "out.zip"
    pdf.write_bytes(make_pdf(["scan"]))
    lacking = typed("xdm", "build", str(out), str(pdf))
    assert lacking.exit_code == 1
    assert "--ins, --birth-name" in lacking.stderr
    assert not out.exists()
    assert typed("xdm", "build", str(out), str(pdf), *ABOUT).exit_code == 0
    (found,) = xdm.read(out.read_bytes(), Limits()).documents
    assert found.companion_pdf == pdf.read_bytes()
    assert found.entry.patient.identifiers == (("255081416802538", "1.2.250.1.213.1.4.8"),)
    assert (found.entry.title, found.entry.type_code) == ("Radio", "18748-4")


def test_nothing_is_written_over(tmp_path: Path, report: Path) -> None:
    done = typed("xdm", "build", str(report), str(report))
    assert done.exit_code == 1
    assert report.read_bytes() == document()


def test_an_archive_is_explained(tmp_path: Path, report: Path) -> None:
    out = tmp_path / "out.zip"
    assert typed("xdm", "build", str(out), str(report)).exit_code == 0
    shown = typed("xdm", "show", str(out))
    assert shown.exit_code == 0
    for words in ("Radio de hanche", "18748-4 CR d'imagerie médicale", "RADIO_SC", "DUPONT ÉLODIE", "Eric THOMAS"):
        assert words in shown.stdout
    (told,) = json.loads(typed("xdm", "show", str(out), "--json").stdout)["documents"]
    assert told["document"] == "1.2.250.1.999.1"
    assert json.loads(typed("xdm", "show", str(report), "--json").stdout)["documents"] == [told]


def test_what_is_wrong_is_named(tmp_path: Path, report: Path) -> None:
    out = tmp_path / "out.zip"
    typed("xdm", "build", str(out), str(report))
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(out.read_bytes().replace(b"PK\x01\x02", b"PK\x01\x03", 1))
    assert typed("xdm", "show", str(damaged)).exit_code == 1
    assert "archive-unreadable" in typed("xdm", "show", str(damaged)).stderr
