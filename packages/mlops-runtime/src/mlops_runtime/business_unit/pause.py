"""Pausing and resuming a unit's automation: state and audit record in one conditional write, each once.

The unit's row holds the head of a chain of its own, ``audit/<unit>/``, as an endpoint's row does.
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
    """What a request to pause or resume did; without a record nothing changed.

    ``state`` is the current one; None if the unit was never paused.
    """

    state: PauseState | None
    record: AuditRecord | None = None


def next_pause(row: LockRow, wanted: PauseState) -> Move | PauseChange:
    """Return what moves the unit's row to the wanted state, or that it is there already."""
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
