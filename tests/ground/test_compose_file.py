"""docker-compose.yml is looked over without an engine; each thing that it must not say is found."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from mss.config import Config, OperatorConfig
from mss.settings import parse
from tests.support import compose

FILE = compose.ROOT / "docker-compose.yml"
SMALL = compose.ROOT / "docker-compose.small.yml"
STORE = compose.ROOT / "deploy" / "store.toml"


def test_both_files_are_well() -> None:
    assert {path.name: compose.problems(path) for path in (FILE, SMALL)} == {FILE.name: [], SMALL.name: []}


@pytest.mark.parametrize(
    ("said", "instead", "problem"),
    [
        ("image: haproxy:3.0.11-alpine", "image: haproxy", "balancer: its image has no name with a tag"),
        ("image: haproxy:3.0.11-alpine", "image: haproxy:latest", "balancer: its image is whatever is latest"),
        ('user: "99:99"', 'user: "0:0"', "balancer: it runs as root"),
        ('user: "${MSS_UID:-10001}', 'user: "${MSS_UID:-0}', "node-1: it runs as root"),
        ("read_only: true\n  cap_drop: [ALL]\n  security_opt", "cap_drop: [ALL]\n  security_opt", "node-1: its root"),
        ("  cap_drop: [ALL]\n", "", "node-1: it keeps capabilities"),
        ('["no-new-privileges:true"]', "[]", "node-1: it may gain privileges"),
        ('"node-1-data:/etc/mss/data"', '"elsewhere:/etc/mss/data"', "node-1: volumes: there is no “elsewhere”"),
        ('"node-1-data:/etc/mss/data"', '"elsewhere:/etc/mss/data"', "volumes: nobody uses “node-1-data”"),
        ("ipv4_address: 172.31.25.2", "ipv4_address: 172.31.26.9", "balancer: its address is not"),
        ("{ipam: {config: [{subnet: 172.31.26.0/24}]}}", "{}", "balancer: its address is not"),
        ("secrets: [keys_password]", "secrets: [other]", "keys: secrets: there is no “other”"),
        ("networks: [figures]", "networks: [none]", "metrics: networks: there is no “none”"),
        ("./deploy/garage.toml:", "./deploy/absent.toml:", "s3: there is no file ./deploy/absent.toml"),
        ("keys: {condition: service_healthy}", "key: {condition: service_healthy}", "node-1: depends on “key”"),
        ('test: ["CMD", "clamdcheck.sh"]', "test: clamdcheck.sh", "antivirus: healthcheck: its test is no list"),
        ("start_period: 300s", "start_period: soon", "antivirus: healthcheck: start_period is no duration"),
        ("POSTGRES_PASSWORD_FILE: /run/secrets/keys_password", "POSTGRES_PASSWORD: x", "keys: the secret POSTGRES"),
        ('"25:2525"', '"25-2525"', "balancer: “25-2525” is no port"),
        ('"25:2525"', '"443:2525"', "the port :443 is given twice"),
        ("hostname: node-1", "host: node-1", "node-1: unknown key “host”"),
        ("services:\n", "servces:\n", "has no services"),
        ("x-node:", "node:", "unknown key “node”"),
        ("keys_password: {file:", "keys_password: {environment:", "secret keys_password is no file"),
    ],
)  # fmt: skip
def test_what_it_must_not_say_is_found(tmp_path: Path, said: str, instead: str, problem: str) -> None:
    text = FILE.read_text(encoding="utf-8")
    assert said in text
    (tmp_path / "deploy").symlink_to(compose.ROOT / "deploy")
    changed = tmp_path / "docker-compose.yml"
    changed.write_text(text.replace(said, instead, 1), encoding="utf-8")
    assert any(found.startswith(problem) or found.endswith(problem) for found in compose.problems(changed))
    assert compose.main([str(changed)]) == 1


@pytest.mark.parametrize("text", [None, "a: [", "- a", "services: []"])
def test_what_is_no_such_file_is_found(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "c.yml").write_text(text)
    assert len(compose.problems(tmp_path / "c.yml")) == 1


def test_the_lines_of_the_store_are_settings() -> None:
    head = '[operator]\nname = "a"\nhostname = "b"\n[[domains]]\nname = "c.example"\nkind = "professional"\n'
    config = parse(head + STORE.read_text(encoding="utf-8"), root=Path("/etc/mss"))
    assert isinstance(config, Config)
    assert isinstance(config.operator, OperatorConfig)
    services = yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"]
    for host in re.findall(r"(?:@|//)([a-z0-9]+)[:/]", STORE.read_text(encoding="utf-8")):
        assert host in services or host == "mss", host


def test_the_antivirus_that_the_nodes_ask_is_one_that_they_reach() -> None:
    host, _, port = tomllib.loads(STORE.read_text(encoding="utf-8"))["antivirus"]["clamd"].partition(":")
    services = yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"]
    assert port == "3310"
    assert set(services[host]["networks"]) & set(services["node-1"]["networks"])


def test_the_balancer_that_the_nodes_believe_is_the_one_that_says_who_comes() -> None:
    believed = tomllib.loads(STORE.read_text(encoding="utf-8"))["balancer"]["addresses"]
    balancer = yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"]["balancer"]
    assert believed == [place["ipv4_address"] for place in balancer["networks"].values()]
    assert "default-server send-proxy-v2 check" in (compose.ROOT / "deploy" / "haproxy.cfg").read_text(encoding="utf-8")


def test_the_secrets_of_the_store_are_where_the_nodes_get_them() -> None:
    store = tomllib.loads(STORE.read_text(encoding="utf-8"))["store"]
    node = yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"]["node-1"]
    targets = {one["target"] for one in node["secrets"]}
    named = {f"/etc/mss/{value}" for key, value in store.items() if key.endswith("_file")}
    assert named <= targets
    assert f"passfile={store['url'].partition('passfile=')[2]}".removeprefix("passfile=") in targets


def test_the_secrets_are_made_once_and_for_nobody_else_to_read(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    command = [str(compose.ROOT / "deploy" / "secrets"), str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == 0
    made = {path.name: path.read_text() for path in (tmp_path / "keys").iterdir()}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (tmp_path / "keys").iterdir())
    wanted = yaml.safe_load(FILE.read_text(encoding="utf-8"))["secrets"].values()
    files = {Path(one["file"]).name for one in wanted if "/keys/" in one["file"]}
    assert set(made) == files - {"master.key"}
    assert len(set(made.values())) == len(made)
    assert made["database.password"] in made["pgpass"]
    assert subprocess.run(command, check=False).returncode == 0
    assert made == {path.name: path.read_text() for path in (tmp_path / "keys").iterdir()}
