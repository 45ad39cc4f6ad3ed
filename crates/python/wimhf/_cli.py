"""The command `wimhf`: the same one as the Rust program, held by the native module."""

from __future__ import annotations

import sys

from wimhf import _wimhf


def main() -> int:
    """Runs the command with the process's arguments; its exit code."""
    # A pipe that is closed and Ctrl-C are handled as in the program, not as Python would.
    return _wimhf.main(["wimhf", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
