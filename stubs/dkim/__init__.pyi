from collections.abc import Callable
from logging import Logger

class DKIMException(Exception): ...
class DnsTimeoutError(DKIMException): ...
class KeyFormatError(DKIMException): ...

class DKIM:
    domain: bytes | None
    selector: bytes | None
    headers: list[tuple[bytes, bytes]]
    signature_fields: dict[bytes, bytes]
    def __init__(
        self,
        message: bytes | None = ...,
        logger: Logger | None = ...,
        signature_algorithm: bytes = ...,
        minkey: int = ...,
        linesep: bytes = ...,
        debug_content: bool = ...,
        timeout: float = ...,
        tlsrpt: bool = ...,
    ) -> None: ...
    def sign(
        self,
        selector: bytes,
        domain: bytes,
        privkey: bytes,
        signature_algorithm: bytes | None = ...,
        identity: bytes | None = ...,
        canonicalize: tuple[bytes, bytes] = ...,
        include_headers: list[bytes] | None = ...,
        length: bool = ...,
    ) -> bytes: ...
    def verify(self, idx: int = ..., dnsfunc: Callable[..., bytes | None] = ...) -> bool: ...
