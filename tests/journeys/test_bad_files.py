"""Files of the operator's own that are broken: settings, the trust list. Each is named, and what works goes on."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tests.journeys.conftest import MakeSite
from tests.journeys.sites import PATIENCE_S, Site, letter, new_id

pytestmark = pytest.mark.journey

_REFRESH = "refresh_s = 300"


def _mss(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mss", *arguments, "-c", str(site.operator.config_file)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


# -- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["serve", "check"])
@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("refesh_s = 300", "unknown key “trust_list.refesh_s”"),
        ('refresh_s = "often"', "“trust_list.refresh_s” must be a whole number"),
        ("refresh_s = ", "not TOML"),
    ],
    ids=["unknown key", "wrong kind", "no TOML"],
)
def test_settings_that_cannot_be_read_stop_the_start_and_name_the_line(
    hospital: Site, command: str, line: str, problem: str
) -> None:
    # It runs on with the settings that it read when it was started.
    hospital.set(_REFRESH, line)
    number = 1 + hospital.operator.config_file.read_text(encoding="utf-8").splitlines().index(line)
    try:
        done = _mss(hospital, command)
    finally:
        hospital.set(line, _REFRESH)
    assert done.returncode == 2
    assert problem in done.stderr
    assert re.search(rf"line {number}\b", done.stderr), done.stderr
    assert "Traceback" not in done.stderr + done.stdout


# -- the trust list --------------------------------------------------------------------------------------------------


def _page(site: Site, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", site.port("ops"), timeout=PATIENCE_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def _age_s(site: Site) -> float:
    found = re.search(r"^mss_whitelist_age_seconds (\S+)$", _page(site, "/metrics")[1], re.MULTILINE)
    assert found
    return float(found[1])


def _until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.2)


@pytest.mark.slow
def test_a_trust_list_without_its_closing_tag_leaves_the_last_good_one_in_use(new_hospital: MakeSite) -> None:
    site, max_age_s = new_hospital(), 8
    site.set(_REFRESH, "refresh_s = 1")
    site.set("max_age_s = 259200", f"max_age_s = {max_age_s}")
    site.start()
    good = site.trust_list_file.read_bytes()
    tag = b"</ListeBlancheMSSante>"
    assert good.rstrip().endswith(tag)
    since = len(site.log.lines())
    site.trust_list_file.write_bytes(good[: good.rindex(tag)])
    refused = site.until_logged("trust_list.refused", since=since)
    assert (refused["level"], "closing tag </ListeBlancheMSSante> is missing" in refused["reason"]) == ("error", True)

    assert site.deliver(letter(new_id()))[0] == 250, "the last good list is no longer in use"
    checked = _mss(site, "check")
    assert checked.returncode == 1
    assert "closing tag </ListeBlancheMSSante> is missing" in checked.stdout

    # Nobody mends it: from its greatest age on other operators are deferred, none is refused for good.
    _until(lambda: _age_s(site) > max_age_s + 1, "the age of the list does not grow")
    assert _page(site, "/healthz")[0] == 503
    message_id = new_id()
    code, text = site.deliver(letter(message_id))
    assert (code, text[:4]) == (451, "4.7."), text

    site.trust_list_file.write_bytes(good)
    _until(lambda: _age_s(site) < max_age_s / 2, "the mended list was not read")
    assert site.deliver(letter(message_id))[0] == 250
    assert site.count(message_id) == 1
