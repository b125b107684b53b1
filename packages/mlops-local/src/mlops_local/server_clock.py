"""``python -m mlops_local.server_clock serve``: the reference server with embedded time in its captures.

A server on EKS stamps its captures with its machine's clock; here that would be real time, and reports of a replayed week would not
find its captures. Signatures and time limits use real time.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

FILE = "MLOPS_LOCAL_CLOCK"  # variable with the path of the clock's file


class ServerTime:
    """Replaces the module ``time`` in the server; only ``time()`` differs, by the clock's file: real, embedded, scale."""

    def __init__(self, file: Path) -> None:
        self._file, self._changed = file, -1
        self._at = (0.0, 0.0, 1.0)

    def __getattr__(self, name: str) -> Any:
        """Return the attribute of the real module."""
        return getattr(time, name)

    def time(self) -> float:
        """Return the embedded time, in epoch seconds."""
        changed = self._file.stat().st_mtime_ns
        if changed != self._changed:
            real, embedded, scale = json.loads(self._file.read_text())
            self._changed, self._at = changed, (real, embedded, scale)
        real, embedded, scale = self._at
        return embedded + (time.time() - real) * scale


def main(arguments: list[str]) -> int:
    """Serve like ``python -m mlops_runtime.serving``; return the exit code."""
    from mlops_runtime.serving import __main__, http_app  # noqa: PLC0415 - numpy, which a test of the clock does not need

    http_app.time = ServerTime(Path(os.environ[FILE]))  # type: ignore[assignment,attr-defined]
    return __main__.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
