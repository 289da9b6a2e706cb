"""A real clamd behind a real server: what is infected never reaches a mailbox, and its silence loses nothing."""

from __future__ import annotations

import base64
import io
import secrets
import subprocess
import sys
import zipfile
from contextlib import ExitStack

import pytest

from tests.journeys.conftest import MakeSite
from tests.journeys.sites import BOX, figures, letter, new_id
from tests.support.clamav import EICAR, clamd

pytestmark = pytest.mark.journey


def carrying(octets: bytes, filling: int = 0) -> bytes:
    """Return a letter with an archive that holds these octets, and some that cannot be packed smaller."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("IHE_XDM/SUBSET01/DOC00001.XML", octets)
        archive.writestr("filling.bin", secrets.token_bytes(filling))
    head, _, _ = letter(new_id()).partition(b"\r\n\r\n")
    head = head.replace(b"Content-Type: text/plain; charset=utf-8", b"Content-Type: application/zip")
    body = base64.encodebytes(made.getvalue()).replace(b"\n", b"\r\n")
    return head + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + body


def test_an_infected_letter_is_refused_and_silence_defers(new_hospital: MakeSite) -> None:
    site = new_hospital()
    with ExitStack() as running:
        place = running.enter_context(clamd())
        site.set('clamd = "off"', f'clamd = "{place}"')
        site.start()
        assert site.deliver(carrying(b"<a/>"), to=BOX)[0] == 250
        code, text = site.deliver(carrying(EICAR), to=BOX)
        assert (code, "5.7.1 Our antivirus found something harmful" in text) == (550, True)
        # One that waited in a sealed file on disk is looked at like all others.
        assert site.deliver(carrying(EICAR, filling=3_000_000), to=BOX)[0] == 550
        running.close()
        code, text = site.deliver(carrying(b"<a/>"), to=BOX)
        assert (code, "4.7.1 Our antivirus does not answer now" in text) == (451, True)
    said = figures(site.port("ops"))
    for verdict, count in (("clean", 1), ("infected", 2), ("unreachable", 1)):
        assert f'mss_av_scans_total{{verdict="{verdict}"}} {count}.0' in said


def test_no_server_starts_that_says_nothing_of_an_antivirus(new_hospital: MakeSite) -> None:
    site = new_hospital()
    site.set('clamd = "off"', "")
    command = [sys.executable, "-m", "mss", "serve", "-c", str(site.operator.config_file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "name the antivirus: [antivirus] clamd" in done.stderr


def test_a_mail_client_brings_nothing_harmful_either(new_hospital: MakeSite) -> None:
    site = new_hospital()
    with ExitStack() as running:
        place = running.enter_context(clamd())
        site.set('clamd = "off"', f'clamd = "{place}"')
        site.start()
        with site.mailbox() as client:
            assert client.append("Sent", "", "", carrying(b"<a/>"))[0] == "OK"
            refused, [text] = client.append("Sent", "", "", carrying(EICAR))
            assert (refused, text.startswith(b"[CANNOT] Our antivirus found something harmful.")) == ("NO", True)
            running.close()
            deferred, [text] = client.append("Sent", "", "", carrying(b"<a/>"))
            assert (deferred, text.startswith(b"[UNAVAILABLE] Our antivirus does not answer now.")) == ("NO", True)
            assert client.select("Sent") == ("OK", [b"1"])
