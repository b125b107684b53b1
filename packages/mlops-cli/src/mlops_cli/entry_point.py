"""Console script ``mlops``: Ctrl-C while modules are loading prints one line instead of a traceback."""

import sys


def main() -> None:
    """Load the command and run it."""
    try:
        from mlops_cli.__main__ import main as run
    except KeyboardInterrupt:
        print("mlops: interrupted", file=sys.stderr)
        sys.exit(130)
    run()
