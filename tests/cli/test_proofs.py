"""`mss account certificate`, `subject` and `delegate`: what is bound, what is refused, what the journal keeps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mss.clock import system_clock
from mss.commands import proofs as commands
from mss.errors import Malformed
from mss.model.account import Delegation, DelegationKind
from mss.model.address import Address
from mss.model.peer import DN, ClientCertificate
from mss.revocation import read_certificates
from mss.robots import dn_of, fingerprint_of
from mss.services import accounts
from mss.store import Uow
from tests.cli.cli_world import DOCTOR, PATIENT, RECEPTION, Desk

ROBOT = "robot@hopital.example"
FINGERPRINT = "ab" * 32


@pytest.fixture
def robot(desk: Desk) -> Desk:
    desk.add(ROBOT, "--kind", "app", "--name", "Robot")
    return desk


def certificate(desk: Desk) -> Path:
    return desk.folder / "certs" / "operator.pem"


def shown(desk: Desk) -> ClientCertificate:
    leaf = read_certificates(certificate(desk))[0]
    return ClientCertificate(dn_of(leaf), fingerprint_of(leaf))


def signs_in(desk: Desk, one: ClientCertificate) -> tuple[int, ...]:
    return desk.in_store(
        lambda store: store.read(lambda uow: uow.proofs.accounts_of_certificate(str(one.subject), one.fingerprint))
    )


def actions(desk: Desk) -> list[str]:
    found = desk.in_store(lambda store: store.read(lambda uow: uow.journal.newest(20)))
    return [record.event.action for record in found]


@pytest.mark.parametrize(
    ("by", "same_subject", "same_fingerprint"),
    [("subject", True, False), ("fingerprint", False, True), ("both", False, False)],
)
def test_a_certificate_s_file_is_bound(robot: Desk, by: str, same_subject: bool, same_fingerprint: bool) -> None:
    printed = robot.does("account", "certificate", "add", ROBOT, str(certificate(robot)), "--by", by)
    assert "Binding 1" in printed
    assert "set client_ca_file in [tls]" in printed
    one = shown(robot)
    assert len(signs_in(robot, one)) == 1
    renewed, reused = ClientCertificate(one.subject, "cd" * 32), ClientCertificate(DN.parse("CN=x"), one.fingerprint)
    assert bool(signs_in(robot, renewed)) is same_subject
    assert bool(signs_in(robot, reused)) is same_fingerprint
    assert "account.certificate-add" in actions(robot)


def test_a_subject_and_a_fingerprint_may_be_typed(robot: Desk) -> None:
    written = ":".join([FINGERPRINT[:2].upper()] * 32)
    robot.does("account", "certificate", "add", ROBOT, "--subject", "o=CHU , CN=robot", "--fingerprint", written)
    assert signs_in(robot, ClientCertificate(DN.parse("CN=Robot,O=chu"), FINGERPRINT)) != ()
    listed = robot.does("account", "certificate", "list", ROBOT)
    assert "CN=robot,O=chu" in listed
    assert FINGERPRINT in listed


def test_a_binding_is_removed_by_its_number(robot: Desk) -> None:
    robot.does("account", "certificate", "add", ROBOT, str(certificate(robot)))
    assert "no binding" in robot.fails("account", "certificate", "remove", ROBOT, "7")
    robot.does("account", "certificate", "remove", ROBOT, "1")
    assert signs_in(robot, shown(robot)) == ()
    assert "No certificate signs" in robot.does("account", "certificate", "list", ROBOT)
    assert "account.certificate-remove" in actions(robot)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((ROBOT,), "say which certificate"),
        ((ROBOT, "--subject", "  "), "say which certificate"),
        ((ROBOT, "--subject", "robot"), "not a distinguished name"),
        ((ROBOT, "--subject", "CN=" + "x" * 1000), "too long"),
        ((ROBOT, "--fingerprint", "abc"), "64 hexadecimal digits"),
        (("nobody@hopital.example", "--fingerprint", FINGERPRINT), "no such login"),
    ],
)
def test_what_is_no_binding(robot: Desk, words: tuple[str, ...], said: str) -> None:
    assert said in robot.fails("account", "certificate", "add", *words)


def test_only_robots_and_only_once(staffed: Desk) -> None:
    staffed.add(ROBOT, "--kind", "app", "--name", "Robot")
    words = ("account", "certificate", "add")
    assert "only robots" in staffed.fails(*words, DOCTOR, "--fingerprint", FINGERPRINT)
    staffed.does(*words, ROBOT, "--fingerprint", FINGERPRINT)
    assert "already" in staffed.fails(*words, ROBOT, "--fingerprint", FINGERPRINT)


# -- names in tokens ---------------------------------------------------------------------------------------------------


def with_issuer(desk: Desk) -> None:
    with desk.toml.open("a", encoding="utf-8") as file:
        file.write('\n[tokens]\nissuer = "https://id.example"\naudiences = ["mss"]\n')


def test_a_name_in_tokens_is_bound_listed_and_removed(staffed: Desk) -> None:
    assert "no issuer" in staffed.fails("account", "subject", "add", DOCTOR, "899700218896")
    with_issuer(staffed)
    staffed.does("account", "subject", "add", DOCTOR, "899700218896")
    assert "means an account already" in staffed.fails("account", "subject", "add", RECEPTION, "899700218896")
    listed = staffed.does("account", "subject", "list", DOCTOR)
    assert "https://id.example" in listed
    assert "899700218896" in listed
    assert "does not mean" in staffed.fails("account", "subject", "remove", RECEPTION, "899700218896")
    staffed.does("account", "subject", "remove", DOCTOR, "899700218896")
    assert "No name" in staffed.does("account", "subject", "list", DOCTOR)
    assert {"account.subject-add", "account.subject-remove"} <= set(actions(staffed))


@pytest.mark.parametrize(
    ("login", "name", "said"),
    [("dominique", "x", "webmail only"), ("nobody", "x", "no such login"), (DOCTOR, " ", "give the name")],
)
def test_what_is_no_name(staffed: Desk, login: str, name: str, said: str) -> None:
    with_issuer(staffed)
    assert said in staffed.fails("account", "subject", "add", login, name)


# -- delegations -------------------------------------------------------------------------------------------------------


def acts_for(desk: Desk, login: str) -> set[str]:
    account = desk.in_store(lambda store: store.read(lambda uow: uow.accounts.by_login(login)))
    assert account is not None
    found = desk.in_store(lambda store: store.read(accounts.boxes_of, account.id, system_clock()))
    return {access.box.address.spec for access in found}


def test_a_person_may_send_as_a_service_until_that_is_taken_back(staffed: Desk) -> None:
    staffed.add("paul@hopital.example", "--kind", "per", "--name", "Paul")
    tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"
    printed = staffed.does("account", "delegate", "add", "paul@hopital.example", RECEPTION, "--until", tomorrow)
    assert "ORG box, as member until" in printed
    assert RECEPTION in acts_for(staffed, "paul@hopital.example")
    listed = staffed.does("account", "delegate", "list", RECEPTION)
    assert [line.split()[:3] for line in listed.splitlines()[1:]] == [
        [RECEPTION, "owner", "for"],
        [DOCTOR, "member", "for"],
        ["paul@hopital.example", "member", listed.splitlines()[-1].split()[2]],
    ]
    staffed.does("account", "delegate", "remove", "paul@hopital.example", RECEPTION)
    assert acts_for(staffed, "paul@hopital.example") == {"paul@hopital.example"}
    assert "box.delegate-end" in actions(staffed)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", DOCTOR, RECEPTION, "--until", "2020-01-01"), "that day is over"),
        (("add", DOCTOR, RECEPTION, "--until", "soon"), "YYYY-MM-DD"),
        (("add", RECEPTION, RECEPTION), "owns the box"),
        (("add", DOCTOR, PATIENT), "cannot act for"),
        (("remove", RECEPTION, RECEPTION), "owns the box"),
        (("remove", "dominique", RECEPTION), "does not act"),
        (("remove", DOCTOR, "nobody@hopital.example"), "no box"),
        (("list", "nobody@hopital.example"), "no box"),
    ],
)
def test_what_is_no_delegation(staffed: Desk, words: tuple[str, ...], said: str) -> None:
    assert said in staffed.fails("account", "delegate", *words)


def test_an_ended_right_is_listed_as_such(staffed: Desk) -> None:
    def end(uow: Uow) -> None:
        account, box = uow.accounts.by_login(DOCTOR), uow.accounts.box_by_address(Address.parse(RECEPTION))
        assert account is not None
        assert box is not None
        yesterday = system_clock() - timedelta(days=1)
        uow.accounts.delegate(Delegation(account.id, box.id, DelegationKind.MEMBER, yesterday))

    staffed.in_store(lambda store: store.write(end))
    assert "(ended)" in staffed.does("account", "delegate", "list", RECEPTION)


@pytest.mark.parametrize(
    ("day", "end"),
    [("", None), ("2026-12-31", datetime(2027, 1, 1, tzinfo=UTC))],
)
def test_the_last_day_counts_whole(day: str, end: datetime | None) -> None:
    assert commands.end_of(day) == end


@pytest.mark.parametrize("day", ["x", "2026-13-01", "9999-12-31", "31/12/2026"])
def test_what_is_no_day(day: str) -> None:
    with pytest.raises(Malformed):
        commands.end_of(day)
