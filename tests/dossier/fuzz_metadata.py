"""atheris on METADATA.XML: whatever it says, or Malformed; each text within its bound."""

from __future__ import annotations

import atheris

with atheris.instrument_imports(include=["mss.dossier", "mss.xml"]):
    from mss.dossier import metadata
    from mss.dossier.cda import TEXT_MAX, UNIQUE_ID_MAX
    from mss.errors import Malformed
    from mss.xml import parse
    from tests.dossier import dossier_seeds as seeds
from tests.support.fuzzing import fuzz


def one(data: bytes) -> None:
    """Read what the octets say of a submission set."""
    try:
        root = parse(data, max_octets=100_000, depth_max=50)
    except Malformed:
        return
    for listed in metadata.read(root).listed:
        assert max(len(listed.title), len(listed.type_code), len(listed.format_code)) <= TEXT_MAX
        assert max(len(listed.unique_id), len(listed.replaces), len(listed.appends)) <= UNIQUE_ID_MAX
        assert listed.size_octets is None or listed.size_octets >= 0


if __name__ == "__main__":
    fuzz(one, [seeds.described()], seeds.WORDS, 20_000)
