"""Pause and resume a unit's automation: state and audit record are written atomically, exactly once.

The unit's row has the head of its own chain, ``audit/<unit>/``, like an endpoint's row.
"""

from dataclasses import dataclass
from datetime import datetime

from mlops_runtime.business_unit.automation import pause_of
from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.rollout import AuditRecord, LockRow, Outcome
from mlops_runtime.contracts.unit_entries import PauseState
from mlops_runtime.rollout.audit_chain import AuditChain, Move


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseChange:
    """Result of a request to pause or resume; without a record nothing changed.

    ``state`` is the current state; ``None`` if the unit was never paused.
    """

    state: PauseState | None
    record: AuditRecord | None = None


def next_pause(row: LockRow, wanted: PauseState) -> Move | PauseChange:
    """Return the change of the unit's row to the wanted state, or the unchanged state if the row already has it."""
    state = pause_of(row)
    if wanted.is_paused == (state is not None and state.is_paused):
        return PauseChange(state=state)
    return Move(record=_record(row, wanted), pause=wanted)


def set_pause(chain: AuditChain, *, is_paused: bool, by: str, reason: str, now: datetime) -> PauseChange:
    """Pause or resume a unit, unless it already is.

    Raises:
        AuditError: If other writers kept moving the head.
    """
    wanted = PauseState(is_paused=is_paused, by=by, at=str(to_dict(now)), reason=reason)
    answer = chain.append(lambda row: next_pause(row, wanted))
    return answer if isinstance(answer, PauseChange) else PauseChange(state=wanted, record=answer)


def _record(row: LockRow, state: PauseState) -> AuditRecord:
    return AuditRecord(
        endpoint=row.endpoint,
        sequence=row.audit_sequence + 1,
        previous=row.audit_head,
        outcome=Outcome.PAUSED if state.is_paused else Outcome.RESUMED,
        reason=state.reason,
        execution="mlops pause" if state.is_paused else "mlops resume",
        at=state.at,
        requested_by=state.by,
    )
