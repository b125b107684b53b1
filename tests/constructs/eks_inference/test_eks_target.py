"""The states of a rollout between two slots: graph, AWS calls, error handling, and rendering of policies."""

import re
from dataclasses import replace
from typing import Any

import aws_cdk as cdk
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_constructs import GoldenRequests, RolloutChecks, RolloutPolicy, ShadowTraffic
from mlops_constructs._state_machine import successors, tasks
from mlops_constructs.eks_inference import EksTarget
from mlops_constructs.eks_inference.eks_target import COMPARED_SINCE, START_SECONDS, SlotGolden
from mlops_constructs.rollout import RolloutKind, RolloutTarget
from mlops_constructs.rollout.candidate_states import CHECK_SECONDS
from mlops_constructs.rollout.deploy_machine import deploy_machine
from mlops_constructs.rollout.rollout_policy import FAILED, PROMOTED, ROLLED_BACK
from mlops_runtime.aws_api import check_machine
from mlops_runtime.contracts.rollout import RolloutSpec
from mlops_runtime.contracts.serving import GoldenSpec
from mlops_runtime.rollout.deploy_plan import look_seconds, poll_seconds

NAME = "demand-forecast"
FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function"
ROLLOUT = RolloutSpec(kind="CANARY", bake=600, maximum=3600, percent=10)
TARGET = EksTarget(endpoint_name=NAME, slot_arn=f"{FUNCTION}:slot")


BAKE = cdk.Duration.minutes(5)
SLOT = "arn:aws:lambda:us-east-1:123456789012:function:slot"
FORECAST_TARGET = EksTarget(endpoint_name="demand-forecast", slot_arn=SLOT)
FUNCTION_ARN = "arn:aws:lambda:us-east-1:123456789012:function"
SLOT_GOLDEN = SlotGolden(f"{FUNCTION_ARN}:golden", "demand-forecast")


def machine(rollout: RolloutSpec = ROLLOUT) -> dict[str, Any]:
    """The Deploy machine of a service."""
    return deploy_machine(
        endpoint_name=NAME,
        unit_name="demand",
        target=TARGET,
        rollout=rollout,
        table_name="rollout",
        preflight_arn=f"{FUNCTION}:preflight",
        record_arn=f"{FUNCTION}:record",
        verdict_arn=f"{FUNCTION}:verdict",
        bus_name="demand",
    )


MACHINE = machine()
STATES: dict[str, Any] = MACHINE["States"]
FIRST, OWN = TARGET.steps(rollout=ROLLOUT, golden_arn=None, verdict_arn=f"{FUNCTION}:verdict")


def reached(start: str, *, stop: frozenset[str] = frozenset()) -> set[str]:
    """Return every reachable state, without passing the states to stop at."""
    found, waiting = set[str](), [start]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += () if name in stop else successors(STATES[name])
    return found


def test_every_call_is_one_that_aws_takes() -> None:
    """No task has a finding against botocore's models."""
    assert check_machine(MACHINE) == []


@pytest.mark.parametrize(("name", "state"), list(tasks(MACHINE)))
def test_every_task_has_retry_catch_and_timeout(name: str, state: dict[str, Any]) -> None:
    """A task without one of them could hang, or end the execution without a record."""
    assert state["Retry"], name
    assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"]
    assert 0 < state["TimeoutSeconds"] <= 330


def test_every_successor_exists_and_every_state_is_reached() -> None:
    """The graph has no missing successor and no unreachable state."""
    assert reached("Start") == set(STATES)


def test_no_path_from_the_lock_ends_without_unlock() -> None:
    """Every path from Lock to an end passes Unlock."""
    found = reached("Lock", stop=frozenset({"Unlock"}))
    ends = {name for name, state in STATES.items() if state.get("End") or state["Type"] == "Fail"}
    assert not (found - {"Unlock"}) & ends


def test_no_path_from_the_plan_ends_without_a_record() -> None:
    """Every path from Preflight writes a record, unless writing it failed."""
    assert "Unlock" not in reached("Preflight", stop=frozenset({"Record"}))


