"""Cells of the Deploy machine in the interpreter: each task of its definition that a scenario reaches, each fault, each crash.

They are derived: a state that is added to the machine has its cells with the first scenario that reaches it.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tests.campaign.deploy import DAY, NO_ALARM, OLD, Deploy
from tests.campaign.machine import KINDS, LOST, RAISES, Fault, Run
from tests.campaign.scenarios import SCENARIOS

SEED = 20261129
# besides the faults of one call: a function that raises, what a person deletes meanwhile, a second call that fails for good
ALARMS, SCHEDULE, TWO = "alarms deleted", "schedule deleted", "a second one"
ADDED = (RAISES, ALARMS, SCHEDULE, TWO)
CRASH = "crash"
THEN = ("recovery", "approval", "rollback")
Make = Callable[..., Deploy]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What one call of a scenario meets.

    Args:
        scenario: One of ``SCENARIOS``.
        state: The task.
        label: Its call.
        kind: One of ``KINDS``, of ``ADDED``, or ``CRASH``.
        always: Whether later attempts meet it too.
        after: Whether the call has done its work.
        occurrence: Which call of the label a crash meets.
        then: What comes after a crash: one of ``THEN``.
        second: Task and call that fail for good besides.
    """

    scenario: str
    state: str
    label: str
    kind: str
    always: bool = False
    after: bool = False
    occurrence: int = 1
    then: str = ""
    second: tuple[str, str] = ("", "")

    @property
    def key(self) -> str:
        """How the cell is known in results."""
        what = [self.scenario, self.state, self.label, self.kind]
        what += ["for good"] if self.always else []
        what += ["lost"] if self.after else []
        what += [f"call {self.occurrence}, then {self.then}"] if self.then else []
        what += [" of ".join(reversed(self.second))] if self.second[0] else []
        return ", ".join(what)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a cell came to."""

    outcome: str
    met: int
    problems: list[str]


def reached(make: Make) -> dict[str, Run]:
    """Return what each scenario does without a fault of a cell."""
    return {name: make(**changes).run() for name, changes in SCENARIOS.items()}


def fault_cells(runs: Mapping[str, Run]) -> list[Cell]:
    """Return each task of each scenario with each kind, in a seeded order: any beginning is a fair sample."""
    chance, found = random.Random(SEED), []
    for scenario, done in runs.items():
        pairs = list(dict.fromkeys(zip(done.states, done.labels, strict=True)))
        for state, label in pairs:
            found += [
                Cell(scenario=scenario, state=state, label=label, kind=kind, always=always, after=after)
                for kind, always, after in _ways(label)
            ]
            found.append(Cell(scenario=scenario, state=state, label=label, kind=TWO, second=chance.choice(pairs)))
    chance.shuffle(found)
    return found


def crash_cells(runs: Mapping[str, Run]) -> list[Cell]:
    """Return each call of each scenario before and after which the execution dies, with what comes then, in a seeded order."""
    found = [
        Cell(
            scenario=scenario,
            state=state,
            label=label,
            kind=CRASH,
            after=after,
            occurrence=done.labels[: position + 1].count(label),
            then=then,
        )
        for scenario, done in runs.items()
        for position, (state, label) in enumerate(zip(done.states, done.labels, strict=True))
        for after in (False, True)
        for then in THEN
    ]
    random.Random(SEED).shuffle(found)
    return found


def run_cell(make: Make, cell: Cell) -> Result:
    """Run a cell and return what of the invariant does not hold, at once, after what comes then, and once probations are over."""
    return _run_crash(make, cell) if cell.kind == CRASH else _run_faults(make, cell)


def _ways(label: str) -> Iterator[tuple[str, bool, bool]]:
    for kind in KINDS:
        # for good, all errors are alike to the machine: two kinds say so
        for always in (False, True) if kind in ("5xx", "access denied") else (False,):
            for after in (False, True) if kind in LOST else (False,):
                yield kind, always, after
    if label.startswith("lambda:"):
        yield from ((RAISES, always, False) for always in (False, True))
    yield from ((kind, True, False) for kind in (ALARMS, SCHEDULE))


def _run_faults(make: Make, cell: Cell) -> Result:
    world = make(**SCENARIOS[cell.scenario])
    faults, hook = _met_by(world, cell)
    result = world.run(*faults, hook=hook)
    excused = frozenset({fault.label for fault in faults if fault.always and fault.kind != "latency"})
    if cell.kind == SCHEDULE:
        excused |= {"eventbridge:enableRule"}
    problems = world.broken(result, excused=excused)
    if cell.kind == ALARMS:
        problems = [each for each in problems if each != NO_ALARM] + _problems_of_deleted(world, cell, result)
    if excused and world.account.update != "failed":
        problems += [f"next: {problem}" for problem in _next(world)]
    if not excused or world.account.update != "failed":
        problems += world.ended()
    return Result(outcome=result.outcome, met=result.faults_met, problems=problems)


def _met_by(world: Deploy, cell: Cell) -> tuple[list[Fault], Callable[[str], None] | None]:
    if cell.kind in (ALARMS, SCHEDULE):
        seen: list[str] = []

        def by_hand(label: str) -> None:
            if label == cell.label and not seen:
                seen.append(label)
                (world.account.alarms if cell.kind == ALARMS else world.account.rules).clear()

        return [], by_hand
    first = Fault(
        cell.label,
        "access denied" if cell.kind == TWO else cell.kind,
        always=cell.always or cell.kind == TWO,
        after=cell.after,
        state=cell.state,
    )
    state, label = cell.second
    return [first, *([Fault(label, "5xx", always=True, state=state)] if state else [])], None


def _problems_of_deleted(world: Deploy, cell: Cell, result: Run) -> list[str]:
    """Hold the record to that it names alarms which were watched and deleted before the machine looked for the last time."""
    then = result.states[result.labels.index(cell.label) :]
    is_seen = bool({"LastLook", "AskWhatRang"} & {*then}) and ("PutAlarm" in result.states and "PutAlarm" not in then)
    is_named = any("so no longer watched: " in record.reason for record in world.records(world.executions))
    return [f"alarms were deleted: {is_seen}, the record says so: {is_named}"] if is_seen is not is_named else []


def _next(world: Deploy) -> list[str]:
    """Return what of the invariant does not hold after another execution, without a fault, a day later."""
    world.account.now, world.account.create = world.account.now + DAY, "new"
    world.restore_schedule()
    return world.broken(world.run())


def _run_crash(make: Make, cell: Cell) -> Result:
    world = make(**SCENARIOS[cell.scenario])
    fault = Fault(cell.label, CRASH, after=cell.after, occurrence=cell.occurrence)
    crashed = world.run(fault)
    problems = [f"at once: {problem}" for problem in world.broken(crashed) if "orphan" not in problem]
    if cell.then == "recovery":
        world.account.now += 3600
        told = {record.execution for record in world.records() if record.execution.endswith(f":run-{world.executions}")}
        result = world.recover()
        problems += world.broken(result) + _problems_of_recovery(world, cell, has_record=bool(told))
    else:
        world.account.now += DAY
        result = world.run(reason=cell.then)
        # scaling that a dead execution half made is for its recovery alone: others see that the spec has not changed
        problems += [problem for problem in world.broken(result) if "it scales by" not in problem]
    return Result(outcome=result.outcome, met=crashed.faults_met, problems=[*problems, *world.ended()])


def _problems_of_recovery(world: Deploy, cell: Cell, *, has_record: bool) -> list[str]:
    (record,) = world.records(world.executions)
    problems = (
        [] if (record.recovers is None) is has_record else [f"recovers {record.recovers}, recorded: {has_record}"]
    )
    serving = world.serving()
    if cell.scenario == "gets no evidence" and serving is not None and serving.config != OLD:
        problems.append(f"{serving.config} serves without evidence")
    if serving is not None and serving.status == "Failed" and world.account.update != "failed":
        problems.append("a failed endpoint stays")
    return problems
