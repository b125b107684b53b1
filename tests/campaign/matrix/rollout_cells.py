"""Runs cells of a rollout machine, on SageMaker and between slots, and checks the invariant after each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.campaign.account import OLD
from tests.campaign.deploy import BADLY_SCALED, DAY, NO_ALARM, Deploy
from tests.campaign.machine import Fault, Run
from tests.campaign.matrix.cells import ALARMS, CRASH, SCHEDULE, Cell, Make, Result, met_by

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.rollout import LivePointer

THEN = ("recovery", "approval", "rollback")


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutCells:
    """The cells of one machine.

    Args:
        scenarios: Possible courses of a rollout.
        watches: The task after which alarms are watched.
        looks: Tasks that check whether the watched alarms exist.
        unproven: The scenario in which only the previous model may serve after a recovery.
    """

    scenarios: Mapping[str, Mapping[str, Any]]
    watches: str
    looks: frozenset[str]
    unproven: str

    def run(self, make: Make, cell: Cell) -> Result:
        """Return the violations at once, after the following execution, and once probations are over."""
        world: Deploy = make(**self.scenarios[cell.scenario])
        return self._run_crash(world, cell) if cell.kind == CRASH else self._run_faults(world, cell)

    def _run_faults(self, world: Deploy, cell: Cell) -> Result:
        faults, hook = _met_by(world, cell)
        result = world.run(*faults, hook=hook)
        excused = (
            frozenset({fault.label for fault in faults if fault.always and fault.kind != "latency"}) | world.excused
        )
        if cell.kind == SCHEDULE:
            excused |= {"eventbridge:enableRule"}
        problems = world.broken(result, excused=excused)
        if cell.kind == ALARMS:
            problems = [each for each in problems if each != NO_ALARM and not each.startswith(BADLY_SCALED)]
            problems += self._problems_of_deleted(world, cell, result)
        if excused and world.account.update != "failed":
            problems += [f"next: {problem}" for problem in _next(world)]
        if not excused or world.account.update != "failed":
            problems += world.ended()
        return Result(outcome=result.outcome, met=result.faults_met, problems=problems)

    def _run_crash(self, world: Deploy, cell: Cell) -> Result:
        crashed = world.run(*met_by(cell))
        problems = [f"at once: {problem}" for problem in world.broken(crashed) if "orphan" not in problem]
        world.heal()
        if cell.then == "recovery":
            world.account.now += 3600
            mine, live, serves = f":run-{world.executions}", world.row().live, world.serves()
            has_record = any(record.execution.endswith(mine) for record in world.records())
            result = world.recover()
            problems += world.broken(result) + self._problems_of_recovery(world, cell, has_record=has_record)
            if serves is None and live is not None and world.serves() != from_json(LivePointer, live).config:
                problems.append(f"{world.serves()} serves, though nothing was recorded")
        else:
            world.account.now += DAY
            result = world.run(reason=cell.then)
            # only its own recovery removes the incomplete scaling of a dead execution: others see an unchanged spec
            problems += [problem for problem in world.broken(result) if not problem.startswith(BADLY_SCALED)]
        return Result(outcome=result.outcome, met=crashed.faults_met, problems=[*problems, *world.ended()])

    def _problems_of_deleted(self, world: Deploy, cell: Cell, result: Run) -> list[str]:
        """The record must name watched alarms that were deleted before the machine's last check."""
        then = result.states[result.labels.index(cell.label) :]
        is_seen = bool(self.looks & {*then}) and (self.watches in result.states and self.watches not in then)
        records = world.records(world.executions)
        if not records and world.excused:
            return []
        is_named = any("so no longer watched: " in record.reason for record in records)
        return [f"alarms were deleted: {is_seen}, the record says so: {is_named}"] if is_seen is not is_named else []

    def _problems_of_recovery(self, world: Deploy, cell: Cell, *, has_record: bool) -> list[str]:
        (record,) = world.records(world.executions)
        problems = (
            [] if (record.recovers is None) is has_record else [f"recovers {record.recovers}, recorded: {has_record}"]
        )
        serves, endpoint = world.serves(), world.serving()
        if cell.scenario == self.unproven and serves not in (None, OLD):
            problems.append(f"{serves} serves without evidence")
        if endpoint is not None and endpoint.status == "Failed" and world.account.update != "failed":
            problems.append("a failed endpoint stays")
        return problems


def _met_by(world: Deploy, cell: Cell) -> tuple[list[Fault], Callable[[str], None] | None]:
    if cell.kind not in (ALARMS, SCHEDULE):
        return met_by(cell), None
    seen: list[str] = []

    def by_hand(label: str) -> None:
        if label == cell.label and not seen:
            seen.append(label)
            (world.account.alarms if cell.kind == ALARMS else world.account.rules).clear()

    return [], by_hand


def _next(world: Deploy) -> list[str]:
    """Return the violations after another execution without a fault, a day later."""
    world.account.now, world.account.create = world.account.now + DAY, "new"
    world.heal()
    world.restore_schedule()
    return world.broken(world.run())
