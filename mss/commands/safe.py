"""`mss backup` and `mss restore`. Like `cli`, it knows typer; what is done is in the store's rooms `backup` and
`restore`, brought in when a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mss.clock import system_clock
from mss.commands.options import HERE, ConfigFile, Json, settings

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of backups.")]


def backup(
    folder: Folder,
    config: ConfigFile = HERE,
    verify: Annotated[
        bool, typer.Option("--verify", help="Prove it: bring it back into a folder beside, and read every letter.")
    ] = False,
    keep: Annotated[int, typer.Option(min=0, help="Then keep the newest so many backups only; 0: all.")] = 0,
    as_json: Json = False,
) -> None:
    """Copy all data, encrypted, while the operator serves; again: only what changed is written. Keys are not in it."""
    from mss.commands import looking
    from mss.commands.output import progress, say_json, say_marked
    from mss.store import backup as backups
    from mss.store import restore as restores

    found = settings(config)
    with progress("Backing up") as told:
        made = backups.make(found, folder, system_clock(), told)
    wrong = 0
    if verify:
        with progress("Proving it") as told:
            wrong = looking.left(restores.verify(found, folder, made.name, told))
    if keep and not wrong:
        repository = backups.open_repository(found, folder)
        with repository.writing():
            repository.forget(keep)
    if as_json:
        proven = not wrong if verify else None
        say_json({"name": made.name, "rows": made.rows, "files": made.files, "new": made.written, "proven": proven})
    else:
        say_marked("✓", f"{made.name}: {made.rows} rows and {made.files} files, {made.written} pieces of them new")
        if verify:
            say_marked(
                "✗" if wrong else "✓", f"brought back: {wrong} things do not fit" if wrong else "brought back: whole"
            )
    if wrong:
        raise typer.Exit(1)


def restore(
    folder: Folder,
    config: ConfigFile = HERE,
    name: Annotated[str, typer.Option("--backup", metavar="NAME", help="Which one; the newest when left out.")] = "",
    listed: Annotated[bool, typer.Option("--list", help="Only list the backups, oldest first.")] = False,
    as_json: Json = False,
) -> None:
    """Bring a backup back into an empty store, with the keys in their place; cut off: type it again."""
    from mss.commands.output import progress, say, say_json, say_marked
    from mss.store import backup as backups
    from mss.store import restore as restores

    found = settings(config)
    if listed:
        names = backups.open_repository(found, folder).snapshots()
        if as_json:
            say_json(list(names))
        else:
            for one in names:
                say(one)
        return
    with progress("Bringing back") as told:
        brought = restores.restore(found, folder, name, told)
    if as_json:
        say_json({"name": brought.name, "rows": brought.rows, "files": brought.files})
        return
    say_marked("✓", f"{brought.name}: {brought.rows} rows and {brought.files} files are back")
    say("Next: mss store check")
