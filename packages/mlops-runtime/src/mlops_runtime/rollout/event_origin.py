"""Events of the guards: reading, age, and origin (account, region, format of the id, and the ARNs that it names). Pure.

These checks come before any read; the event's content is read again from its source later.

See: https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from mlops_runtime.contracts import ContractError, from_json
from mlops_runtime.contracts.events import BusEvent
from mlops_runtime.iso_time import with_offset

LONGEST_BODY = 262_144  # characters; EventBridge events have at most 256 KiB
NEWEST = timedelta(minutes=5)  # clocks of senders may be ahead
# EventBridge's ids are UUIDs; those of the platform and of people may be longer
EVENT_ID = re.compile(r"[A-Za-z0-9._:/=+@-]{1,128}", re.ASCII)
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
_EXECUTION = re.compile(r"[A-Za-z0-9_-]{1,80}", re.ASCII)
_LONGEST_ARN = 2048
_SHOWN = 140


def read_event(body: str) -> BusEvent:
    """Return the event of a message.

    Raises:
        ContractError: If it is too long or malformed.
    """
    if len(body) > LONGEST_BODY:
        raise ContractError(f"a message must have at most {LONGEST_BODY} characters, got {len(body)}")
    return from_json(BusEvent, body)


def age_problem(event: BusEvent, *, now: datetime, oldest: timedelta) -> str | None:
    """Return the times of an event that is older than ``oldest``, or in the future; None for any other."""
    at = with_offset(event.time)
    if -NEWEST <= now - at <= oldest:
        return None
    return f"event of {event.time.isoformat()} was received at {now.isoformat()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Partition, account and region of the machine that an event may start."""

    machine_arn: str  # the machine's ARN

    @property
    def partition(self) -> str:
        """The machine's partition."""
        return self.machine_arn.split(":")[1]

    @property
    def region(self) -> str:
        """The machine's region."""
        return self.machine_arn.split(":")[3]

    @property
    def account(self) -> str:
        """The machine's account."""
        return self.machine_arn.split(":")[4]

    def problem(self, event: BusEvent) -> str | None:
        """Return why an event is not of this account and region, or is malformed; None if it is valid.

        Example:
            >>> from mlops_runtime.contracts import from_json
            >>> text = '{"id": "1", "source": "aws.states", "detail-type": "x", "time": "2017-08-01T09:00:00Z", "detail": {}, '
            >>> event = from_json(BusEvent, text + '"account": "123456789012", "region": "eu-west-1"}')
            >>> Origin(machine_arn="arn:aws:states:us-east-1:123456789012:stateMachine:Deploy").problem(event)
            "region 'eu-west-1' is not 'us-east-1'"
        """
        if event.account != self.account:
            return f"account {_shown(event.account)} is not {self.account!r}"
        if event.region != self.region:
            return f"region {_shown(event.region)} is not {self.region!r}"
        if not EVENT_ID.fullmatch(event.id):
            return f"event id must match {EVENT_ID.pattern}, got {_shown(event.id)}"
        for arn in event.resources or ():
            parts = arn.split(":", 5)
            if len(parts) < 6 or parts[0] != "arn" or len(arn) > _LONGEST_ARN:
                return f"resources must be ARNs of at most {_LONGEST_ARN} characters, got {_shown(arn)}"
            if parts[3] not in ("", self.region) or parts[4] not in ("", self.account):
                return f"resource {_shown(arn)} is not of account {self.account!r} and region {self.region!r}"
        return None

    def alarm_problem(self, event: BusEvent, name: str) -> str | None:
        """Return why an event is not about the named alarm in this account and region; None if it is."""
        # claim: alarm-event-has-its-arn
        wanted = f"arn:{self.partition}:cloudwatch:{self.region}:{self.account}:alarm:{name}"
        if event.resources == (wanted,):
            return None
        return f"resources must be {wanted!r} alone, got {_shown(list(event.resources or ()))}"

    def execution_name(self, arn: object) -> str | None:
        """Return the name of an execution of this machine; None for any other ARN, or an invalid name.

        Example:
            >>> origin = Origin(machine_arn="arn:aws:states:us-east-1:123456789012:stateMachine:Deploy")
            >>> origin.execution_name("arn:aws:states:us-east-1:123456789012:execution:Deploy:one")
            'one'
        """
        prefix = self.machine_arn.replace(":stateMachine:", ":execution:") + ":"
        if not isinstance(arn, str) or not arn.startswith(prefix):
            return None
        name = arn.removeprefix(prefix)
        return name if _EXECUTION.fullmatch(name) else None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
