"""atheris on XDM archives: as octets, and made of a METADATA.XML and a document that are themselves fuzzed.

Whatever comes: documents and problems by name, or Malformed with one of them, and never more octets than allowed.
"""

from __future__ import annotations

import io
import zipfile

import atheris

with atheris.instrument_imports(include=["mss.dossier", "mss.xml", "zipfile"]):
    from mss.config import Limits
    from mss.dossier import xdm
    from mss.errors import Malformed
    from mss.model.document import Submission
    from mss.model.filing import Problem
    from tests.dossier import dossier_seeds as seeds
from tests.support.fuzzing import fuzz

_LIMITS = Limits(zip_uncompressed_max_octets=1_000_000, cda_max_octets=200_000)
_KNOWN = {problem.value for problem in Problem}


def one(data: bytes) -> None:
    """Read an archive; the first octet says which kind of input it is."""
    try:
        submission = xdm.read(_packed(data[1:]) if data[:1] == b"m" else data[1:], _LIMITS)
    except Malformed as error:
        submission = Submission((), "", (str(error),))
    assert set(submission.problems) <= _KNOWN
    assert sum(len(one.octets) for one in submission.documents) <= _LIMITS.zip_uncompressed_max_octets
    assert all(one.entry.unique_id for one in submission.documents)


def _packed(data: bytes) -> bytes:
    """Return an archive of what stands before and behind a mark, so that mutations reach the readers behind the zip."""
    described, _, document = data.partition(_MARK)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("IHE_XDM/SUBSET01/METADATA.XML", described)
        archive.writestr("IHE_XDM/SUBSET01/DOC00001.XML", document)
        archive.writestr("IHE_XDM/SUBSET01/DOC00001.PDF", b"%PDF-1.4")
    return made.getvalue()


_MARK = b"\0\0"

if __name__ == "__main__":
    pairs = (b"m" + seeds.described() + _MARK + document for document in seeds.documents())
    fuzz(one, [*(b"z" + archive for archive in seeds.archives()), *pairs], seeds.WORDS, 20_000)
