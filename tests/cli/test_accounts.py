"""`mss account`: what is created together, what is refused, what is shown."""

from __future__ import annotations

import re

import pytest

from mss import passwords
from mss.clock import system_clock
from mss.commands import accounts as commands
from mss.errors import Malformed
from mss.model.account import Account, AccountKind, Box, BoxState, DelegationKind
from mss.model.address import Address
from mss.model.ins import INS, OID_NIR, OID_NIR_TEST
from mss.model.party import BoxKind
from mss.services import accounts
from tests.cli.cli_world import (
    DOCTOR,
    MATRICULE,
    OTHER_MATRICULE,
    PASSWORD,
    PATIENT,
    RECEPTION,
    TRAITS,
    Desk,
    patient_words,
)


def box_of(desk: Desk, address: str) -> Box | None:
    return desk.in_store(lambda store: store.read(accounts.box_by_address, Address.parse(address), system_clock()))


def account_of(desk: Desk, login: str) -> Account | None:
    return desk.in_store(lambda store: store.read(lambda uow: uow.accounts.by_login(login)))


def acts_for(desk: Desk, login: str) -> dict[str, DelegationKind]:
    account = account_of(desk, login)
    assert account is not None
    found = desk.in_store(lambda store: store.read(accounts.boxes_of, account.id, system_clock()))
    return {access.box.address.spec: access.kind for access in found}


@pytest.mark.parametrize(
    ("kind", "box_kind", "account_kind"),
    [
        ("per", BoxKind.PER, AccountKind.PROFESSIONAL),
        ("org", BoxKind.ORG, AccountKind.PROFESSIONAL),
        ("app", BoxKind.APP, AccountKind.APPLICATION),
    ],
)
def test_a_professional_account_comes_with_its_box(
    desk: Desk, kind: str, box_kind: BoxKind, account_kind: AccountKind
) -> None:
    printed = desk.does("account", "add", "Labo@Hopital.example", "--kind", kind, "--name", "Labo", "--red-list")
    box, account = box_of(desk, "labo@hopital.example"), account_of(desk, "labo@hopital.example")
    assert box is not None
    assert account is not None
    assert (box.kind, box.state, box.display_name, box.red_list) == (box_kind, BoxState.OPEN, "Labo", True)
    assert (account.kind, account.display_name) == (account_kind, "Labo")
    assert acts_for(desk, "labo@hopital.example") == {"Labo@hopital.example": DelegationKind.OWNER}
    assert f"kind {box_kind} (open)" in printed


def test_a_password_is_made_and_shown_once(desk: Desk) -> None:
    printed = desk.does("account", "add", RECEPTION, "--kind", "org", "--name", "Accueil")
    match = re.search(r"shown this once: ([a-z2-9]{5}(?:-[a-z2-9]{5}){3})$", printed, re.MULTILINE)
    assert match
    account = account_of(desk, RECEPTION)
    assert account is not None
    assert passwords.verify(account.password_hash, match.group(1))
    assert match.group(1) not in desk.does("account", "list", "--addresses")


def test_made_passwords_differ_and_are_strong() -> None:
    made = {commands.new_password() for _ in range(50)}
    assert len(made) == 50
    for password in made:
        passwords.check_strength(password)


def test_a_given_password_is_not_printed(desk: Desk) -> None:
    printed = desk.add(RECEPTION, "--kind", "org", "--name", "Accueil")
    account = account_of(desk, RECEPTION)
    assert account is not None
    assert passwords.verify(account.password_hash, PASSWORD)
    assert PASSWORD not in printed


@pytest.mark.parametrize("given", ["", "short", "aaaaaaaaaaaaaaa"])
def test_a_weak_password_is_refused_and_nothing_is_made(desk: Desk, given: str) -> None:
    words = ("account", "add", RECEPTION, "--kind", "org", "--name", "Accueil", "--password-stdin")
    assert "a password needs" in desk.fails(*words, stdin=given + "\n")
    assert box_of(desk, RECEPTION) is None


def test_a_patient_gets_an_unopened_box_under_the_matricule(desk: Desk) -> None:
    printed = desk.add("dominique", *patient_words())
    box, account = box_of(desk, PATIENT), account_of(desk, "dominique")
    assert box is not None
    assert account is not None
    assert (box.kind, box.state, box.traits) == (BoxKind.PATIENT, BoxState.UNOPENED, TRAITS)
    assert box.ins == INS(MATRICULE, OID_NIR_TEST)
    assert box.display_name == "Dominique PAT-TROIS"
    assert account.kind is AccountKind.PATIENT
    assert MATRICULE not in printed


