"""Runs cells of the Retrain machine, and checks the invariant after each and after the following retraining."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.campaign.machine import RAISES
from tests.campaign.matrix.cells import CRASH, TWO, Cell, Make, Result, met_by
from tests.campaign.retrain import Retrain

ADDED = (RAISES, TWO)
THEN = ("a retraining",)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainCells:
    """The cells of one machine.

    Args:
        scenarios: Possible courses of a retraining.
        outcomes: Outcome of each scenario; missing ones are approved.
    """

    scenarios: Mapping[str, Mapping[str, Any]]
    outcomes: Mapping[str, str] = field(default_factory=dict)

    def run(self, make: Make, cell: Cell) -> Result:
        """Return the violations at once, and after a retraining without a fault that follows a permanent failure or a crash."""
        world: Retrain = make(**self.scenarios[cell.scenario])
        faults = met_by(cell)
        result = world.run(*faults)
        excused = frozenset({fault.label for fault in faults if fault.always and fault.kind != "latency"})
        problems, is_dead, met = world.broken(result, excused=excused), cell.kind == CRASH, result.faults_met
        if is_dead:
            world.release()
        if is_dead or excused:
            after, expected = world.run(), self.outcomes.get(cell.scenario, "APPROVED")
            problems += [f"next: {problem}" for problem in world.broken(after)]
            problems += [] if after.outcome == expected else [f"next: {after.outcome} instead of {expected}"]
            result = after if is_dead else result
        return Result(outcome=result.outcome, met=met, problems=problems)
