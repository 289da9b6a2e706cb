"""atheris on CDA: header facts or Malformed, and the same ones whether or not the tree of the body is built."""

from __future__ import annotations

import atheris

with atheris.instrument_imports(include=["mss.dossier", "mss.xml"]):
    from mss.config import Limits
    from mss.dossier import cda
    from mss.errors import Malformed
    from mss.xml import GUARDED_DEPTH
    from tests.dossier import dossier_seeds as seeds
from tests.support.fuzzing import fuzz

_CUT, _WHOLE = (Limits(xml_depth_max=depth) for depth in (GUARDED_DEPTH, GUARDED_DEPTH - 1))


def _said(data: bytes, limits: Limits) -> object:
    try:
        return cda.read_whole(data, limits)
    except Malformed as error:
        return str(error)


def one(data: bytes) -> None:
    """Read a document in both ways."""
    said = _said(data, _CUT)
    assert said == _said(data, _WHOLE)
    assert isinstance(said, str) or cda.embedded_pdf(data) == said[1]  # type: ignore[index]


if __name__ == "__main__":
    fuzz(one, seeds.documents(), seeds.WORDS, 20_000)
