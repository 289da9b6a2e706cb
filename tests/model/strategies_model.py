"""Strategies for the nouns, built from their grammars."""

from __future__ import annotations

from hypothesis import strategies as st

from mss.model.ins import matricule_key

ATEXT = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+/=?^_`{|}~-"

atoms = st.text(ATEXT, min_size=1, max_size=12)
dot_atoms = st.lists(atoms, min_size=1, max_size=4).map(".".join)
quoted_locals = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=30).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
local_parts = st.one_of(dot_atoms, quoted_locals)

labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
domain_names = st.lists(labels, min_size=1, max_size=4).map(".".join)


@st.composite
def address_texts(draw: st.DrawFn) -> str:
    """An address as a peer may write it."""
    return f"{draw(local_parts)}@{draw(domain_names)}"


@st.composite
def first_13(draw: st.DrawFn) -> str:
    """The first 13 characters of a matricule: sex, year, month, department, commune, rank."""
    sex = draw(st.sampled_from("123478"))
    year = draw(st.integers(0, 99))
    month = draw(st.one_of(st.integers(1, 12), st.integers(20, 99)))
    department = draw(st.one_of(st.integers(0, 99).map("{:02}".format), st.sampled_from(["2A", "2B"])))
    return f"{sex}{year:02}{month:02}{department}{draw(st.integers(0, 999)):03}{draw(st.integers(0, 999)):03}"


@st.composite
def matricules(draw: st.DrawFn) -> str:
    """A matricule whose key is right."""
    start = draw(first_13())
    return f"{start}{matricule_key(start):02}"
