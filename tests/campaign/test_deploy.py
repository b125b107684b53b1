"""The Deploy machine under every fault of every call: what serves is right, one record says which, nothing is left over."""

import itertools
from typing import Any

import pytest
from tests.campaign.account import ANSWER, OLD
from tests.campaign.deploy import FULL_MACHINE, FULL_SPEC
from tests.campaign.machine import KINDS, LOST, Fault, Run, tasks_of

SCENARIOS: dict[str, dict[str, Any]] = {
    "promotes": {},
    "is rolled back by an alarm": {"update": "old"},
    "gets no evidence": {"invocations": 3},
    "fails to update": {"update": "failed"},
    "is the first model": {"serves": False},
    "is a first model that fails": {"serves": False, "create": "failed"},
}
# a machine with a rehearsal, a shadow whose answers are compared, golden requests asked again and captured answers
_WRONG = '{"predictions": [2.0]}'
FULL_SCENARIOS: dict[str, dict[str, Any]] = {
    "passes all checks": {},
    "passes all checks, is rolled back by an alarm": {"update": "old"},
    "passes all checks, fails to update": {"update": "failed"},
    "is a first model with all checks": {"serves": False},
    "is rejected by golden requests": {"golden": (9.0, 9.0)},
    "answers otherwise once it serves": {"golden": (1.0, 2.0)},
    "answers errors that say 200": {"bodies": ('{"error": "out of memory"}', ANSWER)},
    "answers otherwise as a shadow": {"bodies": (ANSWER, _WRONG)},
    "gets no evidence as a shadow": {"invocations": 3},
}
# what only a fault, an execution that died, or an asynchronous endpoint needs; the faults and crashes below get there
_NOT_WITHOUT_A_FAULT = {
    "IsModelMade", "IsConfigMade", "DeleteRehearsal", "RemoveFailed", "LookForRemoved",
    "DeregisterTarget", "DeleteWakes", "PutWakePolicy", "PutWakeAlarm",
}  # fmt: skip
SCENARIOS |= {name: {"spec": FULL_SPEC, **changes} for name, changes in FULL_SCENARIOS.items()}

# in the default suite the scenario with the most calls meets a seventh of the faults: each call a kind, each kind calls of all
# steps; the campaign has all faults of all scenarios
FIRST, *_ = SCENARIOS
ALL_CHECKS = "passes all checks"
SOME = [
    pytest.param(FIRST, len(KINDS), id=f"{FIRST}-a seventh"),
    pytest.param(ALL_CHECKS, 3 * len(KINDS), id=f"{ALL_CHECKS}-a part"),
    *(pytest.param(name, 1, id=name, marks=pytest.mark.campaign) for name in SCENARIOS),
]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_ends_well_without_a_fault(deploy: Any, scenario: str) -> None:
    """Each way that a rollout may go."""
    world = deploy(**SCENARIOS[scenario])
    result = world.run()
    assert world.broken(result) == []


def test_every_task_of_the_machine_runs_in_a_scenario(deploy: Any) -> None:
    """So that a state that is added later meets faults and crashes too: it fails here until a scenario gets there."""
    met = set[str]()
    for name in (*FULL_SCENARIOS, "is a first model that fails"):
        met |= set(deploy(**SCENARIOS[name]).run().states)
    assert set(tasks_of(FULL_MACHINE)) - met == _NOT_WITHOUT_A_FAULT


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("scenario", "share"), SOME)
def test_no_fault_of_any_call_leaves_a_bad_model_or_a_mess(deploy: Any, scenario: str, share: int, kind: str) -> None:
    """Each call fails once or for good, before or after its work is done."""
    changes, broken = SCENARIOS[scenario], []
    targets = _targets(deploy(**changes).run())
    for label, state in targets[KINDS.index(kind) % share :: share]:
        # for good, all errors are alike to the machine: two kinds say so
        for always in (False, True) if kind in ("5xx", "access denied") else (False,):
            for after in (False, True) if kind in LOST else (False,):
                fault = Fault(label, kind, always=always, after=after, state=state)
                world = deploy(**changes)
                result = world.run(fault)
                assert result.faults_met > 0
                excused = frozenset({label}) if always and kind != "latency" else frozenset[str]()
                broken += [f"{fault}: {problem}" for problem in world.broken(result, excused=excused)]
                if excused and kind == "access denied" and world.account.update != "failed":
                    # what could not be done then, the next execution does
                    world.account.now, world.account.create = world.account.now + 86_400, "new"
                    broken += [f"{fault}, next: {problem}" for problem in world.broken(world.run())]
    assert broken == []


@pytest.mark.parametrize(("scenario", "share"), SOME)
def test_a_crash_between_any_two_calls_is_mended_by_the_next_execution(deploy: Any, scenario: str, share: int) -> None:
    """The execution dies before or after a call; hours later the same package is approved again, or the way back is asked for."""
    changes, broken = SCENARIOS[scenario], []
    labels = deploy(**changes).run().labels
    crashes = list(itertools.product(range(len(labels)), (False, True), ("approval", "rollback")))
    for position, after, reason in crashes[::share]:
        label, occurrence = labels[position], labels[: position + 1].count(labels[position])
        fault = Fault(label, "crash", after=after, occurrence=occurrence)
        world = deploy(**changes)
        crashed = world.run(fault)
        broken += [f"{fault}, at once: {problem}" for problem in world.broken(crashed) if "orphan" not in problem]
        world.account.now += 86_400
        result = world.run(reason=reason)
        broken += [f"{fault}, then {reason}: {problem}" for problem in world.broken(result)]
    assert broken == []


@pytest.mark.campaign
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_crash_between_any_two_calls_is_judged_by_its_recovery(deploy: Any, scenario: str) -> None:
    """What serves afterwards has its evidence or is the old model, one record tells of both executions, nothing is left over."""
    changes, broken = SCENARIOS[scenario], []
    labels = deploy(**changes).run().labels
    for position, label in enumerate(labels):
        for after in (False, True):
            fault = Fault(label, "crash", after=after, occurrence=labels[: position + 1].count(label))
            world = deploy(**changes)
            world.run(fault)
            world.account.now += 3600
            told = {record.execution for record in world.records() if not record.execution.endswith(":earlier")}
            result = world.recover()
            broken += [f"{fault}: {problem}" for problem in world.broken(result)]
            (record,) = world.records(world.executions)
            if (record.recovers is None) is not bool(told):
                broken.append(f"{fault}: told {told}, recovers {record.recovers}")
            serving = world.serving()
            if scenario == "gets no evidence" and serving is not None and serving.config != OLD:
                broken.append(f"{fault}: {serving.config} serves without evidence")
            if serving is not None and serving.status == "Failed" and world.account.update != "failed":
                broken.append(f"{fault}: a failed endpoint stays")
    assert broken == []


def _targets(run: Run) -> list[tuple[str, str]]:
    """Return the calls of a run that meet a fault: each label, and each of its states where it has several."""
    pairs = list(dict.fromkeys(zip(run.labels, run.states, strict=True)))
    labels = [label for label, _ in pairs]
    alone = [(label, "") for label in dict.fromkeys(labels)]
    return [*alone, *(pair for pair in pairs if labels.count(pair[0]) > 1)]
