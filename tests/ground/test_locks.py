"""The lock files: complete, pinned by hash, and silent about where packages come from."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock")
NPM_LOCK = "tests/imap/npm/package-lock.json"
_PIN = re.compile(r"^([a-z0-9][a-z0-9.-]*)==([^ \\]+)", re.MULTILINE)


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _pins(lock: str) -> dict[str, str]:
    return dict(_PIN.findall((ROOT / lock).read_text(encoding="utf-8")))


@pytest.mark.parametrize("lock", [*LOCKS, "requirements-fuzz.lock", NPM_LOCK])
def test_a_lock_names_no_registry(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert not re.search(r"https?:|file:|--(?:extra-)?index-url|--find-links", text)


@pytest.mark.parametrize("lock", [*LOCKS, "requirements-fuzz.lock"])
def test_every_pin_carries_hashes(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=\S)", text.strip())
    assert len(blocks) == len(_pins(lock))
    assert not [block for block in blocks if "--hash=sha256:" not in block]


def test_every_package_from_npm_carries_its_hash() -> None:
    packages = json.loads((ROOT / NPM_LOCK).read_text(encoding="utf-8"))["packages"]
    assert all(package["integrity"].startswith("sha512-") for name, package in packages.items() if name)
    assert len(packages) > 1


@pytest.mark.parametrize("lock", LOCKS)
def test_every_dependency_is_locked_at_a_version_that_fits(lock: str) -> None:
    wanted = list(_project()["project"]["dependencies"])
    if lock == "requirements-dev.lock":
        wanted += [line for group in _project()["dependency-groups"].values() for line in group]
    pins = _pins(lock)
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{name} is in pyproject.toml but not in {lock}: type make lock"
        assert requirement.specifier.contains(pins[name]), f"{lock} does not fit pyproject.toml: type make lock"


def test_the_tests_run_what_an_operator_installs() -> None:
    everything = _pins("requirements-dev.lock")
    assert {name: everything.get(name) for name in _pins("requirements.lock")} == _pins("requirements.lock")


def test_no_test_client_is_installed_at_an_operator() -> None:
    # aioimaplib is under the GPL: it reads our mailboxes in the journeys and is never shipped.
    assert not {"aioimaplib", "pytest", "hypothesis", "playwright"} & set(_pins("requirements.lock"))


def test_the_set_up_finds_uv_in_the_lock() -> None:
    assert "uv" in _pins("requirements-dev.lock")
