"""Lock for one verification at a time in an account and region: an SSM parameter that only the first caller can create.

``PutParameter`` with ``Overwrite=False`` fails with ``ParameterAlreadyExists`` if the name exists. The holder renews it while it
works, so a lock that was not renewed belongs to a killed run.

See: https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mlops_runtime.verify.account import TAG, Names
from mlops_runtime.verify.problems import LostLockError, VerifyError

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

HOLDS = timedelta(minutes=15)
RENEWS = timedelta(minutes=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Holder of the lock."""

    run: str
    since: str  # start of the run, ISO 8601
    until: str  # time after which it counts as killed, ISO 8601

    def is_fresh(self, now: datetime) -> bool:
        """Return whether the holder may still be working."""
        return now < datetime.fromisoformat(self.until)


class Lock:
    """The lock of one run."""

    def __init__(self, ssm: "SSMClient", names: Names, run: str) -> None:
        self._ssm, self._names, self._run = ssm, names, run
        self._since: datetime | None = None
        self._renewed: datetime | None = None

    def acquire(self, now: datetime, *, command: str) -> None:
        """Acquire the lock.

        Args:
            now: Current time of the cloud.
            command: The command that cleans up after a killed run, for the message.

        Raises:
            VerifyError: If another run holds it, or left it behind.
        """
        try:
            self._ssm.put_parameter(
                Name=self._names.lock,
                Value=self._value(now, now),
                Type="String",
                Overwrite=False,
                Tags=[{"Key": TAG, "Value": self._names.unit}],
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ParameterAlreadyExists":
                raise
            raise VerifyError(_busy(self.holder(), now, command)) from error
        self._since = self._renewed = now

    def check(self, now: datetime, *, command: str) -> None:
        """Check early that no other run holds the lock, without acquiring it.

        Args:
            now: Current time of the cloud.
            command: See ``acquire``.

        Raises:
            VerifyError: If another run holds it, or left it behind.
        """
        holder = self.holder()
        if holder is not None:
            raise VerifyError(_busy(holder, now, command))

    def take_over(self, now: datetime) -> None:
        """Acquire the lock even if a killed run holds it."""
        self._ssm.put_parameter(Name=self._names.lock, Value=self._value(now, now), Type="String", Overwrite=True)
        self._since = self._renewed = now

    def renew(self, now: datetime) -> None:
        """Renew the lock if the last renewal is old enough.

        Raises:
            LostLockError: If another run has taken it over; the caller must stop.
        """
        if self._since is None or self._renewed is None or now - self._renewed < RENEWS:
            return
        holder = self.holder()
        if holder is None or holder.run != self._run:
            other = "no run" if holder is None else f"run {holder.run}"
            raise LostLockError(
                f"run {self._run} no longer holds the lock {self._names.lock}, {other} does: this machine slept for too "
                "long, and another one cleaned up; run it again"
            )
        self._ssm.put_parameter(
            Name=self._names.lock, Value=self._value(self._since, now), Type="String", Overwrite=True
        )
        self._renewed = now

    def release(self) -> None:
        """Delete the lock, if this run still holds it."""
        holder = self.holder()
        if holder is not None and holder.run == self._run:
            self._ssm.delete_parameter(Name=self._names.lock)
        self._since = None

    def holder(self) -> Holder | None:
        """Return the holder of the lock; an unreadable lock has an unknown holder that has expired."""
        try:
            value = self._ssm.get_parameter(Name=self._names.lock)["Parameter"]["Value"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ParameterNotFound":
                return None
            raise
        try:
            found = json.loads(value)
            return Holder(run=str(found["run"]), since=str(found["since"]), until=str(found["until"]))
        except (ValueError, KeyError, TypeError):
            return Holder(run="unknown", since="unknown", until="1970-01-01T00:00:00+00:00")

    def _value(self, since: datetime, now: datetime) -> str:
        return json.dumps(
            asdict(Holder(run=self._run, since=since.isoformat(), until=(now + HOLDS).isoformat())), sort_keys=True
        )


def _busy(holder: Holder | None, now: datetime, command: str) -> str:
    if holder is None:
        return "another verification has just ended; run it again"
    if holder.is_fresh(now):
        return (
            f"another verification (run {holder.run}) holds this account and region since {holder.since}: wait for its end; "
            f"if it was killed, remove what it left with: {command}"
        )
    return f"a verification (run {holder.run}) of {holder.since} was killed; remove what it left with: {command}"
