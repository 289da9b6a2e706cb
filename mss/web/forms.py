"""Forms read within limits, and the check that they come from our own pages (Fetch Metadata, Origin, token).

Nothing that a browser uploads touches a disk here. It judges no field's meaning.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from hmac import compare_digest
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.datastructures import FormData, Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser

if TYPE_CHECKING:
    from starlette.requests import Request

TOKEN_FIELD: Final = "csrf"
SMALL_OCTETS: Final = 64 * 1024
FIELD_MAX_OCTETS: Final = 256 * 1024
FIELDS_MAX: Final = 100
# A body past its limit is read and thrown away up to so many times the limit: browsers read the answer only then.
_DRAIN_FACTOR: Final = 4


@dataclass(frozen=True, slots=True)
class Upload:
    """A file from a form, as the browser named it."""

    name: str
    octets: bytes


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form: every value of a name in order; files apart."""

    fields: tuple[tuple[str, str], ...]
    uploads: tuple[Upload, ...] = ()

    def get(self, name: str) -> str:
        """Return the first value of a field, empty without."""
        return next((value for key, value in self.fields if key == name), "")

    def all(self, name: str) -> tuple[str, ...]:
        """Return all values of a field."""
        return tuple(value for key, value in self.fields if key == name)


class TooLarge(HTTPException):
    """A form of ours whose body passed its limit; `form` has the fields that came before, so that nothing is lost."""

    def __init__(self, form: Form) -> None:
        super().__init__(413)
        self.form = form


def from_own_site(headers: Headers, scheme: str) -> bool:
    """Say whether a request can come from our own pages: what the browser says of it, else its Origin.

    A browser so old that it says neither passes: the token decides alone.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("origin")
    if origin is None:
        return True
    parts = urlsplit(origin)
    return parts.scheme in (scheme, "https") and bool(parts.netloc) and parts.netloc == headers.get("host", "")


async def read(request: Request, token: str, *, max_octets: int = SMALL_OCTETS, files_max: int = 0) -> Form:
    """Return the form of a POST whose hidden field holds the token; HTTPException 403, 413 (TooLarge when the token
    came) or 400 otherwise."""
    if not from_own_site(request.headers, request.url.scheme):
        raise HTTPException(403)
    try:
        form = await _parse(request, max_octets, files_max)
    except TooLarge as error:
        raise (error if _holds(error.form, token) else HTTPException(413)) from None
    if not _holds(form, token):
        raise HTTPException(403)
    return form


async def read_own(request: Request) -> Form:
    """Return a small form of our own pages that changes nothing, and so carries no token; HTTPException 403 or 400."""
    if not from_own_site(request.headers, request.url.scheme):
        raise HTTPException(403)
    return await _parse(request, SMALL_OCTETS, 0)


def _holds(form: Form, token: str) -> bool:
    given = form.get(TOKEN_FIELD).encode("utf-8", "surrogatepass")
    return bool(token) and compare_digest(given, token.encode())


async def text_of_stranger(request: Request, name: str, max_octets: int) -> str:
    """Return one field of a form that nobody vouches for, to be shown to its sender; empty when it is not ours."""
    if not from_own_site(request.headers, request.url.scheme):
        raise HTTPException(403)
    return (await _parse(request, max_octets, FIELDS_MAX)).get(name)


class _InMemory(MultiPartParser):
    """Keeps files in memory, where the body's limit bounds them: health data must not lie in a temporary file."""

    spool_max_size = 1 << 40


async def _parse(request: Request, max_octets: int, files_max: int) -> Form:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = _bounded(request, max_octets)
    limits = {"max_fields": FIELDS_MAX, "max_part_size": FIELD_MAX_OCTETS}
    try:
        match kind:
            case "application/x-www-form-urlencoded":
                data = await FormParser(request.headers, body, **limits).parse()
            case "multipart/form-data":
                data = await _multipart(_InMemory(request.headers, body, max_files=files_max, **limits))
            case _:
                raise HTTPException(415)
    except MultiPartException:
        raise HTTPException(400) from None
    return await _form_of(data)


async def _multipart(parser: MultiPartParser) -> FormData:
    """Parse a body; when it is too large, the fields that were whole by then are not lost."""
    try:
        return await parser.parse()
    except HTTPException as error:
        fields = tuple((name, value) for name, value in parser.items if isinstance(value, str))
        raise (TooLarge(Form(fields)) if error.status_code == 413 else error) from None


async def _form_of(data: FormData) -> Form:
    fields, uploads = [], []
    for name, value in data.multi_items():
        if isinstance(value, UploadFile):
            if value.filename:
                uploads.append(Upload(value.filename, await value.read()))
            await value.close()
        else:
            fields.append((name, value))
    return Form(tuple(fields), tuple(uploads))


async def _bounded(request: Request, max_octets: int) -> AsyncGenerator[bytes, None]:
    """Yield the body's blocks; past the limit, throw the rest away and raise HTTPException 413."""
    total = 0
    async for block in request.stream():
        total += len(block)
        if total - len(block) < max_octets:
            yield block[: max_octets - total + len(block)]
        elif total > _DRAIN_FACTOR * max_octets:
            break
    if total > max_octets:
        raise HTTPException(413)
