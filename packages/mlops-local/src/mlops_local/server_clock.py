"""``python -m mlops_local.server_clock serve``: the reference server, with the embedded clock on what it captures.

A server on EKS captures by itself and stamps calls by its machine's clock, which in the embedded cloud is another one: reports of a
replayed week would look for its captures in vain. Signatures and time limits stay on real time.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

FILE = "MLOPS_LOCAL_CLOCK"  # the variable that names the clock's file


class ServerTime:
    """Stands for the module ``time`` in the server; only ``time()`` differs.

    Args:
        file: Where the embedded cloud writes its clock: real, embedded, scale.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._changed = file, -1
        self._at = (0.0, 0.0, 1.0)

    def __getattr__(self, name: str) -> Any:
        """Return what the real module has."""
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
    """Serve as ``python -m mlops_runtime.serving`` does; returns the exit code."""
    from mlops_runtime.serving import __main__, http_app  # noqa: PLC0415 - numpy, which a test of the clock does not need

    http_app.time = ServerTime(Path(os.environ[FILE]))  # type: ignore[assignment,attr-defined]
    return __main__.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
