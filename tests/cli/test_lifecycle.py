"""`mss account close|reopen|keep|channel|notices|erase`: the end of a box, and its certificate, from a terminal."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import load_pem_x509_certificate

from mss.clock import system_clock
from mss.model.address import Address
from mss.services import lives
from mss.services.house import House, hosted
from tests.cli.cli_world import DOCTOR, PATIENT, RECEPTION, Desk


def test_a_box_is_closed_and_opened_again(staffed: Desk) -> None:
    assert "was open and is now closed" in staffed.does("account", "close", DOCTOR)
    assert "closed already" in staffed.fails("account", "close", DOCTOR)
    assert "open again" in staffed.does("account", "reopen", DOCTOR)
    assert "not closed, but open" in staffed.fails("account", "reopen", DOCTOR)
    assert "stays open" in staffed.does("account", "keep", DOCTOR)
    assert "no box of ours" in staffed.fails("account", "close", "nobody@hopital.example")


def test_holders_are_told_by_the_channel_that_they_chose(staffed: Desk) -> None:
    assert staffed.does("account", "notices") == "Nobody has to be told.\n"
    staffed.does("account", "channel", DOCTOR, "tel:+33123456789")
    known = hosted(staffed.config)
    house = House(known.hostname, known.domains, known.limits)
    later = system_clock() + timedelta(days=340)
    life = staffed.in_store(lambda store: store.read(lambda uow: uow.lives.by_address(Address.parse(DOCTOR))))
    assert life is not None
    staffed.in_store(lambda store: store.write(lives.settle, life.box_id, staffed.config.life, house, later))
    [line] = staffed.does("account", "notices", "--json").splitlines()
    notice = json.loads(line)
    assert (notice["box"], notice["channel"]) == (DOCTOR, "tel:+33123456789")
    assert DOCTOR in staffed.does("account", "notices")
    staffed.does("account", "keep", DOCTOR)
    assert staffed.does("account", "notices") == "Nobody has to be told.\n"


def test_an_erasure_is_certified_and_says_nothing_of_the_content(staffed: Desk, tmp_path: Path) -> None:
    file = tmp_path / "erased.json"
    stopped = staffed.run("account", "erase", PATIENT, "--certificate", str(file), stdin="n\n")
    assert stopped.exit_code == 1
    assert not file.exists()
    assert "is erased: " in staffed.does("account", "erase", PATIENT, "--certificate", str(file), "--yes")
    text = file.read_text(encoding="utf-8")
    for plain in (PATIENT, PATIENT[:15], "PAT-TROIS", "dominique"):
        assert plain not in text
    made = json.loads(text)
    said = json.dumps(made["erased"], sort_keys=True, separators=(",", ":")).encode()
    assert made["sha256"] == hashlib.sha256(said).hexdigest()
    key = load_pem_x509_certificate((staffed.folder / "certs" / "operator.pem").read_bytes()).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(b64decode(made["signature"]), said, ec.ECDSA(hashes.SHA256()))
    number = made["erased"]["box"]
    assert "box.erase " in staffed.does("audit", "about", number)
    assert "no box of ours" in staffed.fails("account", "erase", PATIENT, "--certificate", str(tmp_path / "2"), "--yes")
    assert "exists" in staffed.fails("account", "erase", DOCTOR, "--certificate", str(file), "--yes")
    assert DOCTOR in staffed.does("account", "list")
    assert "everything fits" in staffed.does("store", "check")
    assert RECEPTION in staffed.does("account", "list")
