"""The script ``mlops``: an interruption while the command still loads its modules is one line, as it is later."""

import sys


def main() -> None:
    """Load the command and run it."""
    try:
        from mlops_cli.__main__ import main as run
    except KeyboardInterrupt:
        print("mlops: interrupted", file=sys.stderr)
        sys.exit(130)
    run()
