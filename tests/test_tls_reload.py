"""Changed files take effect without restart; bad ones change nothing."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from mss import pki, tls
from mss.errors import Misconfigured
from mss.tls import TlsMaterial
from tests.certs.world import HOSPITAL, NOW, World, handshake, judged, leaf_der, make_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


# Reload


def touch_later(path: Path) -> None:
    """Give the file a time of its own, whatever the granularity of the disk's clock."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))


def test_nothing_is_read_again_while_no_file_changes(world: World) -> None:
    material = TlsMaterial(world.config("chu"))
    before = (material.mx_server, material.mx_client, material.revocation)
    assert material.reload() is None
    assert (material.mx_server, material.mx_client, material.revocation) == before


def test_a_new_revocation_list_takes_effect_without_restart(world: World) -> None:
    material = TlsMaterial(world.config("chu"))
    der = leaf_der(world.root / "gip" / "operator.pem")
    assert material.peer(der, ip="::1", now=NOW).revocation == "good"
    pki.revoke(world.authority, world.root / "gip" / "operator.pem", now=NOW)
    assert material.reload() == []
    assert material.peer(der, ip="::1", now=NOW).revocation == "revoked"
    assert material.reload() is None


def test_a_renewed_certificate_is_shown_without_restart(world: World) -> None:
    material = TlsMaterial(world.config("chu"))
    listening = material.client_facing
    pki.issue(world.root / "chu", world.authority, HOSPITAL, ["mx.chu.example"], now=NOW)
    assert material.reload() == []
    renewed = leaf_der(world.root / "chu" / "operator.pem")
    bare = ssl.create_default_context(cafile=str(world.authority.ca_file))
    assert handshake(listening, bare).client.getpeercert(binary_form=True) == renewed
    ends = handshake(material.mx_server, tls.mx_client_context(world.config("gip")))
    assert ends.client.getpeercert(binary_form=True) == renewed


def test_robots_authorities_and_lists_take_effect_without_restart(world: World) -> None:
    own = world.root / "robots.pem"
    own.write_bytes(world.foreign.ca_file.read_bytes())
    material = TlsMaterial(world.config("chu", client_ca_file=own, client_crl_files=(world.foreign.crl_file,)))
    robot = ssl.create_default_context(cafile=str(world.authority.ca_file))
    robot.load_cert_chain(world.root / "rogue" / "operator.pem", world.root / "rogue" / "operator.key")
    end = handshake(material.mail_clients, robot).server
    pki.revoke(world.foreign, world.root / "rogue" / "operator.pem", now=NOW)
    assert material.reload() == []
    shown = material.robots.shown(end, NOW)
    assert shown is not None
    assert shown.revocation == "revoked"
    own.write_bytes(world.authority.ca_file.read_bytes())
    touch_later(own)
    # The list that is left belongs to no authority any more.
    assert material.reload() == ["a revocation list is signed by no authority of ca_file"]
    with pytest.raises(ssl.SSLError):
        handshake(material.mail_clients, robot)


def test_a_bad_renewal_keeps_what_worked_and_lets_the_new_list_in(world: World) -> None:
    material = TlsMaterial(world.config("chu"))
    shown = leaf_der(world.root / "chu" / "operator.pem")
    (world.root / "chu" / "operator.pem").write_bytes((world.root / "gip" / "operator.pem").read_bytes())
    pki.revoke(world.authority, world.root / "gip" / "operator.pem", now=NOW)
    problems = material.reload()
    assert problems is not None
    assert len(problems) == 1
    assert "KEY_VALUES_MISMATCH" in problems[0]
    bare = ssl.create_default_context(cafile=str(world.authority.ca_file))
    assert handshake(material.client_facing, bare).client.getpeercert(binary_form=True) == shown
    met = handshake(material.mx_server, tls.mx_client_context(world.config("gip"))).client
    assert met.getpeercert(binary_form=True) == shown
    assert judged(world, "gip", material.revocation) == "revoked"
    assert material.reload() is None  # Said once.


@pytest.mark.parametrize("octets", [b"", b"rubbish", None])
def test_a_bad_list_keeps_the_last_good_one(world: World, octets: bytes | None) -> None:
    pki.revoke(world.authority, world.root / "gip" / "operator.pem", now=NOW)
    material = TlsMaterial(world.config("chu"))
    good = world.authority.crl_file.read_bytes()
    world.authority.crl_file.unlink()
    if octets is not None:
        world.authority.crl_file.write_bytes(octets)
    problems = material.reload()
    assert problems is not None
    assert "crl.pem" in problems[0]
    assert judged(world, "gip", material.revocation) == "revoked"
    world.authority.crl_file.write_bytes(good)
    touch_later(world.authority.crl_file)
    assert material.reload() == []


def test_bad_authorities_keep_those_in_use(world: World) -> None:
    material = TlsMaterial(world.config("chu"))
    world.authority.ca_file.write_bytes(b"rubbish")
    problems = material.reload()
    assert problems is not None
    assert any("ca.pem" in problem for problem in problems)
    assert judged(world, "gip", material.revocation) == "good"
    handshake(material.mx_server, tls.mx_client_context(world.config("gip", ca_file=world.root / "authority/root.pem")))


def test_an_authority_that_is_trusted_no_more_is_refused_after_the_reload(world: World) -> None:
    ca_file = world.root / "ca.pem"
    ca_file.write_bytes(world.authority.ca_file.read_bytes())
    material = TlsMaterial(world.config("chu", ca_file=ca_file))
    client = tls.mx_client_context(world.config("gip"))
    first = handshake(material.mx_server, client)
    first.finish()
    client.remember(first.client)
    ca_file.write_bytes(world.foreign.ca_file.read_bytes())
    touch_later(ca_file)
    assert material.reload() == ["a revocation list is signed by no authority of ca_file"]
    with pytest.raises(ssl.SSLError):
        handshake(material.mx_server, client)


def test_a_start_with_a_bad_list_is_stopped(world: World) -> None:
    world.authority.crl_file.write_bytes(b"rubbish")
    with pytest.raises(Misconfigured, match="no revocation list"):
        TlsMaterial(world.config("chu"))
