"""The PDF that we make is one that a strict reader can follow."""

from __future__ import annotations

import re

import pytest

from mss.dossier.make import make_pdf


@pytest.mark.parametrize(("lines", "pages"), [(0, 1), (1, 1), (50, 1), (51, 2), (120, 3)])
def test_pages(lines: int, pages: int) -> None:
    pdf = make_pdf([f"ligne {n}" for n in range(lines)])
    assert pdf.count(b"/Type /Page ") == pages
    assert f"/Count {pages} ".encode() in pdf
    assert pdf.count(b"' \n") + pdf.count(b") '") == lines


def test_the_table_points_at_the_objects() -> None:
    pdf = make_pdf(["a", "b"])
    start = int(re.findall(rb"startxref\n(\d+)\n%%EOF\n\Z", pdf)[0])
    assert pdf[start:].startswith(b"xref\n0 6\n")
    offsets = [int(o) for o in re.findall(rb"(\d{10}) 00000 n \n", pdf)]
    for number, offset in enumerate(offsets, 1):
        assert pdf[offset:].startswith(f"{number} 0 obj\n".encode())


def test_the_stream_is_as_long_as_it_says() -> None:
    pdf = make_pdf(["Crédit (à) \\"])
    match = re.search(rb"/Length (\d+) >>\nstream\n(.*)\nendstream", pdf, re.DOTALL)
    assert match is not None
    assert int(match.group(1)) == len(match.group(2))


def test_a_line_cannot_leave_its_string() -> None:
    pdf = make_pdf([") Tj ET\n(x\\"])
    assert b"(\\) Tj ET \\(x\\\\) '" in pdf


def test_what_the_font_lacks_is_replaced() -> None:
    assert b"(caf\xe9 \x80 ?) '" in make_pdf(["café € 漢"])
