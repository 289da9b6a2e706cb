"""A Postfix from Debian as another operator: its own folder and configuration, loopback only, ended by its own pid."""

from __future__ import annotations

import mailbox
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.house import HOSPITAL, REGION
from tests.journeys.sites import PATIENCE_S, Site, route_port

_UID = 5000
_SERVICES = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 1 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""
_SETTINGS = """\
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file_prefixes = {folder}
maillog_file = {folder}/postfix.log
myhostname = mx.{region}
myorigin = {region}
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
virtual_mailbox_domains = {region}
virtual_mailbox_maps = texthash:{folder}/boxes
virtual_mailbox_base = {folder}/mail
virtual_minimum_uid = 1000
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{uid}
transport_maps = texthash:{folder}/transport
smtpd_tls_security_level = encrypt
smtpd_tls_ask_ccert = yes
smtpd_tls_req_ccert = yes
smtpd_tls_chain_files = {folder}/key.pem, {folder}/chain.pem
smtpd_tls_CAfile = {folder}/ca.pem
smtpd_relay_restrictions = permit_tls_all_clientcerts, reject_unauth_destination
smtp_tls_security_level = verify
smtp_tls_verify_cert_match = hostname, nexthop
smtp_tls_chain_files = {folder}/key.pem, {folder}/chain.pem
smtp_tls_CAfile = {folder}/ca.pem
smtp_host_lookup = native
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
"""


@dataclass(frozen=True, slots=True)
class Postfix:
    """A running Postfix, the operator of the region."""

    folder: Path
    port: int

    def letters(self) -> list[mailbox.MaildirMessage]:
        """Return the letters in the doctor's Maildir."""
        where = self.folder / "mail" / "camille.durand"
        return list(mailbox.Maildir(where, create=False)) if (where / "new").is_dir() else []

    def wait_for_letter(self, text: str) -> mailbox.MaildirMessage:
        """Wait until a letter that holds a text is there."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            for letter in self.letters():
                if text in letter.as_string():
                    return letter
            time.sleep(0.1)
        log = (self.folder / "postfix.log").read_text(errors="replace")[-2000:]
        raise AssertionError(f"{text} did not reach Postfix's Maildir: {log}")


@contextmanager
def running(site: Site, *settings: str) -> Iterator[Postfix]:
    """Run a Postfix with the certificate that is listed for the region, which relays to our MX; `settings` are further
    lines of its configuration."""
    folder = Path(tempfile.mkdtemp(prefix="mss-postfix-"))
    port = route_port(site, REGION)
    try:
        _configure(folder, site, port, settings)
        nowhere = subprocess.DEVNULL
        command = ["postfix", "-c", str(folder), "start"]
        subprocess.run(command, check=True, timeout=60, stdin=nowhere, stdout=nowhere, stderr=nowhere)
        try:
            yield Postfix(folder, port)
        finally:
            _stop(int((folder / "spool" / "pid" / "master.pid").read_text()))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _stop(master: int) -> None:
    """End Postfix's master, which ends its children, and wait until it is gone."""
    os.kill(master, signal.SIGTERM)
    end = time.monotonic() + PATIENCE_S
    while Path("/proc", str(master)).exists():
        assert time.monotonic() < end, "Postfix does not end"
        time.sleep(0.02)


def _configure(folder: Path, site: Site, port: int, settings: tuple[str, ...]) -> None:
    folder.chmod(0o755)
    chain, key = site.peers[REGION]
    for name, source in (("chain.pem", chain), ("key.pem", key), ("ca.pem", site.ca_file)):
        (folder / name).write_bytes(source.read_bytes())
    for name in ("spool", "data", "mail"):
        (folder / name).mkdir(mode=0o755)
    shutil.chown(folder / "data", "postfix")
    os.chown(folder / "mail", _UID, _UID)
    (folder / "boxes").write_text(f"camille.durand@{REGION} camille.durand/\n")
    (folder / "transport").write_text(f"{HOSPITAL} smtp:[localhost]:{site.port('mx')}\n")
    main = _SETTINGS.format(folder=folder, region=REGION, uid=_UID)
    (folder / "main.cf").write_text("\n".join((main, *settings, "")))
    (folder / "master.cf").write_text(_SERVICES.format(port=port))