def test_a_patient_s_whole_address_may_be_written(desk: Desk) -> None:
    desk.add("dominique", *patient_words(PATIENT))
    assert box_of(desk, PATIENT) is not None


@pytest.mark.parametrize("oid", ["nir", OID_NIR])
def test_the_authority_is_given_by_name_or_oid(desk: Desk, oid: str) -> None:
    desk.add("dominique", *patient_words(oid=oid))
    box = box_of(desk, PATIENT)
    assert box is not None
    assert box.ins == INS(MATRICULE, OID_NIR)


def test_test_identities_are_refused_in_production(desk: Desk) -> None:
    desk.change("test_identities = true", "test_identities = false")
    words = ("account", "add", "dominique", *patient_words())
    assert "test_identities is false" in desk.fails(*words)
    desk.add("dominique", *patient_words(oid="nir"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("accueil", "--kind", "org", "--name", "A"), "its mail address"),
        (("a@region.example", "--kind", "per", "--name", "A"), "it hosts: hopital.example"),
        (("a@patient.example", "--kind", "per", "--name", "A"), "no professional domain"),
        ((RECEPTION, "--kind", "org"), "give --name"),
        ((RECEPTION, "--kind", "org", "--name", "accueil@hopital.example"), "give --name"),
        ((RECEPTION, "--kind", "org", "--name", "A", "--box", "x"), "--box is no mail address"),
        ((RECEPTION, "--kind", "org", "--name", "A", "--box", "x@hopital.example"), "no box of ours"),
        (("d", "--kind", "patient"), "matricule INS, once"),
        (("d", "--kind", "patient", "--box", MATRICULE, "--box", OTHER_MATRICULE), "matricule INS, once"),
        (("d", "--kind", "patient", "--box", "279035121518988"), "the key of the matricule INS is wrong"),
        (("d", "--kind", "patient", "--box", "123"), "not a matricule INS"),
        (("d", "--kind", "patient", "--box", MATRICULE, "--ins-oid", "1.2.3"), "names no INS authority"),
        (("d", "--kind", "patient", "--box", f"{MATRICULE}@hopital.example"), "no patient domain"),
        (("d", "--kind", "patient", "--box", MATRICULE), "give --name, or --birth-name"),
        (("d e", *patient_words()), "without spaces"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_reason(desk: Desk, words: tuple[str, ...], said: str) -> None:
    line = desk.fails("account", "add", *words)
    assert said in line
    assert MATRICULE not in line


def test_a_bare_matricule_needs_one_patient_domain(desk: Desk) -> None:
    desk.change('name = "patient.example"\nkind = "patient"', 'name = "patient.example"\nkind = "professional"')
    assert "whole address" in desk.fails("account", "add", "d", *patient_words())


def test_a_login_is_created_once(staffed: Desk) -> None:
    line = staffed.fails("account", "add", RECEPTION, "--kind", "org", "--name", "Accueil")
    assert "the login exists already" in line


def test_a_box_that_is_there_gets_a_further_account(staffed: Desk) -> None:
    printed = staffed.add("dominique-2", *patient_words())
    assert "for the box that was there" in printed
    assert acts_for(staffed, "dominique-2") == {PATIENT: DelegationKind.OWNER}


def test_the_kind_of_a_box_never_changes(desk: Desk) -> None:
    new = accounts.NewBox(Address.own(RECEPTION), BoxKind.ORG, "Accueil")
    desk.in_store(lambda store: store.write(accounts.create_box, new, "test", system_clock()))
    assert "kind ORG already" in desk.fails("account", "add", RECEPTION, "--kind", "app", "--name", "Accueil")
    assert account_of(desk, RECEPTION) is None


def test_a_failure_leaves_nothing_half_made(desk: Desk) -> None:
    desk.fails("account", "add", DOCTOR, "--kind", "per", "--name", "Dr", "--box", "none@hopital.example")
    assert box_of(desk, DOCTOR) is None
    assert account_of(desk, DOCTOR) is None


def test_accounts_join_shared_boxes(staffed: Desk) -> None:
    assert acts_for(staffed, DOCTOR) == {DOCTOR: DelegationKind.OWNER, RECEPTION: DelegationKind.MEMBER}


# Grant ------------------------------------------------------------------------------------------------------------


def test_a_member_is_granted_a_shared_box(staffed: Desk) -> None:
    staffed.add("paul@hopital.example", "--kind", "per", "--name", "Paul MARTIN")
    printed = staffed.does("account", "grant", "paul@hopital.example", RECEPTION)
    assert "ORG box, as member" in printed
    assert acts_for(staffed, "paul@hopital.example")[RECEPTION] is DelegationKind.MEMBER


@pytest.mark.parametrize("kind", ["legal-representative", "caregiver"])
def test_a_patient_is_represented(staffed: Desk, kind: str) -> None:
    staffed.add("alex", *patient_words(OTHER_MATRICULE))
    staffed.does("account", "grant", "alex", PATIENT, "--as", kind)
    assert acts_for(staffed, "alex")[PATIENT] == kind


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nobody", RECEPTION), "no such login"),
        ((DOCTOR, "nowhere@hopital.example"), "no box of ours"),
        ((DOCTOR, "nowhere"), "no mail address"),
        ((DOCTOR, PATIENT), "cannot act for a patient box"),
        (("dominique", RECEPTION), "cannot act for a ORG box"),
        (("dominique", PATIENT), "“member” is not for patient accounts"),
        ((DOCTOR, RECEPTION, "--as", "caregiver"), "“caregiver” is not for professional accounts"),
    ],
)
def test_what_cannot_be_granted(staffed: Desk, words: tuple[str, ...], said: str) -> None:
    assert said in staffed.fails("account", "grant", *words)


