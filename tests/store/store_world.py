"""A migrated store to copy for each test, on both engines, and the people who live in it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mss.config import Config, DomainConfig, Limits, OperatorConfig, StoreConfig
from mss.model.account import Account, AccountKind, Box, Delegation, DelegationKind
from mss.model.address import Address, parse_domain
from mss.model.ins import INS, OID_NIR, Traits
from mss.model.party import BoxKind
from mss.services import accounts
from mss.store import store as stores
from mss.store.store import Store, Uow

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
PATIENTS = parse_domain("patient.mssante.test")
CLINIC = parse_domain("clinic.mssante.test")
HOSPITAL = parse_domain("chu.mssante.test")
REGION = parse_domain("region.mssante.test")
MATRICULE, OTHER_MATRICULE = "279035121518989", "277076322082910"
TRAITS = Traits("PAT-TROIS", "DOMINIQUE", "19790328", "F")
OTHER_TRAITS = Traits("CORSE", "ANGE", "19770714", "F")


def later(**pauses: float) -> datetime:
    """Return the tests' instant, so much later."""
    return NOW + timedelta(**pauses)


def config_in(folder: Path, url: str = "sqlite:///data/store.sqlite", **limits: Any) -> Config:
    """Return an operator that hosts patients and a clinic, its store in a folder."""
    return Config(
        operator=OperatorConfig("ours", "mx.patient.mssante.test"),
        domains=(DomainConfig(PATIENTS, "patient"), DomainConfig(CLINIC, "professional")),
        store=StoreConfig(url=url, inline_max_octets=8 * 1024, writers=4, readers=2),
        limits=replace(Limits(), **limits),
        root=folder,
    )


def driver(uow: Uow) -> Any:
    """Return the driver's own connection below a unit."""
    return uow._connection.connection.driver_connection


def make_template(folder: Path) -> Path:
    """Create a store in a folder, to be copied."""
    stores.create(config_in(folder), lambda: NOW)
    return folder


def copy_template(template: Path, folder: Path) -> Path:
    """Give a test its own store: tables and keys."""
    shutil.copytree(template, folder, dirs_exist_ok=True)
    return folder


async def patient_box(store: Store, matricule: str = MATRICULE, **more: Any) -> Box:
    """Create a patient's box."""
    new = accounts.NewBox(
        Address(matricule, PATIENTS),
        BoxKind.PATIENT,
        more.pop("display_name", "Dominique PAT-TROIS"),
        ins=INS(matricule, more.pop("oid", OID_NIR)),
        traits=more.pop("traits", TRAITS if matricule == MATRICULE else OTHER_TRAITS),
        **more,
    )
    return await store.write(accounts.create_box, new, "cli", NOW)


async def clinic_box(store: Store, local: str = "doctor", **more: Any) -> Box:
    """Create a professional's box."""
    more.setdefault("display_name", f"Dr {local.title()}")
    new = accounts.NewBox(Address(local, CLINIC), more.pop("kind", BoxKind.PER), **more)
    return await store.write(accounts.create_box, new, "cli", NOW)


async def account_for(store: Store, box: Box, kind: DelegationKind = DelegationKind.OWNER, login: str = "") -> Account:
    """Create an account that may act for a box."""
    what = AccountKind.PATIENT if box.kind is BoxKind.PATIENT else AccountKind.PROFESSIONAL
    name = login or f"{kind}-{box.address.key}"
    account = await store.write(accounts.create_account, name, what, box.display_name, "hash", "cli", NOW)
    await store.write(accounts.delegate, Delegation(account.id, box.id, kind), "cli", NOW)
    return account
