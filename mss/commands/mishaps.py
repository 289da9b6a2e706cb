"""What is said about an error that nobody foresaw: its kind and place, and never a value of it."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

from mss.errors import incident_number


def surprise(error: Exception) -> str:
    """Return a line without any value of the error: its kind and place, joined to the report by a number."""
    if os.environ.get("MSS_DEBUG"):
        traceback.print_exc()
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}:{frame.lineno}"
    number = incident_number()
    return f"incident {number}: {type(error).__name__} at {place}; please report it (MSS_DEBUG=1 shows the whole trace)"