def test_everything_that_can_fail_is_caught() -> None:
    """A Map without Catch could end the execution without Unlock."""
    assert [name for name, state in STATES.items() if state["Type"] in ("Task", "Map") and "Catch" not in state] == []


def test_no_path_leads_to_an_exit_but_by_promotion_or_the_way_back() -> None:
    """After any failure in a slot, the weights are restored before anything else."""
    found = reached(FIRST, stop=frozenset({PROMOTED, "PutBack"}))
    assert not found & {ROLLED_BACK, FAILED, "Record", "Unlock"}


def test_between_what_went_wrong_and_the_way_back_nothing_can_fail() -> None:
    """The states on the way only set variables."""
    before = {name for name, state in STATES.items() if "PutBack" in list(successors(state))}
    assert {STATES[name]["Type"] for name in before - {"AwaitBack"}} == {"Pass"}
    assert all("verdict" in STATES[name]["Assign"] for name in before - {"AwaitBack"})


def test_no_traffic_moves_before_both_slots_were_asked_for_their_health() -> None:
    """The first write of weights follows both health checks, or one for a rollback or a first model."""
    assert "AssertWeights" not in reached(FIRST, stop=frozenset({"IsSlotHealthy"}))
    assert "AssertWeights" not in reached("IsSlotHealthy", stop=frozenset({"HasLiveSlot"}))
    # and after a last check of the slot's revision
    assert [n for n, s in STATES.items() if "AssertWeights" in list(successors(s))] == ["IsSlotConfirmed"]
    assert "AssertWeights" not in reached(FIRST, stop=frozenset({"ConfirmSlot"}))
    assert "Shift" not in reached(FIRST, stop=frozenset({"AssertWeights"}))


def test_no_promotion_passes_the_evidence_by() -> None:
    """Neither the last step of a rollout nor its promotion bypasses the evidence."""
    assert PROMOTED not in reached(FIRST, stop=frozenset({"NeedsEvidence"}))
    into = {name for name, state in STATES.items() if "NextStep" in list(successors(state))}
    assert into == {"IsNearEnd", "IsLastStep"}
    assert {name for name, state in STATES.items() if "IsLastStep" in list(successors(state))} == {
        "NeedsEvidence",
        "IsEvidenceEnough",
    }
    # the step before the last one continues by the evidence alone
    (arm,) = STATES["IsNearEnd"]["Choices"]
    assert (arm["Condition"], STATES["IsNearEnd"]["Default"]) == (
        "{% $step + 2 < $count($plan.eks.steps) %}",
        "NeedsEvidence",
    )


def test_a_slot_that_is_worse_is_left_at_every_step() -> None:
    """Checks follow each evaluation of the alarms, and precede the last step."""
    assert STATES["IsQuiet"]["Default"] == "HasVerdict"
    assert STATES["AskVerdict"]["Next"] == STATES["AskVerdict"]["Catch"][0]["Next"] == "IsBaked"
    for name in ("IsBaked", "IsEvidenceEnough"):
        arm = STATES[name]["Choices"][0]
        assert (arm["Condition"], arm["Next"]) == ("{% $compared.action = 'stop' %}", "Stopped")
    assert (STATES["Stopped"]["Next"], STATES["LastVerdict"]["Catch"][0]["Next"]) == ("PutBack", "NoEvidence")


def test_each_write_of_weights_names_both_slots_of_one_set() -> None:
    """Weights always sum to 100, as complete sets come from the plan, which is validated."""
    writes = [state for _, state in tasks(MACHINE) if state["Resource"].endswith(":modifyRule")]
    assert len(writes) == 5
    for state in writes:
        (action,) = state["Arguments"]["Actions"]
        groups = action["ForwardConfig"]["TargetGroups"]
        assert [g["TargetGroupArn"] for g in groups] == [
            f"{{% $plan.eks.target_groups.{slot} %}}" for slot in ("blue", "green")
        ]
        sets = {re.sub(r"\.(blue|green) %\}$", "", group["Weight"]) for group in groups}
        assert sets in ({"{% $plan.eks.start"}, {"{% $plan.eks.steps[$step]"})


