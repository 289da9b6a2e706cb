"""Nothing is kept by a patient's hand that the antivirus did not look at."""

from __future__ import annotations

import pytest

from mss.model.account import Box
from mss.policy import rules
from mss.policy.decision import Decision, accept, defer, reject
from mss.screening import UNSCREENED
from tests.webmail.webmail_world import PDF, PNG, Browser, World, file

pytestmark = pytest.mark.usefixtures("paul")

FOUND = "Un fichier n’a pas été conservé : l’antivirus y a trouvé quelque chose de dangereux."
SILENT = "La recherche de virus dans les fichiers est indisponible pour le moment."


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> dict[bytes, Decision]:
    """What the antivirus of the webmail says of some octets; all others are clean."""
    decisions: dict[bytes, Decision] = {}

    async def judge(_self: object, octets: bytes) -> Decision:
        return decisions.get(octets, accept(rules.CONTENT_CLEAN))

    monkeypatch.setattr(type(UNSCREENED), "judge", judge)
    return decisions


async def test_an_infected_file_is_not_added_to_a_draft(
    world: World, paul: Box, browser: Browser, says: dict[bytes, Decision]
) -> None:
    await world.receive(world.letter(paul))
    await browser.get("/conversations/1")
    says[PNG] = reject(rules.CONTENT_INFECTED, signature="Eicar")
    page = await browser.press("Enregistrer le brouillon", text="Bonjour", files=(("a.png", PNG), ("b.pdf", PDF)))
    assert FOUND in page.text
    assert [name in page.text for name in ("a.png", "b.pdf")] == [False, True]


@pytest.mark.parametrize(
    ("decision", "sentence"),
    [
        (reject(rules.CONTENT_INFECTED, signature="Eicar"), FOUND),
        (defer(rules.CONTENT_NOT_SCANNED), SILENT),
    ],
)
async def test_a_file_is_looked_at_again_before_it_is_filed(
    world: World, paul: Box, browser: Browser, says: dict[bytes, Decision], decision: Decision, sentence: str
) -> None:
    await world.receive(world.letter(paul, attachments=(file("a.pdf", PDF, "application/pdf"),)))
    await browser.get("/letters/1/files/2/file")
    says[PDF] = decision
    page = await browser.press("Classer", title="Bilan", category="BIOLOGIE")
    assert sentence in page.text
    assert "Aucun document" in (await browser.get("/documents")).text or "pas encore de document" in page.text
