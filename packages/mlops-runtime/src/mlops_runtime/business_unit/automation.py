"""Check whether a unit's automation is stopped, by its freeze calendar or a pause.

The plan of a rollout and the guard and gate of retraining check it. Rollbacks and changes of a serving spec do not.
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
    """Return the freeze window that contains a time; its end is exclusive."""
    return next((window for window in spec.windows if window.start <= now < window.end), None)


def frozen_reason(spec: FreezeSpec, now: datetime) -> str | None:
    """Return the name and end of the window that freezes the unit, as a reason; ``None`` if it is not frozen."""
    window = freeze_at(spec, now)
    return None if window is None else f"frozen by {window.name!r} until {to_dict(window.end)}"


def paused_reason(pause: PauseState | None) -> str | None:
    """Return since when, by whom and why the unit is paused; ``None`` if it is not paused."""
    if pause is None or not pause.is_paused:
        return None
    return f"paused since {pause.at} by {pause.by}: {pause.reason}"


def rest_reason(spec: FreezeSpec, pause: PauseState | None, now: datetime) -> str | None:
    """Return all reasons why automation is stopped; ``None`` if it is running."""
    reasons = [reason for reason in (paused_reason(pause), frozen_reason(spec, now)) if reason is not None]
    return "; ".join(reasons) if reasons else None


def pause_of(row: LockRow) -> PauseState | None:
    """Return the pause in a unit's row; ``None`` if the unit was never paused."""
    return None if row.pause is None else from_json(PauseState, row.pause)


def read_freeze(text: str) -> FreezeSpec:
    """Parse the freeze calendar of an environment variable.

    Raises:
        ContractError: If it is invalid, or one of its times has no UTC offset.
    """
    spec = from_json(FreezeSpec, text)
    naive = [window.name for window in spec.windows if window.start.tzinfo is None or window.end.tzinfo is None]
    if naive:
        raise ContractError(f"not a valid FreezeSpec: {', '.join(map(repr, naive))} must have times with an offset")
    return spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Automation:
    """State of a unit's automation, for functions. A function that cannot read it fails instead of proceeding.

    Example:
        >>> AUTOMATION = Automation.from_environment(os.environ, boto3.client("dynamodb"))  # doctest: +SKIP
        >>> AUTOMATION.rests(now)  # doctest: +SKIP
        "frozen by 'peak season 2026' until 2026-12-31T23:00:00Z"
    """

    freeze: FreezeSpec
    table: RolloutTable

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], dynamodb: "DynamoDBClient") -> "Automation":
        """Build it from ``UNIT``, ``AUTOMATION_TABLE`` and ``FREEZE``, set by ``BusinessUnit.automation_environment``.

        Raises:
            ContractError: If ``FREEZE`` is not a freeze calendar.
            KeyError: If a variable is missing.
        """
        table = RolloutTable(dynamodb, environ["AUTOMATION_TABLE"], environ["UNIT"])
        return cls(freeze=read_freeze(environ["FREEZE"]), table=table)

    def frozen(self, now: datetime) -> str | None:
        """Return why the unit is frozen; ``None`` if it is not. Makes no call."""
        return frozen_reason(self.freeze, now)

    def rests(self, now: datetime) -> str | None:
        """Return why automation is stopped, by pause or freeze; ``None`` if it is running."""
        return rest_reason(self.freeze, pause_of(self.table.read()), now)
