"""A sender who asks for a receipt gets a signed one, that names what was filed, where, under which identifiers."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from mss import pki
from mss.config import Config, DomainConfig, OperatorConfig, TlsConfig
from mss.errors import Misconfigured
from mss.mail import content, mime
from mss.model.ins import Traits
from mss.seal import seal_of
from tests.services.services_world import DOCTOR, HOSTED, LIMITS, House, archive, arrive, document, letter
from tests.store.store_world import NOW

ASKED = (("Disposition-Notification-To", DOCTOR.spec),)


def config_of(folder: Path) -> Config:
    return Config(
        OperatorConfig("essai", "mx.ours.test"),
        (DomainConfig("clinic.mssante.test", "professional"),),
        tls=TlsConfig(certificate_file=folder / "operator.pem", key_file=folder / "operator.key"),
    )


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an operator's certificate, and its authority's beside it."""
    root = tmp_path_factory.mktemp("pki")
    authority = pki.make_authority(root / "authority", now=NOW)
    pki.issue(root / "operator", authority, {"C": "FR", "CN": "mx.ours.test"}, ["mx.ours.test"], now=NOW)
    return root / "operator"


async def test_the_receipt_names_what_was_filed_and_is_signed(house: House, operator: Path, tmp_path: Path) -> None:
    hosted = replace(HOSTED, seal=seal_of(config_of(operator)))
    one = document()
    reading = letter(attachments=(archive(one),), extra=ASKED)
    await arrive(house.store, reading, hosted=hosted)
    [(to, octets)] = await house.queued()
    assert to == DOCTOR.spec
    message = mime.index(octets, LIMITS)
    proof, signature = (content.decoded(message, part) for part in content.attachments(message))
    [filed] = await house.store.read(lambda uow: uow.dossiers.list(house.patient.id))
    facts = json.loads(proof)
    assert (facts["operator"], facts["recipient"]) == ("mx.ours.test", house.patient.address.spec)
    [told] = facts["documents"]
    assert told["uniqueId"] == one.entry.unique_id
    assert (told["entryUUID"], told["logicalId"]) == (filed.entry_id, filed.logical_id)
    assert told["sha256"] == hashlib.sha256(one.octets).hexdigest()
    (tmp_path / "depot.json").write_bytes(proof)
    (tmp_path / "depot.json.p7s").write_bytes(signature)
    assert _verifies(operator, tmp_path)
    (tmp_path / "depot.json").write_bytes(proof.replace(b"mx.ours.test", b"mx.evil.test"))
    assert not _verifies(operator, tmp_path)


def _verifies(operator: Path, folder: Path) -> bool:
    """Ask openssl, which knows nothing of us."""
    ca = operator.parent / "authority" / "ca.pem"
    command = [
        "openssl",
        "cms",
        "-verify",
        "-binary",
        "-inform",
        "DER",
        "-in",
        "depot.json.p7s",
        "-content",
        "depot.json",
    ]
    command += ["-CAfile", str(ca), "-purpose", "any", "-attime", str(int(NOW.timestamp()) + 60), "-out", "/dev/null"]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0


async def test_nothing_is_proven_that_was_not_filed_or_not_asked_for(house: House, operator: Path) -> None:
    hosted = replace(HOSTED, seal=seal_of(config_of(operator)))
    await arrive(house.store, letter(attachments=(archive(document("1.2.3")),)), hosted=hosted)
    await arrive(house.store, letter(extra=ASKED), hosted=hosted)
    assert await house.queued() == []
    other = document("1.2.4", traits=Traits("AUTRE", "DOMINIQUE", "19790328", "F"))
    await arrive(house.store, letter(attachments=(archive(other),), extra=ASKED), hosted=hosted)
    [(_, octets)] = await house.queued()
    assert b"depot.json" not in octets


def test_a_key_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured):
        seal_of(config_of(tmp_path))