def test_a_record_that_failed_is_followed_by_the_way_back() -> None:
    """Nothing is promoted without a record, except rollbacks and first models."""
    assert list(successors(STATES["RecordFailed"])) == ["IsUnrecorded"]
    assert STATES["PutBackUnrecorded"]["Next"] == "Unlock"
    assert reached("IsUnrecorded", stop=frozenset({"Unlock"})) == {
        "IsUnrecorded",
        "PutBackUnrecorded",
        "StaysUnrecorded",
        "Unlock",
    }


def test_what_began_before_is_ended_before_it_is_waited_for() -> None:
    """Listener rules do not finish an abandoned rollout, unlike SageMaker."""
    assert STATES["TakeBack"]["Next"] == "IsPatient"
    assert STATES["TakeBack"]["Catch"][0]["Next"] == "IsPatient"
    waits = [arm for arm in STATES["Decide"]["Choices"] if "'wait'" in arm["Condition"]]
    assert [arm["Next"] for arm in waits] == ["TakeBack"]


def test_a_slot_rests_a_while_after_its_weight_is_gone() -> None:
    """Load balancers route for some seconds after the weight is zero, also after recovery of a dead execution."""
    into = [name for name, state in STATES.items() if "IdleSlot" in list(successors(state))]
    assert into == ["AwaitDrained"]
    assert STATES["AwaitDrained"]["Seconds"] >= 60


def test_the_machine_asks_nothing_of_sagemaker() -> None:
    """The machine's role needs no SageMaker permission."""
    services = {re.findall(r":::(?:aws-sdk:)?(\w+)", state["Resource"])[0] for _, state in tasks(MACHINE)}
    assert services == {"cloudwatch", "dynamodb", "elasticloadbalancingv2", "events", "lambda"}


