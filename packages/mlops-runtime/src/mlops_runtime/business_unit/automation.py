"""Whether a unit's automatic work is stopped now: its freeze calendar and its pause.

Checked by the plan of a rollout, the guard and the gate of retraining. Rollbacks and changes of a serving spec do not check it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from mlops_runtime.contracts import ContractError, from_json, to_dict
from mlops_runtime.contracts.rollout import LockRow
from mlops_runtime.contracts.unit_entries import FreezeSpec, FreezeWindow, PauseState
from mlops_runtime.rollout.rollout_table import RolloutTable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def freeze_at(spec: FreezeSpec, now: datetime) -> FreezeWindow | None:
    """Return the window in which a time lies: from its start, up to but not including its end."""
    return next((window for window in spec.windows if window.start <= now < window.end), None)


def frozen_reason(spec: FreezeSpec, now: datetime) -> str | None:
    """Return which window freezes the unit now and until when; None if none does."""
    window = freeze_at(spec, now)
    return None if window is None else f"frozen by {window.name!r} until {to_dict(window.end)}"


def paused_reason(pause: PauseState | None) -> str | None:
    """Return since when, by whom and why the unit is paused; None if it is not."""
    if pause is None or not pause.is_paused:
        return None
    return f"paused since {pause.at} by {pause.by}: {pause.reason}"


def rest_reason(spec: FreezeSpec, pause: PauseState | None, now: datetime) -> str | None:
    """Return every reason why automatic work is stopped now; None if it is not."""
    reasons = [reason for reason in (paused_reason(pause), frozen_reason(spec, now)) if reason is not None]
    return "; ".join(reasons) if reasons else None


def pause_of(row: LockRow) -> PauseState | None:
    """Return the pause that a unit's row holds; None if it was never paused."""
    return None if row.pause is None else from_json(PauseState, row.pause)


def read_freeze(text: str) -> FreezeSpec:
    """Return the freeze calendar of an environment.

    Raises:
        ContractError: If it is invalid, or a time in it has no offset from UTC.
    """
    spec = from_json(FreezeSpec, text)
    naive = [window.name for window in spec.windows if window.start.tzinfo is None or window.end.tzinfo is None]
    if naive:
        raise ContractError(f"not a valid FreezeSpec: {', '.join(map(repr, naive))} must have times with an offset")
    return spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Automation:
    """What a function knows of its unit's automation. A function that cannot read it fails: no answer is not leave.

    Args:
        freeze: The unit's freeze calendar.
        table: The unit's row in its automation table.

    Example:
        >>> AUTOMATION = Automation.from_environment(os.environ, boto3.client("dynamodb"))  # doctest: +SKIP
        >>> AUTOMATION.rests(now)  # doctest: +SKIP
        "frozen by 'peak season 2026' until 2026-12-31T23:00:00Z"
    """

    freeze: FreezeSpec
    table: RolloutTable

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], dynamodb: "DynamoDBClient") -> "Automation":
        """Build it from ``UNIT``, ``AUTOMATION_TABLE`` and ``FREEZE``, which ``BusinessUnit.automation_environment`` gives.

        Raises:
            ContractError: If ``FREEZE`` is not a freeze calendar.
            KeyError: If a variable is missing.
        """
        table = RolloutTable(dynamodb, environ["AUTOMATION_TABLE"], environ["UNIT"])
        return cls(freeze=read_freeze(environ["FREEZE"]), table=table)

    def frozen(self, now: datetime) -> str | None:
        """Return which freeze window holds now, and until when; None if none does. Reads nothing."""
        return frozen_reason(self.freeze, now)

    def rests(self, now: datetime) -> str | None:
        """Return why automatic work is stopped now, paused or frozen; None if it is not."""
        return rest_reason(self.freeze, pause_of(self.table.read()), now)
