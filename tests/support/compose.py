"""Looks over docker-compose.yml without an engine: what it names exists, what it promises about containers holds.

`python -m tests.support.compose [FILE]` prints what is wrong; `make compose-check` does that.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
_TOP: Final = frozenset({"name", "services", "networks", "volumes", "secrets"})
_SERVICE: Final = frozenset({
    "build", "cap_drop", "command", "depends_on", "environment", "healthcheck", "hostname", "image", "init", "logging",
    "mem_limit", "networks", "pids_limit", "ports", "read_only", "restart", "secrets", "security_opt", "shm_size",
    "stop_grace_period", "tmpfs", "user", "volumes",
})  # fmt: skip
_HEALTH: Final = frozenset({"test", "interval", "timeout", "start_period", "retries"})
_CONDITIONS: Final = frozenset({"service_healthy", "service_started", "service_completed_successfully"})
_IMAGE: Final = re.compile(r"(?P<name>[a-z0-9][a-z0-9._/-]*):(?P<tag>[A-Za-z0-9_][\w.-]*)\Z")
_PORT: Final = re.compile(r"(?:(?P<host>[\d.]+):)?(?P<outside>\d+):(?P<inside>\d+)\Z")
_DURATION: Final = re.compile(r"\d+(?:ms|s|m|h)\Z")
_SECRET_NAME: Final = re.compile(r"(?i)password|secret|token|key")


def problems(path: Path) -> list[str]:
    """Return what is wrong with a file; nothing when it is well."""
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        return [f"{path.name} cannot be read: {type(error).__name__}"]
    if not isinstance(loaded, dict) or not isinstance(loaded.get("services"), dict):
        return [f"{path.name} has no services"]
    return list(_problems(loaded, path.parent))


def _problems(loaded: dict[str, Any], root: Path) -> Iterator[str]:
    for key in loaded:
        if key not in _TOP and not str(key).startswith("x-"):
            yield f"unknown key “{key}”"
    services = loaded["services"]
    for name, service in services.items():
        for problem in _service(service, loaded, root):
            yield f"{name}: {problem}"
    for kind in ("networks", "volumes", "secrets"):
        used = {one for service in services.values() for one in _used(service, kind)}
        for unused in sorted(set(loaded.get(kind) or {}) - used):
            yield f"{kind}: nobody uses “{unused}”"
    for name, secret in (loaded.get("secrets") or {}).items():
        if set(secret) != {"file"}:
            yield f"secret {name} is no file"
    taken = [_PORT.sub(r"\g<host>:\g<outside>", port) for one in services.values() for port in one.get("ports", ())]
    for port in sorted({port for port in taken if taken.count(port) > 1}):
        yield f"the port {port} is given twice"


def _service(service: Mapping[str, Any], loaded: Mapping[str, Any], root: Path) -> Iterator[str]:
    for key in sorted(set(service) - _SERVICE):
        yield f"unknown key “{key}”"
    yield from _image(service)
    yield from _bounds(service)
    yield from _health(service.get("healthcheck"))
    for kind in ("networks", "volumes", "secrets"):
        for one in sorted(_used(service, kind) - set(loaded.get(kind) or {})):
            yield f"{kind}: there is no “{one}”"
    yield from _places(service, loaded)
    for source in _sources(service):
        if source.startswith("./") and not (root / source).exists():
            yield f"there is no file {source}"
    for other, how in (service.get("depends_on") or {}).items():
        target = loaded["services"].get(other)
        if target is None or how.get("condition") not in _CONDITIONS:
            yield f"depends on “{other}”, which is no service, or in no known way"
        elif how["condition"] == "service_healthy" and "healthcheck" not in target:
            yield f"waits for the health of “{other}”, which has no check"
    for port in service.get("ports", ()):
        if not _PORT.match(port):
            yield f"“{port}” is no port"


def _places(service: Mapping[str, Any], loaded: Mapping[str, Any]) -> Iterator[str]:
    """Find addresses that do not lie in their networks."""
    networks = service.get("networks", ())
    for name, place in networks.items() if isinstance(networks, dict) else ():
        ranges = (loaded.get("networks") or {}).get(name, {}).get("ipam", {}).get("config", ())
        if not any(ip_address(place["ipv4_address"]) in ip_network(one["subnet"]) for one in ranges):
            yield f"its address is not one of the network {name}"


def _image(service: Mapping[str, Any]) -> Iterator[str]:
    found = _IMAGE.match(str(service.get("image", "")))
    if found is None:
        yield "its image has no name with a tag"
    elif found["tag"] == "latest":
        yield "its image is whatever is latest"


def _bounds(service: Mapping[str, Any]) -> Iterator[str]:
    user = str(service.get("user", ""))
    if not user or re.match(r"(?:\$\{\w+:-)?(?:0|root)\b", user):
        yield "it runs as root"
    if service.get("read_only") is not True:
        yield "its root can be written"
    if service.get("cap_drop") != ["ALL"]:
        yield "it keeps capabilities"
    if service.get("security_opt") != ["no-new-privileges:true"]:
        yield "it may gain privileges"
    for name, value in (service.get("environment") or {}).items():
        if _SECRET_NAME.search(name) and not (name.endswith("_FILE") and str(value).startswith("/run/secrets/")):
            yield f"the secret {name} stands in its environment"


def _health(check: Mapping[str, Any] | None) -> Iterator[str]:
    if check is None:
        yield "nobody sees whether it is well: no healthcheck"
        return
    for key in sorted(set(check) - _HEALTH):
        yield f"healthcheck: unknown key “{key}”"
    test = check.get("test")
    if not isinstance(test, list) or len(test) < 2 or test[0] != "CMD":
        yield "healthcheck: its test is no list that begins with CMD"
    for key in ("interval", "timeout", "start_period"):
        if key in check and not _DURATION.match(str(check[key])):
            yield f"healthcheck: {key} is no duration"


def _used(service: Mapping[str, Any], kind: str) -> set[str]:
    if kind == "volumes":
        return {source for source in _sources(service) if source[:1] not in (".", "/", "$")}
    return {one["source"] if isinstance(one, dict) else one for one in service.get(kind, ())}


def _sources(service: Mapping[str, Any]) -> list[str]:
    # A default of a variable holds a colon, too.
    return [re.split(r":(?!-)", volume)[0] for volume in service.get("volumes", ())]


def main(arguments: list[str]) -> int:
    """Print what is wrong with each file; returns the exit code."""
    code = 0
    for path in [Path(one) for one in arguments] or sorted(ROOT.glob("docker-compose*.yml")):
        found = problems(path)
        code = code or bool(found)
        print("\n".join(f"{path.name}: {problem}" for problem in found) or f"{path.name}: well")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
