"""A real Ceph with its S3 gateway, from Debian, for the long runs: everything in memory, below one folder.

It needs root or a user that may run the daemons, and the packages of `tools/packages soak`.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.ports import free_base
from tests.support.s3 import Server, wait_until_it_answers

_PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "ceph-mgr", "radosgw", "radosgw-admin", "monmaptool", "ceph-authtool")
_GATEWAY = "client.rgw.t"
_STOP_S = 20


class CephMissingError(Exception):
    """No Ceph can be started here; the text holds the line to type."""


@contextmanager
def running() -> Iterator[Server]:
    """Start a monitor, a manager, one store in memory and the gateway; stop each by its own number."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        raise CephMissingError(f"Ceph is missing ({', '.join(missing)}). Type: tools/packages soak")
    # A path of a socket holds 107 octets: the tests' own folders are too deep.
    with tempfile.TemporaryDirectory(prefix="mss-ceph-", dir="/tmp") as folder, ExitStack() as stack:
        yield _start(Path(folder), stack)


def _start(folder: Path, stack: ExitStack) -> Server:
    base, fsid = free_base(), str(uuid.uuid4())
    monitor = f"[v2:127.0.0.1:{base},v1:127.0.0.1:{base + 1}]"
    gateway = base + 2
    conf = folder / "ceph.conf"
    conf.write_text(_conf(folder, fsid, monitor, gateway))
    common = ["-c", str(conf)]
    _make_keys(folder)
    _run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", monitor, str(folder / "monmap"))
    keyring = str(folder / "keyring")
    mon = [*common, "-i", "a", "--mon-data", str(folder / "mon")]
    _run("ceph-mon", *mon, "--mkfs", "--monmap", str(folder / "monmap"), "--keyring", keyring)
    _daemon(stack, folder, "ceph-mon", *mon)
    osd_id = str(uuid.uuid4())
    _run("ceph", *common, "osd", "new", osd_id)
    osd = [*common, "-i", "0", "--osd-data", str(folder / "osd")]
    _run("ceph-osd", *osd, "--mkfs", "--osd-uuid", osd_id)
    _daemon(stack, folder, "ceph-osd", *osd)
    _daemon(stack, folder, "ceph-mgr", *common, "-i", "x", "--mgr-data", str(folder / "mgr"))
    process = _daemon(stack, folder, "radosgw", *common, "-n", _GATEWAY)
    wait_until_it_answers(gateway, process)
    server = Server(f"http://127.0.0.1:{gateway}")
    keys = ["--access-key", server.access_key, "--secret-key", server.secret_key]
    _run("radosgw-admin", *common, "user", "create", "--uid", "t", "--display-name", "t", *keys)
    return server


def _conf(folder: Path, fsid: str, monitor: str, gateway: int) -> str:
    for name in ("mon", "osd", "mgr", "run", "log"):
        (folder / name).mkdir()
    return f"""[global]
fsid = {fsid}
mon host = {monitor}
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = {folder}/keyring
run dir = {folder}/run
admin socket = {folder}/run/$cluster-$name.asok
log file = {folder}/log/$name.log
mon cluster log file = {folder}/log/cluster.log
pid file = {folder}/run/$name.pid
crash dir = {folder}/run
osd objectstore = memstore
memstore device bytes = 2147483648
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
mon allow pool size one = true
osd crush chooseleaf type = 0
mgr initial modules =
mon data avail crit = 1
[{_GATEWAY}]
rgw frontends = beast endpoint=127.0.0.1:{gateway}
rgw crypt require ssl = false
rgw data = {folder}/run
"""


def _make_keys(folder: Path) -> None:
    keyring = str(folder / "keyring")
    _run("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
    caps = [word for what in ("mon", "osd", "mgr") for word in ("--cap", what, "allow *")]
    for name in ("client.admin", "osd.0", "mgr.x", _GATEWAY):
        _run("ceph-authtool", keyring, "--gen-key", "-n", name, *caps)


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr[-2000:]}")


def _daemon(stack: ExitStack, folder: Path, *command: str) -> subprocess.Popen[bytes]:
    """Start a daemon in the foreground, so that it is ours to stop."""
    log = stack.enter_context((folder / "log" / f"{command[0]}.out").open("wb"))
    process = subprocess.Popen([*command, "-f"], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    stack.callback(_stop, process)
    return process


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
