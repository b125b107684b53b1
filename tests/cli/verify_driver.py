"""``mlops`` in a process that is killed, or whose credentials expire, at one of its mutating calls.

``verify_driver.py ASSEMBLY MODE NUMBER ARGUMENT...``: the unit's assembly is copied instead of synthesized. Modes: ``before``
and ``after`` kill the process around mutating call ``NUMBER``, ``later`` two seconds after it, ``expire`` then answers every call
as AWS does for an expired session, ``none`` does nothing.
"""

import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from botocore.client import BaseClient
from botocore.exceptions import ClientError

import mlops_cli.stacks
from mlops_cli.__main__ import main

EXPIRED = {"Error": {"Code": "ExpiredToken", "Message": "The security token included in the request is expired"}}


READS = ("Get", "List", "Describe", "Head", "Simulate", "Validate", "Invoke")


def drive(assembly: Path, mode: str, number: int) -> None:
    """Intercept every call."""
    call, made = BaseClient._make_api_call, 0

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def counted(self: BaseClient, operation: str, arguments: dict[str, Any]) -> Any:
        nonlocal made
        is_change = not operation.startswith(READS)
        made += is_change
        if mode == "expire" and made >= number:
            raise ClientError(EXPIRED, operation)
        is_here = is_change and made == number
        if is_here and mode == "before":
            kill()
        answer = call(self, operation, arguments)
        if is_here and mode == "after":
            kill()
        if is_here and mode == "later":
            threading.Timer(2.0, kill).start()
        return answer

    def copied(_app: str, output: Path, _context: object) -> None:
        shutil.copytree(assembly, output, dirs_exist_ok=True)

    BaseClient._make_api_call = counted
    mlops_cli.stacks.synthesize = copied
    main()


if __name__ == "__main__":
    folder, wanted, at = sys.argv[1:4]
    sys.argv = ["mlops", *sys.argv[4:]]
    drive(Path(folder), wanted, int(at))
