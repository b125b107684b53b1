"""The machines with derived cells: their scenarios, their worlds, and the cells of each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from tests.campaign import retrain, scenarios
from tests.campaign.functions import load_handlers, retrain_maker, tables, world_maker
from tests.campaign.machine import Run
from tests.campaign.matrix import retrain_cells, rollout_cells
from tests.campaign.matrix.cells import ADDED, Cell, Make, Result, crash_cells, fault_cells
from tests.campaign.slots import scenarios as slot_scenarios
from tests.campaign.slots.functions import slot_functions, slot_maker


class Runner(Protocol):
    """What runs a cell."""

    def run(self, make: Make, cell: Cell) -> Result:
        """Return the result of a cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine.

    Args:
        scenarios: Possible courses of its executions.
        tasks: Names of the tasks that the scenarios reach.
        world: Context manager of a factory of worlds.
        runner: Runs its cells.
        then: Possible executions after a crash.
        added: Kinds besides the faults of one call.
        first: Number of first calls in a loop that crash, besides the last. Default: all.
    """

    scenarios: Mapping[str, Mapping[str, Any]]
    tasks: frozenset[str]
    world: Callable[[], AbstractContextManager[Make]]
    runner: Runner
    then: Sequence[str]
    added: Sequence[str] = ADDED
    first: int | None = None

    def faults(self, runs: Mapping[str, Run]) -> list[Cell]:
        """Return the cells with faults."""
        return fault_cells(runs, self.added)

    def crashes(self, runs: Mapping[str, Run]) -> list[Cell]:
        """Return the cells with crashes."""
        return crash_cells(runs, self.then, first=self.first)


@contextmanager
def _deploy_world() -> Iterator[Make]:
    with tables() as current:
        yield world_maker(current, load_handlers(current))


@contextmanager
def _slot_world() -> Iterator[Make]:
    with tables() as current, slot_functions(current) as handlers:
        yield slot_maker(current, handlers)


@contextmanager
def _retrain_world() -> Iterator[Make]:
    with tables() as current:
        yield retrain_maker(current, load_handlers(current))


MACHINES = {
    "deploy": Machine(
        scenarios=scenarios.SCENARIOS,
        tasks=scenarios.TASKS,
        world=_deploy_world,
        runner=rollout_cells.RolloutCells(
            scenarios=scenarios.SCENARIOS,
            watches="PutAlarm",
            looks=frozenset({"LastLook", "AskWhatRang"}),
            unproven="gets no evidence",
        ),
        then=rollout_cells.THEN,
    ),
    "slots": Machine(
        scenarios=slot_scenarios.SCENARIOS,
        tasks=slot_scenarios.TASKS,
        world=_slot_world,
        runner=rollout_cells.RolloutCells(
            scenarios=slot_scenarios.SCENARIOS,
            watches="Preflight",  # alarms of the slots from then on, those of the rollout later
            looks=frozenset({"LookBefore", "LookAtAlarms"}),
            unproven="gets no traffic",
        ),
        then=rollout_cells.THEN,
        first=2,
    ),
    "retrain": Machine(
        scenarios=retrain.SCENARIOS,
        tasks=retrain.TASKS,
        world=_retrain_world,
        runner=retrain_cells.RetrainCells(scenarios=retrain.SCENARIOS, outcomes=retrain.OUTCOMES),
        then=retrain_cells.THEN,
        added=retrain_cells.ADDED,
    ),
}
