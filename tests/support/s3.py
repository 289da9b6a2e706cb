"""Buckets for the tests: moto's server as a process of its own, or any server that speaks S3.

moto keeps everything in memory and believes any secret: it proves what we ask, never that we sign it well.
"""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import boto3

from mss.config import Config, StoreConfig
from tests.support.ports import free_base

START_TIMEOUT_S = 60
_REGION = "us-east-1"


@dataclass(slots=True)
class Server:
    """A running server of buckets."""

    endpoint: str
    access_key: str = "AKIATEST"
    secret_key: str = "secretsecret"
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def client(self) -> Any:
        """A stranger's client, to make buckets and to look into them."""
        keys = {"aws_access_key_id": self.access_key, "aws_secret_access_key": self.secret_key}
        return boto3.client("s3", endpoint_url=self.endpoint, region_name=_REGION, **keys)

    def create(self) -> str:
        """Create a bucket and return its name."""
        name = f"octets-{os.getpid()}-{next(self.numbers)}"
        self.client.create_bucket(Bucket=name)
        return name

    def keys(self, bucket: str) -> list[str]:
        """Return the names of all objects in a bucket."""
        return sorted(one["Key"] for one in self.client.list_objects_v2(Bucket=bucket).get("Contents", ()))

    def octets(self, bucket: str, key: str) -> bytes:
        """Return an object as the server holds it."""
        found: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return found

    def settings(self, folder: Path, bucket: str, prefix: str = "") -> dict[str, Any]:
        """Write the keys below a folder; returns the settings of [store] that name a bucket here."""
        files = {"s3_access_key_file": self.access_key, "s3_secret_key_file": self.secret_key}
        for name, text in files.items():
            (folder / f"{name}.txt").write_text(f"{text}\n")
        where = f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}"
        paths = {name: folder / f"{name}.txt" for name in files}
        return {"blobs": where, "s3_endpoint": self.endpoint, "s3_timeout_s": 5, **paths}


def config_of(config: Config, settings: dict[str, Any]) -> Config:
    """Return a configuration whose octets aside are in a bucket."""
    import dataclasses

    store: StoreConfig = dataclasses.replace(config.store, **settings)
    return dataclasses.replace(config, store=store)


@contextmanager
def moto(port: int = 0) -> Iterator[Server]:
    """Start moto's server on a free port, or on that one, and stop it at the end."""
    port = port or free_base()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until_it_answers(port, process)
            yield Server(f"http://127.0.0.1:{port}")
        finally:
            process.send_signal(signal.SIGKILL)


def wait_until_it_answers(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers over HTTP."""
    end = time.monotonic() + START_TIMEOUT_S
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the server of buckets did not start") from error
            time.sleep(0.05)
        finally:
            connection.close()
