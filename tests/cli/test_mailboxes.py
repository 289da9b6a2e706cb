"""`mss mailbox` and `mss account quota`: what comes back, what goes for good, what is refused."""

from __future__ import annotations

import json

import pytest

from mss.clock import system_clock
from mss.config import Limits
from mss.model.address import Address
from mss.services import appending, mailbox
from mss.services.reading import read_letter
from mss.store import Store
from tests.cli.cli_world import DOCTOR, PATIENT, RECEPTION, Desk


def expunge(desk: Desk, count: int = 2) -> None:
    """Let letters come into the reception's INBOX and expunge them."""

    async def work(store: Store) -> None:
        now = system_clock()
        box = await store.read(lambda uow: uow.accounts.box_by_address(Address.parse(RECEPTION)))
        assert box is not None
        inbox = await store.read(mailbox.find, box.id, "INBOX", now)
        for number in range(count):
            reading = read_letter(b"Subject: %d\r\n\r\nx\r\n" % number, Limits(), documents=False)
            await store.write(appending.append, inbox.id, reading, ("\\Deleted",), None, "test", now)
        await store.write(mailbox.expunge, inbox.id, None, "test", now)

    desk.in_store(work)


def test_expunged_letters_are_listed_and_put_back(staffed: Desk) -> None:
    assert "Nothing can be put back." in staffed.does("mailbox", "expunged", RECEPTION)
    expunge(staffed)
    lines = [json.loads(line) for line in staffed.does("mailbox", "expunged", RECEPTION, "--json").splitlines()]
    assert [(one["id"], one["mailbox"]) for one in lines] == [(2, "INBOX"), (1, "INBOX")]
    assert "INBOX" in staffed.does("mailbox", "expunged", RECEPTION, "--since", "2h")
    assert "1 letters are back" in staffed.does("mailbox", "restore", RECEPTION, "2")
    assert "0 letters are back" in staffed.does("mailbox", "restore", RECEPTION, "--mailbox", "Trash")
    assert "1 letters are back" in staffed.does("mailbox", "restore", RECEPTION, "--since", "2h")


def test_what_is_erased_does_not_come_back(staffed: Desk) -> None:
    expunge(staffed)
    assert "2 letters can no longer be put back" in staffed.does("mailbox", "erase", RECEPTION)
    assert "0 letters are back" in staffed.does("mailbox", "restore", RECEPTION)


def test_quotas(staffed: Desk) -> None:
    assert "No quota is set." in staffed.does("account", "quota")
    staffed.does("account", "quota", "--kind", "org", "--size", "2G", "--letters", "1000")
    staffed.does("account", "quota", RECEPTION, "--size", "500M")
    assert json.loads(staffed.does("account", "quota", RECEPTION, "--json")) == {
        "for": "this box", "octets": 0, "letters": 0, "octets_max": 500 << 20, "letters_max": None,
    }  # fmt: skip
    assert "kind:ORG" in staffed.does("account", "quota")
    assert "kind:ORG" in staffed.does("account", "quota", "--kind", "org")
    staffed.does("account", "quota", RECEPTION, "--none")
    assert "1000" in staffed.does("account", "quota", RECEPTION)


@pytest.mark.parametrize(
    "words",
    [
        ("--size", "1G"), (RECEPTION, "--kind", "org", "--size", "1G"), (RECEPTION, "--size", "0"),
        (RECEPTION, "--size", "big"), (RECEPTION, "--none", "--letters", "1"), ("nobody@hopital.example", "--none"),
    ],
)  # fmt: skip
def test_quotas_that_make_no_sense(staffed: Desk, words: tuple[str, ...]) -> None:
    assert staffed.fails("account", "quota", *words)


def test_readers_have_their_own_marks(staffed: Desk) -> None:
    assert "own marks" in staffed.does("mailbox", "seen", RECEPTION, "--own")
    assert "read for all" in staffed.does("mailbox", "seen", DOCTOR, "--common")
    assert "on the web only" in staffed.fails("mailbox", "seen", PATIENT, "--own")