# List, password, state --------------------------------------------------------------------------------------------


def test_the_list_hides_patients_unless_asked(staffed: Desk) -> None:
    printed = staffed.does("account", "list")
    assert re.search(rf"^{re.escape(DOCTOR)} +professional +Dr Marie DURAND +no ", printed, re.MULTILINE)
    assert f"{RECEPTION} (ORG, open, member)" in printed
    assert "at patient.example (patient, unopened, owner)" in printed
    assert MATRICULE not in printed
    assert f"{PATIENT} (patient, unopened, owner)" in staffed.does("account", "list", "--addresses")


def test_an_empty_list_says_what_to_do(desk: Desk) -> None:
    assert "mss account add --help" in desk.does("account", "list")


def test_a_password_is_changed(staffed: Desk) -> None:
    printed = staffed.does("account", "passwd", DOCTOR)
    account = account_of(staffed, DOCTOR)
    assert account is not None
    assert passwords.verify(account.password_hash, printed.rpartition(": ")[2].strip())
    assert not passwords.verify(account.password_hash, PASSWORD)


def test_a_password_is_changed_to_a_given_one(staffed: Desk) -> None:
    staffed.does("account", "passwd", DOCTOR, "--password-stdin", stdin="another long password\r\n")
    account = account_of(staffed, DOCTOR)
    assert account is not None
    assert passwords.verify(account.password_hash, "another long password")


def test_nobody_s_password_cannot_be_changed(desk: Desk) -> None:
    assert "no such login" in desk.fails("account", "passwd", "nobody")


@pytest.mark.parametrize("state", list(BoxState))
def test_a_patient_s_box_takes_every_state(staffed: Desk, state: BoxState) -> None:
    printed = staffed.does("account", "state", PATIENT, state.value)
    assert printed == f"The patient box was unopened and is now {state}.\n"
    box = box_of(staffed, PATIENT)
    assert box is not None
    assert box.state is state


@pytest.mark.parametrize(("state", "code"), [("open", 0), ("closed", 0), ("opposed", 1), ("unopened", 1)])
def test_a_professional_box_is_open_or_closed(staffed: Desk, state: str, code: int) -> None:
    assert staffed.run("account", "state", RECEPTION, state).exit_code == code


def test_the_state_of_nobody_s_box(desk: Desk) -> None:
    assert "no box of ours" in desk.fails("account", "state", RECEPTION, "closed")


def test_what_was_done_is_in_the_journal(staffed: Desk) -> None:
    printed = staffed.does("audit", "list")
    for action in ("box.create", "account.create", "box.delegate"):
        assert re.search(rf"cli:uid\d+ +{re.escape(action)} ", printed)


def test_the_library_says_why_too(desk: Desk) -> None:
    with pytest.raises(Malformed, match="12 characters"):
        commands.hashed("short")
