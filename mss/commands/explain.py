"""The decisions that a letter or a document meets, as lines for a terminal. `services.explaining` asks the rules."""

from __future__ import annotations

from functools import partial

from mss.clock import Clock
from mss.commands.house import address_of, read
from mss.config import Config
from mss.errors import Malformed
from mss.model.rights import Purpose
from mss.policy.explain import explain_steps
from mss.services import explaining
from mss.services.explaining import Question as Question
from mss.services.rights import book_of
from mss.store import Uow


def explain(config: Config, clock: Clock, question: Question) -> list[str]:
    """Return the lines of each decision in order, up to the first that does not accept."""
    steps = partial(explaining.letter_steps, config=config, question=question, now=clock())
    return explain_steps(read(config, steps))


def explain_document(
    config: Config, clock: Clock, login: str, patient: str, document: int, purpose: Purpose
) -> list[str]:
    """Return the lines of the decision on one document for a professional."""
    book, box = book_of(config), address_of(patient, "--to")

    def steps(uow: Uow) -> list[explaining.Step]:
        return explaining.document_steps(uow, book, login, box, document, purpose, clock())

    return explain_steps(read(config, steps))


def explain_letter(config: Config, number: str) -> list[str]:
    """Return the lines of what was decided of a letter that came, by the number on its receipt."""
    told = read(config, lambda uow: explaining.letter_told(uow, number))
    if not told:
        raise Malformed("the journal knows no receipt of this number: it stands after the 250 in the sender's log")
    return [line for step in told for line in explain_steps([step])]
