"""`mss keys …`: the master key and the owners' keys. Like `cli`, it knows typer; what is done is in the store's rooms
`rotation` and `keycopies`, brought in when a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mss.clock import system_clock
from mss.commands.options import HERE, ConfigFile, Json, group, settings

keys_app = group("Change the master key, copy the owners' keys.")

File = Annotated[Path, typer.Argument(metavar="FILE", help="The file of the copy.")]


@keys_app.command("rotate", epilog="Example: mss keys rotate -c my-operator/mss.toml")
def keys_rotate(
    config: ConfigFile = HERE,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Only make the new key's file, to be put on every node first.")
    ] = False,
) -> None:
    """Wrap every key under a new master key while the operator serves; after a cut, type it again."""
    from mss.commands.output import progress, say, say_marked
    from mss.store import rotation

    found = settings(config)
    path = found.path(found.store.master_key_file)
    if prepare:
        say(f"The next master key is {rotation.prepare(found)}, in {path}.next.")
        say(f"Put that file beside {path.name} on every node, then type mss keys rotate.")
        return
    with progress("Wrapping keys anew") as told:
        done = rotation.rotate(found, system_clock(), told)
    say_marked("✓", f"{done.keys} keys are wrapped under the new master key {done.after}, in {path}")
    say_marked(
        "!", "Put a copy of it in the place of the one in your safes. Copies of the owners' keys made before now"
    )
    say("  open under the old master key only: make a new one (mss keys backup), then destroy the old ones of both.")


@keys_app.command("status", epilog="Example: mss keys status --json")
def keys_status(config: ConfigFile = HERE, as_json: Json = False) -> None:
    """Tell the fingerprint of the master key, and whether a change of it waits to be finished."""
    from mss.commands.output import say, say_json, say_marked
    from mss.store import rotation

    state = rotation.state(settings(config))
    if as_json:
        say_json({"fingerprint": state.fingerprint, "under_way": state.under_way, "keys": state.keys})
        return
    say(f"Master key {state.fingerprint}, {state.keys} keys under it.")
    if state.under_way:
        say_marked("!", "A change of the master key is not finished: type mss keys rotate")


@keys_app.command("backup", epilog="Example: mss keys backup /safe/keys-today.copy")
def keys_backup(file: File, config: ConfigFile = HERE) -> None:
    """Copy the owners' keys, each still wrapped, while the operator serves; the master key is not in it."""
    from mss.commands.output import progress, say_marked
    from mss.store import keycopies

    with progress("Copying keys") as told:
        copied = keycopies.copy(settings(config), file, told)
    say_marked("✓", f"{copied} keys are copied; they open under the master key of today only")


@keys_app.command("restore", epilog="Example: mss keys restore /safe/keys-today.copy")
def keys_restore(file: File, config: ConfigFile = HERE) -> None:
    """Bring the owners' keys back into an empty database of keys; the master key has to be in its place."""
    from mss.commands.output import progress, say_marked
    from mss.store import keycopies

    with progress("Bringing keys back") as told:
        brought = keycopies.restore(settings(config), file, told)
    say_marked("✓", f"{brought} keys are back")
