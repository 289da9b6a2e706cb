"""The command `mss`, also as `python -m mss`."""

from __future__ import annotations

from mss.cli import app


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    app(prog_name="mss")


if __name__ == "__main__":
    main()
