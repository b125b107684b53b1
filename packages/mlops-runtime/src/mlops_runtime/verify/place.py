"""Where a verification works: clients, names, the time, and how patiently it waits."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar

from mlops_runtime.verify.names import Names
from mlops_runtime.verify.problems import CheckError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds of real time.

    Args:
        poll: Between two looks.
        quiet: How long nothing must happen where nothing should.
        patience: How long a wait may take.
    """

    poll: float
    quiet: float
    patience: float


ON_AWS = Pace(poll=10, quiet=120, patience=3600)
_LEAST_PATIENCE = 240  # what works takes real time on the fastest clock


def embedded_pace(scale: float) -> Pace:
    """Return the pace of the embedded cloud: AWS's patience by its clock, and at least 240 s.

    Args:
        scale: Embedded seconds in a real one.

    Example:
        >>> [embedded_pace(scale).patience for scale in (1, 10, 120)]
        [3600.0, 360.0, 240]
    """
    return Pace(poll=0.3, quiet=2, patience=max(_LEAST_PATIENCE, ON_AWS.patience / scale))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An account and region.

    Args:
        client: Gives a boto3 client by service.
        account: Account id; it stays on this machine.
        region: Region.
        caller: ARN of the caller.
        cloud: Whether calls go to AWS.
        names: Names of what is made.
        now: The time in the cloud, by which money is counted.
        wall: The time of day there, by which the lock is held; on AWS the same.
        pace: How patiently to wait.
        command: The command that cleans up.
    """

    client: Callable[[str], Any]
    account: str
    region: str
    caller: str
    cloud: Literal["aws", "embedded"]
    names: Names
    now: Callable[[], datetime]
    wall: Callable[[], datetime]
    pace: Pace
    command: str

    def wait(self, look: Callable[[], T | None], what: str, *, beat: Callable[[], None]) -> T:
        """Wait until a function returns something that is not ``None``.

        Args:
            look: The function.
            what: What is waited for, for the message.
            beat: Called between two looks: renews the lock, holds the budget.

        Raises:
            CheckError: If it takes longer than the patience.
        """
        deadline = time.monotonic() + self.pace.patience
        while (found := look()) is None:
            if time.monotonic() > deadline:
                raise CheckError(f"waited {self.pace.patience:.0f} s for {what}")
            beat()
            time.sleep(self.pace.poll)
        return found

    def hide(self, text: str) -> str:
        """Return a text without the account's id, for the report.

        Args:
            text: The text.
        """
        return " ".join(text.split()).replace(self.account, "<account>")[:500]
