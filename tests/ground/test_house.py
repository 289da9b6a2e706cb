"""The house's rules that no linter knows: sizes, docstrings, where packages are named, what files may not say."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINES_MAX = 500
FUNCTION_LINES_MEDIAN_MAX = 9

# Each third-party package is named in one module, so that replacing it is a day's work. These are the packages
# that cannot be: a path ending with a slash is a whole room.
NAMED_IN = {
    "alembic": ("store/",),
    "cryptography": (
        "commands/certifying.py",
        "commands/peering.py",
        "commands/signatures.py",
        "ocsp.py",
        "pki.py",
        "revocation.py",
        "robots.py",
        "seal.py",
        "store/",
        "tls.py",
        "xmlsig.py",
    ),
    "psycopg": ("store/",),
    "sqlalchemy": ("store/",),
    "typer": ("cli.py", "commands/"),
    "starlette": ("app.py", "console/", "directory/", "fhir/", "web.py", "web/", "webmail/"),
}

# A door's error map, a loop's supervisor, and the place that builds everything.
MAY_CATCH_ALL = re.compile(
    r"app\.py|cli\.py|web\.py|web/\w+\.py|signin\.py|(upkeep|presence|notify)\.py|store/(store|wakeup|notices|writer|server_writers)\.py"
    r"|smtp/(esmtp|verbs|mx|submission|relay|recorder)\.py|imap/(server|handlers|session)\.py"
    r"|(webmail|console)/app\.py|directory/refresh\.py|watch\.py|hl7/desk\.py"
)

# The expressions are written so that this file does not match them itself.
MACHINE_PATH = re.compile(r"(?<![\w.*])/(?:work|root|home|tmp)/[\w.]")
REGISTRY_HOST = re.compile(
    r"pythonhosted\.org|pypi\.org/simple|registry\.(?:npmjs|yarnpkg)\.|(?:deb|security)\.debian\.org|proxy\.golang\.org"
)


def _modules() -> list[Path]:
    return sorted((ROOT / "mss").rglob("*.py"))


def _name(path: Path) -> str:
    return path.relative_to(ROOT / "mss").as_posix()


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _files_in_git() -> list[Path]:
    """Return what git holds or would hold: tracked files and new ones that are not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in _files_in_git()
        for pattern in (MACHINE_PATH, REGISTRY_HOST)
        if (match := pattern.search(path.read_text(encoding="utf-8", errors="ignore")))
    ]
    assert not found


def test_limits_are_made_by_the_configuration() -> None:
    """Elsewhere they are handed on; a value made on the spot would forget what the operator configured."""
    made = re.compile(r"(?<!: Limits = )\bLimits\(\)")
    found = [
        f"{_name(path)}: {line.strip()}"
        for path in _modules()
        for line in path.read_text(encoding="utf-8").splitlines()
        if made.search(line)
    ]
    # A pure room's own default, for callers without a configuration.
    allowed = {"dossier/cda.py", "mail/structure.py"}
    assert [line for line in found if line.partition(":")[0] not in allowed] == []


def test_no_key_is_in_git() -> None:
    private = re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s+[A-Za-z0-9+/]{40}")
    assert not [path for path in _files_in_git() if private.search(path.read_bytes())]


def test_no_module_is_too_long() -> None:
    # A migration is a list of tables, and is never changed once it is in the field.
    modules = (path for path in _modules() if "versions" not in path.parts)
    lengths = {_name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in modules}
    assert not {name: length for name, length in lengths.items() if length > LINES_MAX}


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_half_of_the_functions_are_short() -> None:
    lengths = [(node.end_lineno or 0) - node.lineno + 1 for path in _modules() for node in _functions(_tree(path))]
    assert statistics.median(lengths) <= FUNCTION_LINES_MEDIAN_MAX


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_each_third_party_package_is_named_in_one_module() -> None:
    named: dict[str, set[str]] = defaultdict(set)
    for path in _modules():
        for package in set(_imported(_tree(path))) - sys.stdlib_module_names - {"mss"}:
            if not _name(path).startswith(NAMED_IN.get(package, ("nowhere",))):
                named[package].add(_name(path))
    strays = {package: sorted(where) for package, where in named.items() if package in NAMED_IN or len(where) > 1}
    assert not strays, "name a package in one module, or add its rooms to NAMED_IN"


def _catches_all(tree: ast.AST) -> bool:
    return any(
        isinstance(node, ast.ExceptHandler)
        and (node.type is None or _is_catch_all(node.type))
        and not _passes_on(node.body[-1])
        for node in ast.walk(tree)
    )


def _passes_on(last: ast.stmt) -> bool:
    """Return whether a handler ends in a bare `raise`: it tidies up and hides nothing."""
    return isinstance(last, ast.Raise) and last.exc is None


def _is_catch_all(caught: ast.expr) -> bool:
    if isinstance(caught, ast.Tuple):
        return any(map(_is_catch_all, caught.elts))
    return isinstance(caught, ast.Name) and caught.id in {"Exception", "BaseException"}


def test_only_error_maps_and_supervisors_catch_everything() -> None:
    catching = [_name(path) for path in _modules() if _catches_all(_tree(path))]
    assert not [name for name in catching if not MAY_CATCH_ALL.fullmatch(name)]


def _undocumented(tree: ast.Module) -> Iterator[str]:
    if not ast.get_docstring(tree):
        yield "the module"
    for node in tree.body:
        if (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
            and not ast.get_docstring(node)
        ):
            yield node.name


def test_public_functions_classes_and_modules_have_docstrings() -> None:
    bare = [f"{_name(path)}: {what}" for path in _modules() for what in _undocumented(_tree(path))]
    assert not bare


def test_every_room_is_a_package() -> None:
    # import-linter does not see a folder without __init__.py, so its imports would go unwatched. Alembic
    # reads its migrations as files.
    rooms = {path.parent for path in _modules() if "migrations" not in path.parts}
    assert not [_name(room) for room in rooms if not (room / "__init__.py").exists()]


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("see /ro" + "ot/.config", True),
        ("in /wo" + "rk/main", True),
        ("mktemp /tm" + "p/mss-1", True),
        ("the folder /tmp itself", False),
        ("https://example.test/home/page", False),
        ("./wo" + "rk/", False),
    ],
)
def test_machine_paths_are_recognised(text: str, matches: bool) -> None:
    assert bool(MACHINE_PATH.search(text)) is matches


@pytest.mark.parametrize(
    ("source", "catches"),
    [
        ("try:\n  pass\nexcept Exception:\n  pass", True),
        ("try:\n  pass\nexcept (OSError, BaseException):\n  pass", True),
        ("try:\n  pass\nexcept:\n  pass", True),
        ("try:\n  pass\nexcept (OSError, ValueError):\n  pass", False),
        ("try:\n  pass\nexcept BaseException:\n  print()\n  raise", False),
        ("try:\n  pass\nexcept Exception as error:\n  raise OSError from error", True),
    ],
)
def test_catching_everything_is_recognised(source: str, catches: bool) -> None:
    assert _catches_all(ast.parse(source)) is catches


@pytest.mark.slow
def test_the_floors_hold() -> None:
    # `make check` runs it too; here it is a test with a name.
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
