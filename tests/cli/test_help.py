"""Every command has a help with one sentence and one example, and every mishap is one line with an exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from mss.cli import app
from mss.commands import journal
from mss.errors import Conflict, Malformed, Misconfigured, Unavailable
from tests.cli.cli_world import Desk, one_line, typed

ROOT = Path(__file__).parents[2]
COMMANDS = {
    *("init", "serve", "check", "welcome", "account add", "account grant", "account list", "account passwd"),
    *("queue list", "queue show", "queue hold", "queue release", "queue retry", "queue bounce", "queue trace"),
    *("account oppose", "account import", "policy rules", "dossier list", "dossier show", "node list", "migrate"),
    *("account state", "policy explain", "directory import", "directory search", "operator list"),
    *(f"account {noun} {verb}" for noun in ("certificate", "subject") for verb in ("add", "list", "remove")),
    *("account quota", "mailbox expunged", "mailbox restore", "mailbox erase", "mailbox seen"),
    *("account delegate add", "account delegate list", "account delegate remove"),
    *(
        "operator show",
        "operator read",
        "operator history",
        "operator diff",
        "operator test",
        "audit list",
        "audit receipt",
        "audit verify",
        "audit about",
        "audit anchor",
        "audit export",
    ),
    *("dkim keygen", "dkim list", "keys rotate", "keys status", "keys backup", "keys restore"),
    *("store check", "backup", "restore", "export mailbox", "export dossier"),
    *(f"account {verb}" for verb in ("close", "reopen", "keep", "channel", "notices", "erase")),
    *("import maildir", "import mbox", "import imap"),
    *("xdm build", "xdm show"),
}


def _names(group: Any = None, prefix: str = "") -> list[str]:
    found: list[str] = []
    for name, command in vars(group or get_command(app))["commands"].items():
        found += _names(command, f"{prefix}{name} ") if hasattr(command, "commands") else [prefix + name]
    return found


# What takes long to import and what help has no use for: it waits for none of them.
HEAVY = {
    *("aiosmtpd", "alembic", "nacl", "asyncio", "cryptography", "jinja2", "lxml", "OpenSSL", "psycopg", "rich"),
    *("sqlalchemy", "ssl", "starlette", "structlog", "uvicorn", "uvloop"),
    *("mss.app", "mss.checkup", "mss.dossier", "mss.imap", "mss.instance", "mss.mail", "mss.pki", "mss.policy"),
    *("mss.services", "mss.smtp", "mss.store", "mss.tls", "mss.web", "mss.webmail"),
}


@pytest.mark.parametrize(
    "words", [["--help"], ["account", "add", "--help"], ["queue", "bounce", "--help"]], ids=" ".join
)
def test_help_imports_nothing_that_takes_long(words: list[str]) -> None:
    asked = (
        "import sys\n"
        "from mss.cli import app\n"
        "try:\n"
        f"    app({words!r}, prog_name='mss')\n"
        "finally:\n"
        "    print('imported:', *sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, check=True, capture_output=True, text=True)
    *said, imported = done.stdout.splitlines()
    assert said[0].startswith("Usage: mss")
    assert HEAVY & set(imported.split()) == set()


def test_every_line_of_the_first_help_is_whole() -> None:
    assert "..." not in typed("--help").stdout.replace("[ARGS]...", "")


def test_these_are_all_the_commands() -> None:
    assert set(_names()) == COMMANDS


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_says_what_it_does_and_gives_an_example(name: str) -> None:
    result = typed(*name.split(), "--help")
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    assert f"Usage: mss {name}" in text
    assert f"Example: mss {name}" in text


@pytest.mark.parametrize(
    "name",
    ["", "account", "queue", "policy", "directory", "operator", "dkim", "audit", "keys", "store", "import", "node"],
)
def test_a_group_alone_lists_its_commands(name: str) -> None:
    words = name.split()
    result = typed(*words, "--help")
    assert result.exit_code == 0
    prefix = f"{name} " if name else ""
    for command in (one.removeprefix(prefix) for one in COMMANDS if one.startswith(prefix)):
        assert command.split()[0] in result.stdout


@pytest.mark.parametrize(
    ("words", "said", "where"),
    [
        (("nothing",), "No such command 'nothing'", "mss --help"),
        (("--wrong",), "No such option: --wrong", "mss --help"),
        (("account", "nothing"), "No such command 'nothing'", "mss account --help"),
        (("account", "add"), "Missing argument 'ADDRESS_OR_LOGIN'", "mss account add --help"),
        (("account", "add", "x", "--kind", "dog"), "Invalid value for '--kind'", "mss account add --help"),
        (("audit", "list", "--limit", "0"), "Invalid value for '--limit'", "mss audit list --help"),
        (("audit", "list", "--limit", "10001"), "Invalid value for '--limit'", "mss audit list --help"),
        (("queue", "list", "--state", "lost"), "Invalid value for '--state'", "mss queue list --help"),
        (("welcome", "--to", "1", "--document", "x"), "Missing option '--from'", "mss welcome --help"),
    ],
)
def test_wrong_words_are_one_line_that_points_to_the_help(words: tuple[str, ...], said: str, where: str) -> None:
    result = typed(*words)
    assert result.exit_code == 2
    line = one_line(result)
    assert said in line
    assert f"see {where}" in line


@pytest.mark.parametrize("limit", ["1", "10000"])
def test_the_limits_of_a_list_are_inside(desk: Desk, limit: str) -> None:
    desk.does("audit", "list", "--limit", limit)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (Misconfigured("mend line 3"), 2, "mss: mend line 3"),
        (Malformed("not a thing"), 1, "mss: not a thing"),
        (Conflict("there already"), 1, "mss: there already"),
        (Unavailable("the store is away"), 1, "mss: the store is away: try again"),
        (FileNotFoundError(2, "No such file", "x.toml"), 1, "mss: No such file: x.toml"),
        (OSError("odd"), 1, "mss: OSError"),
    ],
)
def test_errors_that_we_know_are_one_line(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, said: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(journal, "newest", fail)
    result = desk.run("audit", "list")
    assert (result.exit_code, one_line(result)) == (code, said)


def _surprise(*_: object) -> None:
    raise KeyError("279035121518989@patient.example")


def test_a_surprise_gets_an_incident_number_and_shows_no_value(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "newest", _surprise)
    monkeypatch.delenv("MSS_DEBUG", raising=False)
    result = desk.run("audit", "list")
    assert result.exit_code == 1
    line = one_line(result)
    assert "incident " in line
    assert "KeyError at test_help.py:" in line
    assert "279035121518989" not in result.output


def test_a_surprise_can_be_looked_into(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "newest", _surprise)
    monkeypatch.setenv("MSS_DEBUG", "1")
    result = desk.run("audit", "list")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "incident " in result.stderr.splitlines()[-1]


def test_a_keyboard_interrupt_ends_quietly(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(journal, "newest", interrupted)
    result = desk.run("audit", "list")
    assert result.exit_code == 130
    assert "Traceback" not in result.output


def test_the_settings_may_be_named_by_the_environment(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSS_CONFIG", str(desk.toml))
    assert typed("audit", "list").exit_code == 0


def test_the_settings_are_looked_for_here(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MSS_CONFIG", raising=False)
    monkeypatch.chdir(desk.folder)
    assert typed("audit", "list").exit_code == 0
