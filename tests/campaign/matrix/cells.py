"""Cells of a machine in the interpreter: each task of its definition that a scenario reaches, each fault, each crash.

Cells are derived: a new state of the machine gets its cells with the first scenario that reaches it.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

from tests.campaign.machine import KINDS, LOST, RAISES, Fault, Run

SEED = 20261129
# besides faults of one call: a function that raises, a deletion by a person, a second call that fails permanently
ALARMS, SCHEDULE, TWO = "alarms deleted", "schedule deleted", "a second one"
ADDED = (RAISES, ALARMS, SCHEDULE, TWO)
CRASH = "crash"
Make = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The fault or crash of one call of a scenario.

    Args:
        scenario: One of the machine's.
        state: The task.
        label: Its call.
        kind: One of ``KINDS``, of ``ADDED``, or ``CRASH``.
        always: Whether later attempts fail too.
        after: Whether the call does its work first.
        occurrence: Index of the crashing call of the label.
        then: Execution after a crash.
        second: Another task and call that fail permanently.
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
        """Key of the results."""
        what = [self.scenario, self.state, self.label, self.kind]
        what += ["for good"] if self.always else []
        what += ["lost"] if self.after else []
        what += [f"call {self.occurrence}, then {self.then}"] if self.then else []
        what += [" of ".join(reversed(self.second))] if self.second[0] else []
        return ", ".join(what)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Result of a cell."""

    outcome: str
    met: int
    problems: list[str]


def reached(make: Make, scenarios: Mapping[str, Mapping[str, Any]]) -> dict[str, Run]:
    """Return what each scenario does without a fault."""
    return {name: make(**changes).run() for name, changes in scenarios.items()}


def all_cells(faults: Sequence[Cell], crashes: Sequence[Cell]) -> list[Cell]:
    """Return the cells of faults and of crashes, alternating: any prefix is a fair sample of both."""
    pairs = chain.from_iterable(zip_longest(faults, crashes))
    return [cell for cell in pairs if cell is not None]


def fault_cells(runs: Mapping[str, Run], added: Sequence[str] = ADDED) -> list[Cell]:
    """Return each task of each scenario with each kind, in a seeded order: any prefix is a fair sample."""
    chance, found = random.Random(SEED), []
    for scenario, done in runs.items():
        pairs = list(dict.fromkeys(zip(done.states, done.labels, strict=True)))
        for state, label in pairs:
            found += [
                Cell(scenario=scenario, state=state, label=label, kind=kind, always=always, after=after)
                for kind, always, after in _ways(label, added)
            ]
            found.append(Cell(scenario=scenario, state=state, label=label, kind=TWO, second=chance.choice(pairs)))
    chance.shuffle(found)
    return found


def crash_cells(runs: Mapping[str, Run], then: Sequence[str], *, first: int | None = None) -> list[Cell]:
    """Return each call of each scenario with a crash before and after it and the execution after that, in a seeded order.

    Args:
        runs: What each scenario does without a fault.
        then: Possible executions after the crash.
        first: Number of first calls in a loop that crash, besides the last. Default: all.
    """
    found = [
        Cell(
            scenario=scenario,
            state=state,
            label=label,
            kind=CRASH,
            after=after,
            occurrence=number,
            then=what,
        )
        for scenario, done in runs.items()
        for position, (state, label) in enumerate(zip(done.states, done.labels, strict=True))
        for number in (done.labels[: position + 1].count(label),)
        if first is None or number <= first or number == done.labels.count(label)
        for after in (False, True)
        for what in then
    ]
    random.Random(SEED).shuffle(found)
    return found


def met_by(cell: Cell) -> list[Fault]:
    """Return the faults of a cell, or its crash."""
    if cell.kind == CRASH:
        return [Fault(cell.label, CRASH, after=cell.after, occurrence=cell.occurrence)]
    first = Fault(
        cell.label,
        "access denied" if cell.kind == TWO else cell.kind,
        always=cell.always or cell.kind == TWO,
        after=cell.after,
        state=cell.state,
    )
    state, label = cell.second
    return [first, *([Fault(label, "5xx", always=True, state=state)] if state else [])]


def _ways(label: str, added: Sequence[str]) -> Iterator[tuple[str, bool, bool]]:
    for kind in KINDS:
        # permanent errors are alike to the machine: two kinds suffice
        for always in (False, True) if kind in ("5xx", "access denied") else (False,):
            for after in (False, True) if kind in LOST else (False,):
                yield kind, always, after
    if RAISES in added and label.startswith("lambda:"):
        yield from ((RAISES, always, False) for always in (False, True))
    yield from ((kind, True, False) for kind in (ALARMS, SCHEDULE) if kind in added)
