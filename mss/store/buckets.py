"""Octets aside in a bucket that speaks S3. The only module that names obstore.

- One object, one PUT: it is there whole or not at all, and nothing half written stays behind.
- Names are random, so no put has to be conditional (some servers only seem to keep such conditions).
- Only the library's synchronous calls are used, in our threads: after asynchronous ones a process may abort at exit.
- A bucket that does not answer is left in peace for a moment; meanwhile all who ask hear Unavailable at once, so that
  the threads stay free for letters that need no bucket.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import S3Store

from mss.config import Config
from mss.errors import Misconfigured, Unavailable
from mss.log import get_logger

T = TypeVar("T")

_CONNECT_S: Final = 3
_REST_S: Final = 2.0
_RETRIES: Final = 2
_LISTED_AT_ONCE: Final = 500

_log = get_logger("blobs")


class BucketStore:
    """Sealed octets in one bucket, below one prefix, spread over 256 folders as the local store does."""

    def __init__(self, store: S3Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._away_until: float | None = None

    @property
    def well(self) -> bool:
        """Whether the bucket answered when it was last asked."""
        return self._away_until is None

    def put(self, pieces: Iterable[bytes]) -> str:
        """Write octets durably, given in pieces, and return their name; Unavailable when the bucket refuses."""
        name = secrets.token_hex(20)
        self.put_named(name, pieces)
        return name

    def put_named(self, name: str, pieces: Iterable[bytes]) -> None:
        """Write octets durably under the name that they had."""
        octets = b"".join(pieces)
        self._asked("write", lambda: obstore.put(self._store, _key(name), octets, use_multipart=False))

    def size(self, name: str) -> int | None:
        """Return how many sealed octets an object has; None when there is none of that name."""
        return self._asked("look at", lambda: self._size(name), missing=lambda: None)

    def _size(self, name: str) -> int | None:
        return int(obstore.head(self._store, _key(name))["size"])

    def get(self, name: str, start: int, end: int) -> bytes:
        """Return sealed octets [start, end) of an object."""
        if start >= end:
            return b""
        return self._asked("read", lambda: self._range(_key(name), start, end), missing=_none_there)

    def _range(self, key: str, start: int, end: int) -> bytes:
        try:
            return bytes(obstore.get_range(self._store, key, start=start, end=end))
        except BaseError as error:
            if "InvalidRange" not in str(error):
                raise
            return b""  # It was cut off before that range: the bucket is well, and whoever opens the octets sees it.

    def older_than(self, age_s: float) -> Iterator[str]:
        """Yield the names of objects that are that old, as the bucket dates them."""
        before = datetime.now(UTC) - timedelta(seconds=age_s)
        listed = self._asked("list", lambda: obstore.list(self._store, chunk_size=_LISTED_AT_ONCE))
        while some := self._asked("list", lambda: next(listed, None)):
            for one in some:
                folder, _, name = one["path"].rpartition("/")
                if one["last_modified"] <= before and _key(name) == f"{folder}/{name}":
                    yield name

    def delete(self, name: str) -> None:
        """Remove an object; a missing one is fine."""
        self._asked("remove", lambda: obstore.delete(self._store, _key(name)), missing=lambda: None)

    def _asked(self, what: str, work: Callable[[], T], *, missing: Callable[[], T] | None = None) -> T:
        """Ask the bucket; `missing` is what to do when it says that there is no such object."""
        if self._away_until is not None and self._clock() < self._away_until:
            raise Unavailable("the bucket does not answer")
        try:
            found = work()
        except (BaseError, OSError) as error:
            if missing is not None and isinstance(error, (NotFoundError, FileNotFoundError)):
                self._answered()
                return missing()
            # The library's text may hold the place and its keys: the kind of the fault has to do.
            self._failed(what, type(error).__name__)
            raise Unavailable(f"cannot {what} octets aside: the bucket refuses ({type(error).__name__})") from None
        self._answered()
        return found

    def _failed(self, what: str, kind: str) -> None:
        with self._lock:
            first, self._away_until = self._away_until is None, self._clock() + _REST_S
        if first:
            _log.error("blobs.away", while_asked_to=what, kind=kind)

    def _answered(self) -> None:
        if self._away_until is None:
            return
        with self._lock:
            back, self._away_until = self._away_until is not None, None
        if back:
            _log.info("blobs.back")


def _none_there() -> bytes:
    raise Unavailable("cannot read octets aside: the bucket has none of that name")


def _key(name: str) -> str:
    return f"{name[:2]}/{name}"


def open_bucket(config: Config) -> BucketStore:
    """Open the bucket of [store] blobs; Misconfigured when a file of its keys cannot be read. It asks nothing yet."""
    settings = config.store
    bucket, _, prefix = settings.blobs.removeprefix("s3://").partition("/")
    if not bucket:
        raise Misconfigured("[store] blobs names no bucket: write s3://bucket or s3://bucket/prefix")
    timeout = timedelta(seconds=settings.s3_timeout_s)
    store = S3Store(
        bucket,
        prefix=prefix.strip("/") or None,
        endpoint=settings.s3_endpoint or None,
        region=settings.s3_region,
        access_key_id=_secret(config, "s3_access_key_file"),
        secret_access_key=_secret(config, "s3_secret_key_file"),
        virtual_hosted_style_request=False,
        client_options={
            "allow_http": settings.s3_endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=min(_CONNECT_S, settings.s3_timeout_s)),
            "timeout": timeout,
        },
        retry_config={"max_retries": _RETRIES, "retry_timeout": timeout},
    )
    return BucketStore(store)


def _secret(config: Config, name: str) -> str:
    path = getattr(config.store, name)
    if path is None:
        raise Misconfigured(f"[store] blobs names a bucket: {name} must name the file of its key")
    try:
        text = config.path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"[store] {name} cannot be read: {type(error).__name__}") from error
    if not text:
        raise Misconfigured(f"[store] {name} is empty")
    return text