def test_the_history_of_the_longest_rollout_fits() -> None:
    """Every loop of the longest rollout stays below 25,000 events.

    See: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
    """
    longest: dict[str, Any] = machine(RolloutSpec(kind="LINEAR", bake=3600, maximum=28_800, percent=15))["States"]
    (lock,) = (r for r in longest["Lock"]["Retry"] if "DynamoDB.ConditionalCheckFailedException" in r["ErrorEquals"])
    poll = poll_seconds(28_800)
    polls = -(-(28_800 + 900) // poll)
    task, other = 5, 2  # entered, scheduled, started, succeeded, exited; entered, exited
    looks = -(-(28_800 + 900) // look_seconds(28_800))
    waiting = looks * (2 * task + 3 * other)  # Preflight, Decide, TakeBack, IsPatient, AwaitRest
    starting = (1800 // poll + 1) * (5 * task + 9 * other)
    baking = polls * (task + 2 * other)
    reverting = polls * (task + 2 * other)
    # draining takes at most three minutes, before the last shift and after it
    evidence = 2 * (180 // poll + 1) * (2 * task + 5 * other)
    rest = 40 * task + 30 * 2 * task
    assert 3 * lock["MaxAttempts"] + waiting + starting + baking + evidence + reverting + rest < 25_000


def test_it_is_a_target() -> None:
    """Has a name and the function of its states."""
    target: RolloutTarget = FORECAST_TARGET
    assert (target.name, target.functions) == ("EKS", (SLOT,))
    assert target.kinds == {RolloutKind.ALL_AT_ONCE, RolloutKind.CANARY, RolloutKind.LINEAR}


@given(st.integers(1, 50))
def test_a_canary_is_a_share_of_the_requests(percent: int) -> None:
    """Slots shift exactly the requested share, as no instance is divided."""
    policy = RolloutPolicy.canary(percent=percent, bake=BAKE)
    assert policy.effective_percent(FORECAST_TARGET) == percent
    assert FORECAST_TARGET.problems(policy) == []


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (RolloutPolicy.rolling(batch_percent=20, bake=BAKE), "got ROLLING: slots are complete fleets"),
        (
            RolloutPolicy.canary(
                percent=10, bake=BAKE, checks=RolloutChecks(shadow=ShadowTraffic(percent=10, bake=BAKE))
            ),
            "load balancers do not copy requests; omit shadow",
        ),
        (
            RolloutPolicy.canary(percent=10, bake=BAKE, checks=RolloutChecks(retained_versions=2)),
            "keep must be 1 on EKS, got 2",
        ),
    ],
)
def test_refuses_by_name_what_slots_cannot(policy: RolloutPolicy, message: str) -> None:
    """The error has the alternative."""
    (problem,) = FORECAST_TARGET.problems(policy)
    assert message in problem


@pytest.mark.parametrize(
    ("synthetic", "expected"),
    [
        (None, []),
        (10, ["synthetic requests need a SageMaker endpoint and are not possible on EKS; omit synthetic_invocations"]),
    ],
)
def test_refuses_synthetic_requests(tmp_path: Any, synthetic: int | None, expected: list[str]) -> None:
    """Synthetic requests need a SageMaker endpoint; golden requests do not."""
    path = tmp_path / "golden.jsonl"
    path.write_text('{"name": "typical", "body": "1\\n", "rows": 1, "content_type": "text/csv"}\n')
    checks = RolloutChecks(golden=GoldenRequests.from_file(path), synthetic_invocations=synthetic)
    problems = FORECAST_TARGET.problems(RolloutPolicy.canary(percent=10, bake=BAKE, checks=checks))
    assert [problem.split(",")[0] for problem in problems] == expected


def test_the_lock_outlives_the_start_of_the_pods() -> None:
    """Includes the rehearsal, if there is one."""
    plain = RolloutPolicy.canary(percent=10, bake=BAKE).to_spec()
    assert FORECAST_TARGET.lead_seconds(plain) == START_SECONDS
    golden = GoldenSpec(uri="s3://assets/golden.jsonl", sha256="7" * 64)
    assert FORECAST_TARGET.lead_seconds(replace(plain, golden=golden)) == START_SECONDS + CHECK_SECONDS


def test_what_cannot_be_recorded_is_put_back() -> None:
    """The states after a failed record restore the weights."""
    first, states = FORECAST_TARGET.unrecorded(next_state="Unlock")
    assert first in states
    assert states["PutBackUnrecorded"]["Resource"].endswith(":modifyRule")


def _payload(state: Any) -> dict[str, Any]:
    """Return the payload of a state."""
    return dict(state["Arguments"]["Payload"])


def test_the_candidate_is_checked_beside_the_live_slot() -> None:
    """Uses the service's name, under which captures of both slots are stored."""
    payload = _payload(SLOT_GOLDEN.check(next_state="Next", catch="Caught"))
    assert (payload["mode"], payload["endpoint"]) == ("check", "demand-forecast")
    assert (payload["slot"], payload["live_slot"]) == ("{% $plan.rehearsal.slot %}", "{% $plan.rehearsal.live_slot %}")
    assert {"golden", "answers", "now", "execution"} < set(payload)


def test_it_is_asked_again_without_the_live_slot() -> None:
    """Failed requests count as passed until the promotion decides."""
    state = SLOT_GOLDEN.again(next_state="Next", catch="Caught")
    assert _payload(state)["slot"] == "{% $plan.again.slot %}"
    assert "live_slot" not in _payload(state)
    assert "'passed': true" in state["Catch"][0]["Assign"]["again"]


@pytest.mark.parametrize(("golden", "more"), [(None, False), (SLOT_GOLDEN.golden_arn, True)])
def test_a_service_without_golden_requests_has_no_state_for_them(golden: str | None, more: bool) -> None:
    """Compares calls from the first step on."""
    target = EksTarget(endpoint_name="demand-forecast", slot_arn=f"{FUNCTION_ARN}:slot")
    rollout = RolloutSpec(kind="CANARY", bake=600, maximum=3600, percent=10)
    _, states = target.steps(rollout=rollout, golden_arn=golden, verdict_arn=f"{FUNCTION_ARN}:verdict")
    assert ("CheckGolden" in states, "AskAgain" in states, "NotGolden" in states) == (more, more, more)
    assert (states["AssertWeights"]["Assign"]["since"] == COMPARED_SINCE) is more
