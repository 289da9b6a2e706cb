"""What Dockerfile and docker-compose.small.yml promise: pinned, not root, read-only, no secret in an environment."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mss.config import BASE_PORT, StoreConfig, TlsConfig
from mss.instance import PORTS as INSIDE

ROOT = Path(__file__).parents[2]
INSTANCE = "${MSS_INSTANCE:-./instance}"
WORLD = {"25": "mx", "587": "submission", "465": "submissions", "143": "imap", "993": "imaps", "443": "webmail"}
PORTS = {port: str(BASE_PORT + INSIDE[door]) for port, door in WORLD.items()}
OPERATOR_PORT = str(BASE_PORT + INSIDE["ops"])
LIVES = ["mss", "check", "--live", "-c", "/etc/mss/mss.toml"]


def _instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions, continued lines joined."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line.strip() for line in text.splitlines()]
    return [(word, rest) for line in lines if line and line[0] != "#" for word, _, rest in [line.partition(" ")]]


def _last_stage() -> list[tuple[str, str]]:
    instructions = _instructions()
    start = max(number for number, (word, _) in enumerate(instructions) if word == "FROM")
    return instructions[start:]


def _values(word: str) -> list[str]:
    return [rest for name, rest in _last_stage() if name == word]


def _compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.small.yml").read_text(encoding="utf-8"))
    return loaded


def _operator() -> dict[str, Any]:
    service: dict[str, Any] = _compose()["services"]["operator"]
    return service


def test_the_image_is_built_in_stages_from_a_named_python() -> None:
    bases = [rest.partition(" ")[0] for word, rest in _instructions() if word == "FROM"]
    assert bases == ["python:3.11-slim-bookworm"] * 2


def test_the_image_installs_nothing_that_is_not_pinned_by_hash() -> None:
    commands = [part for word, rest in _instructions() if word == "RUN" for part in rest.split("&&")]
    fetching = [part.split() for part in commands if re.search(r"\bpip (?:install|wheel)\b", part)]
    assert fetching
    for command in fetching:
        assert "--require-hashes" in command or "--no-deps" in command, command


def test_the_image_is_made_of_files_that_exist() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    for word, rest in _instructions():
        if word == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source}" in ignored, source


def test_the_program_does_not_run_as_root() -> None:
    assert _values("USER") == ["10001:10001"]
    assert "10001" in _operator()["user"]


def test_the_image_serves_the_mounted_instance() -> None:
    assert json.loads(_values("ENTRYPOINT")[0]) == ["mss"]
    assert json.loads(_values("CMD")[0]) == ["serve", "-c", "/etc/mss/mss.toml"] == _operator()["command"]


def test_both_say_how_to_know_that_it_lives() -> None:
    assert json.loads(_values("HEALTHCHECK")[0].partition(" CMD ")[2]) == LIVES
    assert _operator()["healthcheck"]["test"] == ["CMD", *LIVES]


def test_every_door_is_open_and_the_operator_port_only_to_this_machine() -> None:
    ports = _operator()["ports"]
    assert dict(port.split(":") for port in ports if port.count(":") == 1) == PORTS
    assert [port for port in ports if port.count(":") == 2] == [f"127.0.0.1:{OPERATOR_PORT}:{OPERATOR_PORT}"]
    assert set(_values("EXPOSE")[0].split()) == {*PORTS.values(), OPERATOR_PORT}


def test_the_container_can_change_nothing_but_data_and_keys() -> None:
    operator = _operator()
    assert operator["read_only"] is True
    assert operator["cap_drop"] == ["ALL"]
    assert "cap_add" not in operator
    assert "privileged" not in operator
    assert operator["security_opt"] == ["no-new-privileges:true"]
    mounts = {volume.removeprefix(INSTANCE) for volume in operator["volumes"]}
    assert {mount for mount in mounts if not mount.endswith(":ro")} == {"/data:/etc/mss/data", "/keys:/etc/mss/keys"}
    assert "/certs:/etc/mss/certs:ro" in mounts


@pytest.mark.parametrize(
    ("secret", "field_default"),
    [("master_key", StoreConfig().master_key_file), ("operator_key", TlsConfig().key_file)],
)
def test_secrets_are_files_where_the_settings_look_for_them(secret: str, field_default: Path) -> None:
    compose = _compose()
    assert compose["secrets"][secret]["file"] == f"{INSTANCE}/{field_default}"
    targets = {item["source"]: item["target"] for item in _operator()["secrets"]}
    assert targets[secret] == f"/etc/mss/{field_default}"


def test_no_secret_is_given_by_environment() -> None:
    assert not {"environment", "env_file"} & set(_operator())
    assert not re.search(r"(?i)password|secret|token", " ".join(_values("ENV")))


def test_what_the_store_keeps_by_default_is_mounted_writable() -> None:
    store = StoreConfig()
    kept = [store.url.removeprefix("sqlite:///"), store.keys_url.removeprefix("sqlite:///"), str(store.blobs_dir)]
    assert {Path(path).parts[0] for path in kept} == {"data", "keys"}
