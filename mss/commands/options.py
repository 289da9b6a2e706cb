"""Options that many commands share, and the settings they name. Like `cli`, it knows typer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from mss.config import Config
from mss.settings import load

ConfigFile = Annotated[
    Path, typer.Option("-c", "--config", envvar="MSS_CONFIG", help="The operator's settings.", show_default="mss.toml")
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many lines at most.")]
Addresses = Annotated[bool, typer.Option("--addresses", help="Show mail addresses and texts that may hold them.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
HERE: Final = Path("mss.toml")


def settings(path: Path) -> Config:
    """Read the settings and keep the log to what matters on a terminal."""
    from mss.log import configure

    config = load(path)
    configure(level="ERROR", json=config.log.json)
    return config


def group(text: str) -> typer.Typer:
    """Return a group of commands."""
    return typer.Typer(help=text, no_args_is_help=True, add_completion=False, rich_markup_mode=None)
