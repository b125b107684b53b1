"""Environment of a verification: clients, names derived from account and region, time, and timeouts."""

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar

from mlops_runtime.verify.problems import CheckError

TAG = "mlops:verify"

_ARN = re.compile(r"arn:aws[a-z-]*:([a-z0-9-]+):[^\s\"',;)\]]*")

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names in one account and region."""

    unit: str  # business unit; prefix of endpoints, models, alarms and log groups
    stack: str  # CloudFormation stack
    bucket: str  # bucket of the stack's files
    lock: str  # SSM parameter with the lock, for one run at a time

    @property
    def endpoint(self) -> str:
        """Name of the endpoint and of its model package group."""
        return f"{self.unit}-probe"

    @property
    def tags(self) -> dict[str, str]:
        """Tags of all resources that support tags."""
        return {TAG: self.unit}

    @property
    def tag_list(self) -> list[dict[str, str]]:
        """The tags as the ``Tags`` of most requests."""
        return [{"Key": key, "Value": value} for key, value in self.tags.items()]


def names(account: str, region: str) -> Names:
    """Return the names in an account and region. A user's own unit is unlikely to start with ``verify-`` and six hash digits.

    Example:
        >>> names("000000000000", "us-east-1").stack
        'mlops-verify-09fb16'
    """
    digest = hashlib.sha256(f"{account}/{region}".encode()).hexdigest()
    return Names(
        unit=f"verify-{digest[:6]}",
        stack=f"mlops-verify-{digest[:6]}",
        bucket=f"mlops-verify-{digest[:24]}",  # names of buckets are global
        lock="/mlops-verify/lock",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Intervals, in seconds of real time."""

    poll: float  # interval between two polls
    quiet: float  # time without an event that shows that no event follows
    patience: float  # longest wait


ON_AWS = Pace(poll=10, quiet=120, patience=3600)
_LEAST_PATIENCE = 240  # real time that work needs, even with the fastest clock


def embedded_pace(scale: float) -> Pace:
    """Return the pace of the embedded cloud: the longest wait on AWS by the embedded clock, and at least 240 s.

    Args:
        scale: Embedded seconds in a real one.

    Example:
        >>> [embedded_pace(scale).patience for scale in (1, 10, 120)]
        [3600.0, 360.0, 240]
    """
    return Pace(poll=0.3, quiet=2, patience=max(_LEAST_PATIENCE, ON_AWS.patience / scale))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An account and region."""

    client: Callable[[str], Any]  # returns the boto3 client of a service
    account: str  # account id; it is not part of the report
    region: str
    caller: str  # ARN of the caller
    cloud: Literal["aws", "embedded"]  # whether calls go to AWS or to the embedded cloud
    names: Names  # names of the created resources
    now: Callable[[], datetime]  # returns the current time of the cloud, for costs
    wall: Callable[[], datetime]  # returns the wall-clock time, for the lock; on AWS the same
    pace: Pace  # intervals of waits
    command: str  # the command that cleans up

    def wait(self, look: Callable[[], T | None], what: str, *, beat: Callable[[], None], share: float = 1.0) -> T:
        """Wait until a function returns something that is not ``None``.

        Args:
            look: The function to poll.
            what: The awaited state, for the message.
            beat: Called between two polls: renews the lock, checks the budget.
            share: Share of the longest wait. Default: 1.

        Raises:
            CheckError: On a timeout.
        """
        patience = self.pace.patience * share
        deadline = time.monotonic() + patience
        while (found := look()) is None:
            if time.monotonic() > deadline:
                raise CheckError(f"waited {patience:.0f} s for {what}")
            beat()
            time.sleep(self.pace.poll)
        return found

    def hide(self, text: str) -> str:
        """Return a string without the account's id and without ARNs, for the report."""
        named = _ARN.sub(r"<ARN of \1>", " ".join(text.split()))
        return named.replace(self.account, "<account>")[:500]
