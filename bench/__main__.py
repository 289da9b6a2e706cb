"""`make bench`: run the measurements and print their ratios; ARGS names some of them."""

from __future__ import annotations

import sys

from bench import delivery

BENCHES = {"delivery": delivery.main}


def main(names: list[str]) -> int:
    """Run the named measurements, all when none is named; the exit code says whether all ratios hold."""
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    return max(BENCHES[name]() for name in names or BENCHES)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
