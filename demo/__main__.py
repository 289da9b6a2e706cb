"""`make demo`: play the demonstration; ONCE=1 ends after the proof, MSS_DEMO_CDA names another document."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from demo.clients import StepFailedError
from demo.house import World, make_world
from demo.letters import Document, load_document, people_of, sample_document
from demo.steps import STEPS, Story
from mss.errors import MssError

BASE_PORT = 12500
_console = Console(highlight=False)


def main() -> int:
    """Play all steps; returns 0 only when every step was verified."""
    once = os.environ.get("ONCE", "") not in ("", "0")
    given = os.environ.get("MSS_DEMO_CDA", "")
    folder = Path(tempfile.mkdtemp(prefix="mss-demo-")) if once else _fresh(Path("demo-run"))
    world: World | None = None
    try:
        document = load_document(Path(given)) if given else sample_document()
        world = _begin(folder, document)
        failed = _play(Story(world, document))
        if not once and not failed:
            _stay(world)
        return 1 if failed else 0
    except (StepFailedError, MssError) as error:
        _console.print(f"[red]The demonstration cannot go on:[/red] {error}")
        return 1
    finally:
        if world is not None:
            world.close()
        if once:
            shutil.rmtree(folder, ignore_errors=True)


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder.resolve()


def _begin(folder: Path, document: Document) -> World:
    began = time.monotonic()
    world = make_world(folder, people_of(document), BASE_PORT)
    world.start()
    names = ", ".join(operator.title.lower() for operator in world.operators)
    _console.print(
        f"[bold]Three operators are up[/bold] ({names}), each with its own certificate, store and folder"
        f"  [dim]{time.monotonic() - began:.1f} s[/dim]\n"
    )
    return world


def _play(story: Story) -> bool:
    """Play the steps in order; True when one failed."""
    began = time.monotonic()
    for number, step in enumerate(STEPS, 1):
        at = time.monotonic()
        try:
            verified = step.play(story)
        except StepFailedError as error:
            _console.print(f"[red]✗ {number:2}. {step.title}[/red]\n      {error}")
            _console.print(f"      The servers' logs are in {story.world.folder}")
            return True
        took = time.monotonic() - at
        _console.print(
            f"[green]✓[/green] {number:2}. [bold]{step.title}[/bold]  [dim]{took:.2f} s[/dim]\n      {verified}"
        )
    _console.print(f"\n[bold green]All {len(STEPS)} steps verified[/bold green] in {time.monotonic() - began:.1f} s")
    return False


def _stay(world: World) -> None:
    people = world.people
    web, imap, region = world.patients.port("webmail"), world.hospital.port("imap"), world.region.port("imap")
    _console.print("\n[bold]It stays up: look around[/bold] (Ctrl+C ends it)")
    _console.print(
        f"  patient webmail   https://localhost:{web}/        {people.patient.login} / {people.patient.password}"
    )
    _console.print(
        f"  hospital, IMAP    localhost:{imap} STARTTLS      {people.hospital.login} / {people.hospital.password}"
    )
    _console.print(
        f"  doctor, IMAP      localhost:{region} STARTTLS      {people.doctor.login} / {people.doctor.password}"
    )
    for operator in world.operators:
        _console.print(f"  {operator.title:<17} http://127.0.0.1:{operator.port('ops')}/metrics   {operator.folder}")
    _console.print(f"  authority to trust: {world.ca_file}")
    try:
        signal.pause()
    except KeyboardInterrupt:
        _console.print("\nending…")


if __name__ == "__main__":
    sys.exit(main())
