"""The operator's page that explains decisions: each rule, its facts, and what would change the answer.

It is there only where `[ops] pages` says so, on a loopback address, and asks for no password: whoever can connect there
may run `mss policy explain`. It answers no name but the machine's own, lest a page in the operator's browser reach it
under a name of its own (DNS rebinding). Questions come by POST: no address of a person stands in a URL.
"""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mss.errors import MssError
from mss.model.address import Address
from mss.model.rights import Purpose
from mss.policy.rulebook import words_of
from mss.services import explaining
from mss.services.explaining import Question, Step
from mss.services.rights import book_of
from mss.web import forms
from mss.web.pages import pages_of

if TYPE_CHECKING:
    from mss.clock import Clock
    from mss.config import Config
    from mss.store import Store

OWN_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})
FIELDS: Final = ("sender", "to", "subject", "header", "document", "reader", "purpose", "receipt")
_FIELD_MAX_CHARACTERS: Final = 400
_NOTHING: Final = MappingProxyType(dict.fromkeys(FIELDS, "") | {"purpose": "TREAT", "subject": "Question"})


class Explainer:
    """The page of one process."""

    def __init__(self, store: Store, config: Config, clock: Clock) -> None:
        self._store, self._config, self._clock = store, config, clock
        self._book = book_of(config)
        self._pages = pages_of(Path(__file__).parent, UTC)

    async def page(self, request: Request) -> Response:
        """Show the form, and the decisions that it asks for."""
        if request.url.hostname not in OWN_NAMES:
            raise HTTPException(421)
        asked = dict(_NOTHING)
        steps: list[Step] = []
        problem = ""
        if request.method == "POST":
            form = await forms.read_own(request)
            asked = {name: form.get(name).strip()[:_FIELD_MAX_CHARACTERS] for name in FIELDS}
            try:
                steps = await self._steps(asked)
                problem = "" if steps else "The journal knows nothing of this."
            except (MssError, ValueError) as error:
                problem = f"This cannot be asked: {error}"
        values: dict[str, Any] = {
            "asked": asked,
            "problem": problem,
            "steps": [(title, decision, words_of(decision.rule)) for title, decision in steps],
            "purposes": [one.value for one in Purpose],
            "operator": self._config.operator.name,
        }
        return self._pages.page("explain.html", "en", 422 if problem else 200, **values)

    async def _steps(self, asked: dict[str, str]) -> list[Step]:
        now = self._clock()
        if asked["receipt"]:
            return await self._store.read(explaining.letter_told, asked["receipt"])
        if asked["document"]:
            box, purpose = Address.parse(asked["to"]), Purpose(asked["purpose"])
            where = (self._book, asked["reader"].lower(), box, int(asked["document"]), purpose)
            return await self._store.read(explaining.document_steps, *where, now)
        headers = (asked["header"],) if asked["header"] else ()
        question = Question(asked["sender"], asked["to"], asked["subject"], headers)
        return await self._store.read(explaining.letter_steps, self._config, question, now)
