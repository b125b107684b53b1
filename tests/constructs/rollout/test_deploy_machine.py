"""The Deploy machine: its graph, its calls against AWS's API, and its behavior when run against a fake AWS."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from mlops_constructs._state_machine import assign, successors, tasks
from mlops_constructs.eks_inference.eks_target import EksTarget
from mlops_constructs.rollout import SageMakerTarget
from mlops_constructs.rollout.deploy_machine import NO_QUOTAS, deploy_machine, hold_seconds, quota_states
from mlops_runtime.aws_api import check_machine
from mlops_runtime.contracts.rollout import RolloutSpec
from mlops_runtime.contracts.serving import GoldenSpec, ShadowSpec
from mlops_runtime.rollout.deploy_plan import look_seconds, poll_seconds
from mlops_runtime.rollout.fleet_capacity import no_scaling
from mlops_runtime.rollout.rollout_progress import PHASES

NAME, OLD, NEW = "demand-forecast", "demand-forecast-11111111", "demand-forecast-22222222"
LOST = -1.0  # in place of a share: the function fails
REQUEST = {"reason": "approval", "requested_by": "ann", "requested_at": "2017-08-01T00:00:00Z"}
GOLDEN = GoldenSpec(uri="s3://assets/golden.jsonl", sha256="0" * 64)
ROLLOUT = RolloutSpec(
    kind="CANARY", bake=600, maximum=3600, percent=50, golden=GOLDEN, shadow=ShadowSpec(percent=10, bake=900)
)
INSTANCE_TYPES = ["ml.m5.large", "ml.c7g.large", "ml.m5.large"]
QUOTA_PAGES = [
    {"Quotas": [{"QuotaName": "ml.t2.medium for endpoint usage", "Value": 1.0}], "NextToken": "1"},
    {"Quotas": [{"QuotaName": "ml.m5.large for endpoint usage", "Value": 4.0}], "NextToken": "2"},
    {
        "Quotas": [
            {"QuotaName": "ml.c7g.large for endpoint usage", "Value": 20.0},
            {"QuotaName": "ml.c7g.large for training job usage", "Value": 3.0},
        ],
        "NextToken": "3",
    },
]
QUOTA_MACHINE: dict[str, Any] = {
    "QueryLanguage": "JSONata",
    "StartAt": "Start",
    "States": {
        "Start": assign("IsHeldToQuotas", request="{% $states.input %}", quotas=NO_QUOTAS, page=""),
        **quota_states(INSTANCE_TYPES, next_state="Done"),
        "Done": {"Type": "Pass", "Output": "{% $quotas %}", "End": True},
    },
}


def machine(rollout: RolloutSpec = ROLLOUT) -> dict[str, Any]:
    """The machine of an endpoint; candidates are rehearsed if the policy requires it."""
    function = "arn:aws:lambda:us-east-1:123456789012:function"
    return deploy_machine(
        endpoint_name=NAME,
        unit_name="demand",
        target=SageMakerTarget(endpoint_name=NAME, instance_count=2),
        rollout=rollout,
        table_name="rollout",
        preflight_arn=f"{function}:preflight",
        record_arn=f"{function}:record",
        verdict_arn=f"{function}:verdict",
        bus_name="demand",
        golden_arn=None if rollout.golden is None else f"{function}:golden",
        answers_arn=f"{function}:answers",
        has_watch=True,
        instance_types=["ml.m5.large", "ml.c7g.large"],
    )


MACHINE = machine()
STATES: dict[str, Any] = MACHINE["States"]  # type: ignore[assignment]  # a machine is plain JSON
PLAN: dict[str, Any] = {
    "action": "update",
    "reason": "approved: package/1",
    "endpoint": NAME,
    "variant": "AllTraffic",
    "create_model": {"ModelName": NEW},
    "create_endpoint_config": {"EndpointConfigName": NEW},
    "create_endpoint": {"EndpointName": NAME, "EndpointConfigName": NEW},
    "update_endpoint": {"EndpointName": NAME, "EndpointConfigName": NEW},
    "revert_endpoint": {"EndpointName": NAME, "EndpointConfigName": OLD},
    "alarms": [{"AlarmName": "demand-forecast-rollout-22222222-errors"}],
    "alarm_names": ["demand-forecast-rollout-22222222-errors"],
    "model_name": NEW,
    "config_name": NEW,
    "previous_config": OLD,
    "watched": ["demand-forecast-rollout-22222222-errors", "unit-errors"],
    "expired": [],
    "leftovers": {"versions": [], "rehearsals": [], "alarms": []},
    "rehearsal": {},
    "synthetic": {},
    "shadow": {},
    "scaling": no_scaling(),
    "probation": 0,
    "probation_alarm": {},
    "probation_share": {},
    "poll_seconds": 30,
    "look_seconds": 30,
    "bake": 600,
    "min_invocations": 20,
    "started": "2017-08-01T00:00:00Z",
    "verdict": {"fleet": NEW},
    "again": {},
    "bodies": {},
    "stop": {
        "alarm": "demand-forecast-rollout-22222222-verdict",
        "metric": {"Namespace": "MLOps/Rollout", "MetricData": []},
    },
}
CREATE = PLAN | {
    "action": "create",
    "alarms": [],
    "alarm_names": [],
    "watched": [],
    "revert_endpoint": {},
    "previous_config": None,
    "min_invocations": 0,
    "verdict": {},
}


def test_each_state_in_which_the_machine_waits_is_in_a_phase_that_people_are_told() -> None:
    """Covers SageMaker and slots; no phase names a missing state."""
    function = "arn:aws:lambda:us-east-1:123456789012:function:f"
    slots = deploy_machine(
        endpoint_name=NAME,
        unit_name="demand",
        target=EksTarget(endpoint_name=NAME, slot_arn=function),
        rollout=RolloutSpec(kind="CANARY", bake=600, maximum=3600, percent=10),
        table_name="rollout",
        preflight_arn=function,
        record_arn=function,
        verdict_arn=function,
        bus_name="demand",
    )["States"]
    assert isinstance(slots, dict)
    states = {**STATES, **slots}
    assert PHASES.keys() - states.keys() == set()
    assert {name for name, state in states.items() if state["Type"] == "Wait"} - PHASES.keys() == set()


class FakeAws:
    """An account whose endpoint serves ``config``; ``updates`` has the config at the end of each update."""

    def __init__(
        self, error: type[Exception], plan: dict[str, Any], *, updates: list[str], invocations: int = 100
    ) -> None:
        self.error, self.plan, self.updates = error, plan, updates
        self.config, self.status, self.invocations = OLD, "InService", invocations
        self.polls_left, self.fail, self.lock, self.corrected = 0, dict[str, Any](), "", ""
        self.shadow: dict[str, list[Any]] = {
            "InvocationModelErrors": [{"Sum": 0.0}, {"Sum": 1.0}],
            "ModelLatency": [{"ExtendedStatistics": {"p95": 90000.0}}],
        }
        self.deleted = list[str]()
        self.firing, self.golden, self.rehearsal, self.rehearsals = [], True, "InService", set[str]()
        self.made, self.again = set[str](), list[bool | None]()
        self.stage, self.takes_back, self.note, self.moving = "", False, "", "Updating"
        self.alarm_reason = "why"  # the reason of an alarm
        self.unread = list[bool | None]()
        self.requests, self.good_for, self.silent, self.evidence = 0, 1000, False, 1.5
        self.allowed: float | None = None

    def __call__(self, name: str, arguments: dict[str, Any]) -> Any:
        """Return the response to a call."""
        if self.fail.get(name):
            raise self.error(*self.fail[name].pop(0))
        endpoint = arguments.get("EndpointName", "")
        if "-golden-" in endpoint:
            return self.rehearse(name, endpoint)
        match name:
            case "lambda:invoke":
                return {"Payload": self.answer(arguments["FunctionName"].rpartition(":")[2], arguments["Payload"])}
            case "dynamodb:updateItem":
                self.lock = "held" if arguments["UpdateExpression"].startswith("SET") else "free"
            case "sagemaker:updateEndpoint" | "sagemaker:createEndpoint":
                self.polls_left, self.config = 2, self.updates.pop(0)
            case "sagemaker:describeEndpoint":
                self.polls_left -= 1
                status = self.moving if self.polls_left > 0 else self.status
                if status == "InService" and self.moving == "RollingBack":
                    self.firing = []
                return {"EndpointStatus": status, "EndpointConfigName": self.config, **self.pending(status)}
            case "cloudwatch:setAlarmState" if self.takes_back:
                self.config, self.firing, self.alarm_reason = OLD, [arguments["AlarmName"]], arguments["StateReason"]
            case "sagemaker:createModel" | "sagemaker:createEndpointConfig":
                self.made.add(name.replace("create", "describe"))
            case "sagemaker:describeModel" | "sagemaker:describeEndpointConfig":
                self.find(name)
            case "cloudwatch:getMetricStatistics":
                return {"Datapoints": self.measure(arguments)}
            case "cloudwatch:describeAlarms":
                there = [name for name in arguments["AlarmNames"] if name not in (*self.firing, *self.deleted)]
                alarms = [
                    {"AlarmName": n, "StateValue": "ALARM", "StateReason": self.alarm_reason} for n in self.firing
                ]
                alarms += [{"AlarmName": name, "StateValue": "OK"} for name in there]
                return {"MetricAlarms": alarms, "CompositeAlarms": []}
        return {}

    def answer(self, function: str, payload: dict[str, Any]) -> Any:
        """Return a function's response."""
        if function == "preflight":
            return self.plan if isinstance(self.plan, dict) else self.plan.pop(0)
        if function == "golden":
            return self.check(payload)
        if function == "answers":
            return self.read()
        if function == "record":
            return {"sequence": 1, "outcome": self.corrected or payload["outcome"]}
        if self.silent:
            raise self.error("Lambda.Unknown", "it timed out")
        if "share" in payload:
            if self.allowed == LOST:
                raise self.error("Lambda.Unknown", "IncompleteMetricsError")
            return {"allowed_share": self.allowed}
        self.requests += 1
        action = "stop" if self.requests > self.good_for else "continue"
        sentence = f"after {self.requests} minutes: few answers failed"
        counted = {"calls": self.invocations, "evidence": self.evidence, "minutes": self.requests}
        return {"action": action, "sentence": sentence, **counted}

    def pending(self, status: str) -> dict[str, Any]:
        """Return the description of an update during its bake."""
        if status != "Updating" or not self.stage:
            return {}
        text = (
            f"Baking for 600 seconds (TerminationWaitInSeconds) with traffic enabled on {self.stage} of 2 instance(s)."
        )
        variant = {"VariantName": "AllTraffic", "VariantStatus": [{"Status": "Baking", "StatusMessage": text}]}
        return {"PendingDeploymentSummary": {"EndpointConfigName": NEW, "ProductionVariants": [variant]}}

    def read(self) -> dict[str, Any]:
        """Return the result of captured answers; ``unread`` lists for each call whether it stops the rollout."""
        found = self.unread.pop(0) if self.unread else False
        if found is None:
            raise self.error("Lambda.Unknown", "it timed out")
        return {"is_stopped": found, "sentence": "after 3 minutes: 7 of 9 captured answers had no readable numbers"}

    def check(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return the result of golden requests; ``again`` lists that of each repetition."""
        passed = self.again.pop(0) if payload["mode"] == "again" else self.golden
        if passed is None:
            raise self.error("Lambda.Unknown", "GoldenCallError")
        return {"passed": passed, "reason": "row 3 is NaN", "calls": 7, "failures": 0, "note": self.note}

    def find(self, name: str) -> None:
        """Return whether a model or config was created."""
        if name not in self.made:
            raise self.error("SageMaker.SageMakerException", "Could not find it")

    def measure(self, arguments: dict[str, Any]) -> list[Any]:
        """Return datapoints of the shadow or of the new fleet."""
        if {"Name": "VariantName", "Value": "Shadow"} in arguments["Dimensions"]:
            return self.shadow[arguments["MetricName"]]
        raise ValueError("only a shadow is measured by the machine itself")

    def rehearse(self, name: str, endpoint: str) -> Any:
        """Respond to a call about a rehearsal."""
        if name == "sagemaker:createEndpoint":
            self.rehearsals.add(endpoint)
        elif endpoint not in self.rehearsals:
            raise self.error("SageMaker.SageMakerException", f"Could not find endpoint {endpoint}")
        elif name == "sagemaker:deleteEndpoint":
            if self.rehearsal == "Creating":
                self.rehearsal = "Failed"
                raise self.error("SageMaker.SageMakerException", "Cannot update in-progress endpoint")
            self.rehearsals.remove(endpoint)
        return {"EndpointStatus": self.rehearsal, "EndpointConfigName": endpoint}


@pytest.fixture
def deploy(run_machine: Any, aws_error: type[Exception]) -> Callable[..., tuple[Any, FakeAws]]:
    """Run the machine on a fake account; return the run and the account."""

    def run(plan: dict[str, Any], *, updates: list[str], request: dict[str, str] = REQUEST, **account: Any) -> Any:
        aws = FakeAws(aws_error, plan, updates=updates, invocations=account.pop("invocations", 100))
        for name, value in account.items():
            setattr(aws, name, value)
        return run_machine(MACHINE, request, aws), aws

    return run


def recorded(run: Any) -> tuple[str, str]:
    """Return outcome and reason as passed to the audit function."""
    payload = next(a["Payload"] for n, a in run.calls if n == "lambda:invoke" and "outcome" in a["Payload"])
    return payload["outcome"], payload["reason"]


def test_every_call_is_one_that_aws_takes():
    """No task has a finding against botocore's models."""
    assert check_machine(MACHINE) == []


@pytest.mark.parametrize(("name", "state"), list(tasks(MACHINE)))
def test_every_task_has_retry_catch_and_timeout(name: str, state: dict[str, Any]):
    """A task without one of them could hang, or end the execution without a record."""
    assert state["Retry"], name
    assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"]
    assert 0 < state["TimeoutSeconds"] <= (920 if name in ("CheckGolden", "AskInBake", "AskAgain") else 330)


@pytest.mark.parametrize(
    "rollout",
    [ROLLOUT, replace(ROLLOUT, golden=None), replace(ROLLOUT, shadow=None), replace(ROLLOUT, golden=None, shadow=None)],
    ids=["all", "shadow", "golden", "plain"],
)
def test_every_successor_exists_and_every_state_is_reached(rollout: RolloutSpec):
    """The graph has no missing successor and no unreachable state, with and without golden requests and a shadow."""
    states: dict[str, Any] = machine(rollout)["States"]
    reached, waiting = set[str](), ["Start"]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += successors(states[name])
    assert reached == set(states)


def test_no_path_from_the_lock_ends_without_unlock():
    """Every path from Lock to an end passes Unlock."""
    reached, waiting = set[str](), ["Lock"]
    while waiting:
        name = waiting.pop()
        if name not in reached and name != "Unlock":
            reached.add(name)
            waiting += successors(STATES[name])
    ends = {name for name, state in STATES.items() if state.get("End") or state["Type"] == "Fail"}
    assert ends == {"Done", "DidNotDeploy"}
    assert not reached & ends


def test_no_path_from_the_plan_ends_without_a_record():
    """Every path from Preflight writes a record, unless writing it failed."""
    reached, waiting = set[str](), ["Preflight"]
    while waiting:
        name = waiting.pop()
        if name not in reached and name != "Record":
            reached.add(name)
            waiting += successors(STATES[name])
    assert "Unlock" not in reached


def test_no_succeed_state_has_an_output():
    """The embedded cloud ignores the output of Succeed."""
    assert [name for name, state in STATES.items() if state["Type"] == "Succeed"] == []


def test_everything_that_can_fail_is_caught():
    """A Map without Catch could end the execution without Unlock."""
    assert [name for name, state in STATES.items() if state["Type"] in ("Task", "Map") and "Catch" not in state] == []


def test_promotes_an_update(deploy: Any):
    """A new config with enough evidence is promoted; its alarms are deleted, the previous version stays."""
    run, aws = deploy(PLAN, updates=[NEW])
    assert run.status == "SUCCEEDED"
    assert run.output["outcome"] == "PROMOTED"
    assert recorded(run) == ("PROMOTED", "approved: package/1; promoted after 3 minutes: few answers failed")
    (verdict,) = (a["Payload"]["verdict"] for n, a in run.calls if n == "lambda:invoke" and "outcome" in a["Payload"])
    assert (verdict["calls"], verdict["minutes"], verdict["action"]) == (100, 3, "continue")
    assert run.arguments("cloudwatch:putMetricAlarm") == PLAN["alarms"][0]
    assert run.arguments("cloudwatch:deleteAlarms") == {"AlarmNames": PLAN["alarm_names"]}
    assert "sagemaker:deleteEndpointConfig" not in run.names()
    assert (aws.config, aws.lock) == (NEW, "free")


def test_deletes_what_a_promotion_pushed_out_and_what_the_dead_have_left(deploy: Any):
    """Deletes excess versions, and versions, alarms and rehearsals of a stopped execution."""
    left = {"versions": ["v-left"], "rehearsals": ["e-golden-left"], "alarms": ["a-left"]}
    run, _ = deploy(PLAN | {"expired": ["v-0", "v-1"], "leftovers": left}, updates=[NEW])
    deleted = [a["EndpointConfigName"] for n, a in run.calls if n == "sagemaker:deleteEndpointConfig"]
    assert deleted == [a["ModelName"] for n, a in run.calls if n == "sagemaker:deleteModel"] == ["v-left", "v-0", "v-1"]
    assert run.arguments("cloudwatch:deleteAlarms") == {"AlarmNames": [*PLAN["alarm_names"], "a-left"]}
    assert run.arguments("sagemaker:deleteEndpoint") == {"EndpointName": "e-golden-left"}


def test_what_is_left_goes_whatever_comes_out(deploy: Any):
    """A refusal does not touch the endpoint, but deletes resources of a stopped execution."""
    left = {"versions": ["v-left"], "rehearsals": [], "alarms": []}
    plan = PLAN | {"action": "refuse", "config_name": None, "alarm_names": [], "expired": ["v-0"], "leftovers": left}
    run, _ = deploy(plan, updates=[])
    assert [a for n, a in run.calls if n == "sagemaker:deleteModel"] == [{"ModelName": "v-left"}]


def test_creates_the_first_endpoint(deploy: Any):
    """The first approval creates the endpoint, without alarms and evidence."""
    run, aws = deploy(CREATE, updates=[NEW])
    assert run.output["outcome"] == "PROMOTED"
    assert "cloudwatch:getMetricStatistics" not in run.names()
    assert "sagemaker:createEndpoint" in run.names()
    assert aws.lock == "free"


def test_a_first_endpoint_that_fails_is_deleted(deploy: Any):
    """A failed endpoint can only be deleted; its config and model are deleted too."""
    run, aws = deploy(CREATE, updates=[NEW], status="Failed")
    assert run.status == "FAILED"
    assert recorded(run) == ("FAILED", "endpoint is Failed")
    assert [n for n in run.names() if "delete" in n] == [
        "sagemaker:deleteEndpoint",
        "sagemaker:deleteEndpointConfig",
        "sagemaker:deleteModel",
    ]
    assert aws.lock == "free"


def test_a_silent_rollback_is_no_success(deploy: Any):
    """InService with the old config means that SageMaker rolled back; the unused version is deleted."""
    run, aws = deploy(PLAN, updates=[OLD])
    assert run.status == "FAILED"
    assert run.output["Error"] == "ROLLED_BACK"
    assert recorded(run)[1].startswith(f"SageMaker rolled back to {OLD}")
    assert run.arguments("sagemaker:deleteEndpointConfig") == {"EndpointConfigName": NEW}
    assert aws.lock == "free"


def test_no_evidence_is_not_success(deploy: Any):
    """A new fleet with too few calls is rolled back."""
    run, aws = deploy(PLAN, updates=[NEW, OLD], invocations=19)
    outcome, reason = recorded(run)
    assert (outcome, reason.partition(";")[0]) == (
        "ROLLED_BACK",
        "the new fleet served 19 invocations, a promotion needs 20, after 3 minutes: few answers failed",
    )
    assert "; evidence needs traffic while it bakes: mlops traffic replay FILE --time COLUMN --now" in reason
    assert aws.config == OLD
    assert run.arguments("sagemaker:deleteModel") == {"ModelName": NEW}


def test_a_fleet_that_is_worse_is_recorded_with_what_was_counted(deploy: Any):
    """SageMaker rolls back by the function's alarm; the reason is the function's, whatever the alarm's later state."""
    alarm, words = PLAN["stop"]["alarm"], "stopped after 1 minutes: few answers failed"
    run, aws = deploy(PLAN, updates=[OLD], good_for=0, firing=[alarm], alarm_reason=words)
    outcome, reason = recorded(run)
    assert outcome == "ROLLED_BACK"
    assert reason == f"SageMaker rolled back to {OLD}. {words}. in ALARM: {alarm}"
    assert aws.lock == "free"


def test_a_fleet_that_turns_bad_in_the_last_minute_goes_back(deploy: Any):
    """The last result counts, after SageMaker's own bake has ended."""
    run, aws = deploy(PLAN, updates=[NEW, OLD], good_for=2)
    assert recorded(run) == ("ROLLED_BACK", "stopped after 3 minutes: few answers failed")
    assert aws.config == OLD


def test_what_ten_to_one_speaks_against_is_not_promoted(deploy: Any):
    """The evidence is too weak to stop the rollout, although a promotion has enough calls."""
    run, aws = deploy(PLAN, updates=[NEW, OLD], evidence=16.8)
    outcome, reason = recorded(run)
    assert (outcome, aws.config) == ("ROLLED_BACK", OLD)
    assert reason.startswith("evidence of 16 to 1 against the new fleet after")


def test_a_verdict_that_cannot_be_asked_stops_no_rollout_until_its_end(deploy: Any):
    """The alarm on a dead fleet still watches, but without a last result there is no evidence."""
    run, aws = deploy(PLAN, updates=[NEW, OLD], silent=True)
    outcome, reason = recorded(run)
    assert outcome == "ROLLED_BACK"
    assert reason.startswith("alarms or invocations could not be read: Lambda.Unknown: it timed out")
    assert aws.config == OLD


def test_a_spec_needs_no_evidence(deploy: Any):
    """The plan marks it as an update of the same model, not a promotion."""
    plan = PLAN | {"min_invocations": 0}
    run, _ = deploy(plan, updates=[NEW], request=REQUEST | {"reason": "spec"}, invocations=0)
    assert run.output["outcome"] == "PROMOTED"


@pytest.mark.parametrize(
    ("action", "outcome", "status"), [("nothing", "UNCHANGED", "SUCCEEDED"), ("refuse", "REFUSED", "FAILED")]
)
def test_records_what_it_does_not_do(deploy: Any, action: str, outcome: str, status: str):
    """Nothing to do succeeds, a refusal fails; both leave the endpoint and are recorded."""
    nothing = {"config_name": None, "alarm_names": [], "watched": []}
    run, aws = deploy(PLAN | nothing | {"action": action, "reason": "why"}, updates=[])
    assert (run.status, recorded(run)) == (status, (outcome, "why"))
    assert not [n for n in run.names() if n.startswith("sagemaker")]
    assert aws.lock == "free"


def test_waits_for_a_busy_endpoint(deploy: Any):
    """A held lock is retried until it is free."""
    busy = [("DynamoDB.ConditionalCheckFailedException", "held")] * 3
    run, _ = deploy(PLAN, updates=[NEW], fail={"dynamodb:updateItem": busy})
    assert run.output["outcome"] == "PROMOTED"
    assert len(set(run.slept[:3])) == 1
    assert run.slept[0] * 500 >= hold_seconds(3600, 900)


def test_an_answer_that_got_lost_is_no_error(deploy: Any):
    """An existing model was created by this execution, as its name shows, whatever the last attempt returned."""
    exists = [("SageMaker.SageMakerException", "Cannot create already existing model")] * 6
    fail = {"sagemaker:createModel": [*exists, ("SageMaker.ThrottlingException", "Rate exceeded")]}
    run, _ = deploy(PLAN, updates=[NEW], fail=fail, made={"sagemaker:describeModel"})
    assert run.output["outcome"] == "PROMOTED"


def test_a_model_that_could_not_be_made_says_why(deploy: Any):
    """The reason is that of the failed creation, not of the following description."""
    fail = {"sagemaker:createModel": [("SageMaker.SageMakerException", "no such image")] * 7}
    run, _ = deploy(PLAN, updates=[], fail=fail)
    assert recorded(run) == ("FAILED", "SageMaker.SageMakerException: no such image")


def test_an_endpoint_that_cannot_be_read_for_a_while_is_waited_for(deploy: Any):
    """Only a timeout ends the wait."""
    run, _ = deploy(PLAN, updates=[NEW], fail={"sagemaker:describeEndpoint": [("Service.Down", "no")] * 40})
    assert run.output["outcome"] == "PROMOTED"


def test_a_first_endpoint_that_was_never_made_leaves_nothing(deploy: Any):
    """Config and model are deleted, and the record has the reason of the failed call."""
    fail = {
        "sagemaker:createEndpoint": [("SageMaker.SageMakerException", "no instances left")] * 7,
        "sagemaker:describeEndpoint": [("SageMaker.SageMakerException", 'Could not find endpoint "e".')] * 7,
    }
    run, _ = deploy(CREATE, updates=[], fail=fail)
    assert recorded(run) == ("FAILED", "SageMaker.SageMakerException: no instances left")
    assert run.arguments("sagemaker:deleteEndpointConfig") == {"EndpointConfigName": NEW}
    assert run.arguments("sagemaker:deleteModel") == {"ModelName": NEW}


FAILING = [
    "lambda:invoke",
    "sagemaker:createModel",
    "sagemaker:createEndpointConfig",
    "cloudwatch:putMetricAlarm",
    "sagemaker:updateEndpoint",
    "cloudwatch:describeAlarms",
    "cloudwatch:deleteAlarms",
    "events:putEvents",
]


@pytest.mark.parametrize("name", FAILING)
def test_a_call_that_keeps_failing_leaves_no_lock(deploy: Any, name: str):
    """Whichever call fails permanently, an outcome is reached and the lock released."""
    run, aws = deploy(PLAN, updates=[NEW, OLD], fail={name: [("Service.Down", "no")] * 70})
    assert aws.lock == "free"
    assert (run.status == "SUCCEEDED") == (name in ("cloudwatch:deleteAlarms", "events:putEvents"))


def test_an_update_that_was_refused_is_read_at_the_endpoint(deploy: Any):
    """The endpoint still has the old config: the rollout counts as rolled back, with the failure as reason."""
    run, _ = deploy(PLAN, updates=[NEW], fail={"sagemaker:updateEndpoint": [("SageMaker.X", "in-progress")] * 7})
    outcome, reason = recorded(run)
    assert outcome == "ROLLED_BACK"
    assert "in-progress" in reason


def test_holds_the_lock_longer_than_it_can_run():
    """The lock outlives waiting, the checks before the first step, a rollout and its rollback."""
    assert hold_seconds(3600, 100) == 3 * (3600 + 900) + 100 + 900


# results of an update by another caller


def test_waits_for_what_is_under_way(deploy: Any):
    """Waits for SageMaker's maintenance and plans again."""
    busy = PLAN | {"action": "wait", "reason": "the endpoint is SystemUpdating", "config_name": None}
    run, aws = deploy([busy, busy, PLAN], updates=[NEW])
    assert run.output["outcome"] == "PROMOTED"
    assert run.slept[:2] == [30, 30]
    assert aws.lock == "free"


def test_an_execution_that_cannot_lock_is_recorded_too(deploy: Any):
    """The caller is notified, and the audit chain has a record."""
    run, _ = deploy(PLAN, updates=[], fail={"dynamodb:updateItem": [("DynamoDB.Down", "no")] * 8})
    outcome, reason = recorded(run)
    assert outcome == "FAILED"
    assert reason.startswith("the endpoint could not be locked: DynamoDB.Down")


# alarms


def test_says_what_rang_when_sagemaker_goes_back(deploy: Any):
    """Alarms are deleted with the rollout: the record lists those that fired, including the reason of an abort."""
    run, _ = deploy(PLAN, updates=[OLD], firing=["demand-forecast-rollout-22222222-abort"])
    assert recorded(run) == (
        "ROLLED_BACK",
        f"SageMaker rolled back to {OLD}. in ALARM: demand-forecast-rollout-22222222-abort (why)",
    )


def test_says_what_rang_though_the_alarm_is_ok_again_when_sagemaker_has_gone_back(deploy: Any):
    """A rollback takes minutes: alarms are read as soon as it begins."""
    run, _ = deploy(PLAN, updates=[OLD], firing=["demand-forecast-rollout-22222222-latency"], moving="RollingBack")
    assert recorded(run) == (
        "ROLLED_BACK",
        f"SageMaker rolled back to {OLD}. in ALARM: demand-forecast-rollout-22222222-latency (why)",
    )


def test_goes_back_from_a_fleet_whose_alarm_rings_at_the_end(deploy: Any):
    """SageMaker ignores alarms after the old fleet is deleted; the machine checks again before the promotion."""
    run, aws = deploy(PLAN, updates=[NEW, OLD], firing=["unit-errors"])
    assert recorded(run) == ("ROLLED_BACK", "in ALARM: unit-errors (why)")
    assert aws.config == OLD
    assert run.arguments("cloudwatch:describeAlarms")["AlarmNames"] == PLAN["watched"]


def test_an_alarm_that_was_deleted_meanwhile_is_recorded(deploy: Any):
    """The rollout continues without it: record, event and end of the execution report it."""
    run, _ = deploy(PLAN, updates=[NEW], deleted=["unit-errors"])
    outcome, reason = recorded(run)
    assert outcome == "PROMOTED"
    assert reason.endswith("; deleted meanwhile, so no longer watched: unit-errors")
    assert run.output["reason"] == reason


def test_a_rollback_stays_whatever_rings(deploy: Any):
    """A rollback must not return to the faulty model."""
    run, _ = deploy(PLAN, updates=[NEW], request=REQUEST | {"reason": "rollback"}, firing=["unit-errors"])
    assert run.output["outcome"] == "PROMOTED"


def test_a_claim_that_the_record_corrects_leaves_no_version(deploy: Any):
    """The machine claims a promotion, but the recorder finds the old config serving: the new version is deleted."""
    run, _ = deploy(PLAN, updates=[NEW], corrected="ROLLED_BACK")
    assert run.arguments("sagemaker:deleteEndpointConfig") == {"EndpointConfigName": NEW}


# golden requests

REHEARSED = PLAN | {
    "rehearsal": {
        "config": {"EndpointConfigName": f"{NAME}-golden-22222222"},
        "endpoint": {"EndpointName": f"{NAME}-golden-22222222"},
        "golden": {"uri": GOLDEN.uri, "sha256": GOLDEN.sha256},
        "live_endpoint": NAME,
        "answers": "rehearsals/kept.json",
    }
}


def test_a_candidate_that_passes_goes_on(deploy: Any):
    """Requests go to a separate endpoint, which is deleted with its config before the rollout."""
    run, aws = deploy(REHEARSED, updates=[NEW])
    assert run.output["outcome"] == "PROMOTED"
    names = run.names()
    assert names.index("sagemaker:deleteEndpoint") < names.index("sagemaker:updateEndpoint")
    assert aws.rehearsals == set()
    check = next(a["Payload"] for n, a in run.calls if n == "lambda:invoke" and a["Payload"].get("mode") == "check")
    assert (check["endpoint"], check["live_endpoint"]) == (f"{NAME}-golden-22222222", NAME)


def test_the_record_says_that_a_broken_live_model_was_not_compared_with(deploy: Any):
    """The successor is promoted by absolute limits only."""
    note = "the live model fails 2 of 2 golden requests, so nothing was compared with it"
    run, _ = deploy(REHEARSED, updates=[NEW], note=note)
    outcome, reason = recorded(run)
    assert outcome == "PROMOTED"
    assert f"; {note}" in reason


@pytest.mark.parametrize("action", ["create", "update"])
def test_a_candidate_that_fails_gets_no_traffic(deploy: Any, action: str):
    """It is refused with the function's reason; its resources are deleted and the endpoint is unchanged."""
    run, aws = deploy(REHEARSED | {"action": action}, updates=[], golden=False)
    assert recorded(run) == ("REFUSED", "golden requests: row 3 is NaN")
    assert aws.config == OLD
    assert aws.rehearsals == set()
    deleted = [a["EndpointConfigName"] for n, a in run.calls if n == "sagemaker:deleteEndpointConfig"]
    assert deleted == [f"{NAME}-golden-22222222", NEW]
    assert aws.lock == "free"


@pytest.mark.parametrize(
    ("state", "outcome", "reason"),
    [
        ({"rehearsal": "Failed"}, "REFUSED", "the candidate did not start: its rehearsal is Failed"),
        ({"fail": {"lambda:golden": []}, "rehearsal": "OutOfService"}, "REFUSED", "the candidate did not start"),
        ({"fail": {"sagemaker:createEndpoint": [("S.X", "quota")] * 7}}, "FAILED", "the rehearsal failed"),
    ],
)
def test_a_rehearsal_ends_in_every_path(deploy: Any, state: dict[str, Any], outcome: str, reason: str):
    """A failed or missing endpoint leaves nothing behind."""
    run, aws = deploy(REHEARSED, updates=[], **state)
    got = recorded(run)
    assert got[0] == outcome
    assert got[1].startswith(reason)
    assert (aws.rehearsals, aws.lock, aws.config) == (set(), "free", OLD)


def test_a_rehearsal_that_is_still_created_is_deleted_later(deploy: Any):
    """SageMaker cannot delete an endpoint while it creates it: the machine retries."""
    fail = {"sagemaker:describeEndpoint": [("S.Down", "no")] * 7}
    run, aws = deploy(REHEARSED, updates=[], rehearsal="Creating", fail=fail)
    assert recorded(run)[0] == "FAILED"
    assert aws.rehearsals == set()


AGAIN = PLAN | {
    "again": {"golden": {"uri": GOLDEN.uri, "sha256": GOLDEN.sha256}, "answers": "rehearsals/kept.json"},
}


def repeats(run: Any) -> int:
    """Return how often golden requests were repeated."""
    return sum(n == "lambda:invoke" and a["Payload"].get("mode") == "again" for n, a in run.calls)


def test_golden_requests_are_asked_again_before_a_promotion(deploy: Any):
    """Requests go to the endpoint, which only the new fleet serves by then; the record reports it."""
    run, _ = deploy(AGAIN, updates=[NEW], again=[True])
    outcome, reason = recorded(run)
    assert outcome == "PROMOTED"
    assert reason.endswith("; golden requests passed again on the serving fleet")
    requested = next(a["Payload"] for n, a in run.calls if n == "lambda:invoke" and a["Payload"].get("mode") == "again")
    assert (requested["endpoint"], requested["answers"]) == (NAME, "rehearsals/kept.json")


def test_a_fleet_that_answers_otherwise_than_before_traffic_goes_back(deploy: Any):
    """The fleet passed its rehearsal, and all metrics are normal."""
    run, aws = deploy(AGAIN, updates=[NEW, OLD], again=[False])
    assert recorded(run) == ("ROLLED_BACK", "golden requests, sent again: row 3 is NaN")
    assert aws.config == OLD


def test_golden_requests_that_cannot_be_asked_again_are_no_evidence(deploy: Any):
    """The call is retried, then the rollout is rolled back."""
    run, aws = deploy(AGAIN, updates=[NEW, OLD], again=[None] * 7)
    outcome, reason = recorded(run)
    assert outcome == "ROLLED_BACK"
    assert reason.startswith("golden requests could not be sent again: Lambda.Unknown")
    assert aws.config == OLD


def test_in_the_bake_of_all_traffic_sagemaker_is_told_to_go_back(deploy: Any):
    """The old fleet still exists: the alarm rolls back, and the record has the reason."""
    run, aws = deploy(AGAIN, updates=[NEW], again=[False], stage="full capacity", takes_back=True)
    outcome, reason = recorded(run)
    assert outcome == "ROLLED_BACK"
    assert reason.count("golden requests, sent again: row 3 is NaN") == 1
    assert run.arguments("cloudwatch:setAlarmState") == {
        "AlarmName": "demand-forecast-rollout-22222222-verdict",
        "StateValue": "ALARM",
        "StateReason": "golden requests, sent again: row 3 is NaN",
    }
    assert "cloudwatch:putMetricData" in run.names()
    assert aws.updates == []


def test_an_alarm_that_was_deleted_by_hand_saves_no_fleet_that_answers_otherwise(deploy: Any):
    """SageMaker promotes the fleet; the machine rolls it back without repeating the requests."""
    run, aws = deploy(AGAIN, updates=[NEW, OLD], again=[False], stage="full capacity")
    assert recorded(run) == ("ROLLED_BACK", "golden requests, sent again: row 3 is NaN")
    assert (aws.config, repeats(run)) == (OLD, 1)


@pytest.mark.parametrize(
    ("account", "times"),
    [
        ({"stage": "canary capacity"}, 1),
        ({"stage": "full capacity", "invocations": 19}, 0),
        ({"stage": "full capacity"}, 2),
    ],
    ids=["both fleets answer", "nobody called", "all traffic"],
)
def test_in_the_bake_it_is_asked_once_calls_have_come_to_it_alone(deploy: Any, account: dict[str, Any], times: int):
    """Otherwise the old fleet might answer, or golden requests would count as calls."""
    run, _ = deploy(AGAIN, updates=[NEW, OLD], again=[True, True], **account)
    assert repeats(run) == times


READ = PLAN | {"bodies": {"endpoint": NAME, "destination": "s3://captures/capture"}}
BODIES = "after 3 minutes: 7 of 9 captured answers had no readable numbers"


def test_the_record_of_a_promotion_says_what_captures_have(deploy: Any):
    """Captures are read during the bake and at the end."""
    run, _ = deploy(READ, updates=[NEW])
    outcome, reason = recorded(run)
    assert outcome == "PROMOTED"
    assert reason.endswith(f"; {BODIES}")


def test_answers_without_numbers_stop_a_rollout(deploy: Any):
    """The alarm stops SageMaker's traffic shift, and the record has the reason."""
    run, _ = deploy(READ, updates=[NEW], unread=[True], takes_back=True)
    outcome, reason = recorded(run)
    assert outcome == "ROLLED_BACK"
    assert reason.count(f"stopped {BODIES}") == 1
    assert run.arguments("cloudwatch:setAlarmState")["StateReason"] == f"stopped {BODIES}"


@pytest.mark.parametrize("unread", [[True], [False, True]], ids=["alarm deleted", "at the end"])
def test_answers_without_numbers_are_not_promoted(deploy: Any, unread: list[bool | None]):
    """SageMaker has promoted the fleet: the machine rolls back."""
    run, aws = deploy(READ, updates=[NEW, OLD], unread=unread)
    assert recorded(run) == ("ROLLED_BACK", f"stopped {BODIES}")
    assert aws.config == OLD


def test_captures_that_cannot_be_read_stop_nothing(deploy: Any):
    """The record reports that captures could not be read."""
    run, _ = deploy(READ, updates=[NEW], unread=[None] * 30)
    outcome, reason = recorded(run)
    assert outcome == "PROMOTED"
    assert reason.endswith("; captured answers could not be read")


def test_synthetic_calls_are_sent_while_it_bakes(deploy: Any):
    """Sent once per poll to the endpoint; alarms evaluate the calls."""
    synthetic = {"golden": {"uri": GOLDEN.uri, "sha256": GOLDEN.sha256}, "calls": 5}
    run, _ = deploy(PLAN | {"synthetic": synthetic}, updates=[NEW])
    sent = [a["Payload"] for n, a in run.calls if n == "lambda:invoke" and a["Payload"].get("mode") == "traffic"]
    assert [(p["endpoint"], p["calls"]) for p in sent] == [(NAME, 5)] * 2
    assert run.output["outcome"] == "PROMOTED"


# shadow

SHADOW = "demand-forecast-33333333"
SHADOWED = PLAN | {
    "shadow": {
        "config": {"EndpointConfigName": SHADOW},
        "update": {"EndpointName": NAME, "EndpointConfigName": SHADOW},
        "variant": "Shadow",
        "bake": 900,
        "verdict": {"fleet": SHADOW},
        "period": 60,
        "max_errors": 1,
        "max_latency": 100_000,
    }
}


def test_a_shadow_that_passes_goes_on_from_the_live_config(deploy: Any):
    """Updates to the config with the shadow, bakes, updates back and starts the rollout; the shadow's config is deleted."""
    run, aws = deploy(SHADOWED, updates=[SHADOW, OLD, NEW])
    assert run.output["outcome"] == "PROMOTED"
    assert [a["EndpointConfigName"] for n, a in run.calls if n == "sagemaker:updateEndpoint"] == [SHADOW, OLD, NEW]
    assert 900 in run.slept
    assert run.arguments("sagemaker:deleteEndpointConfig") == {"EndpointConfigName": SHADOW}
    assert (aws.config, aws.lock) == (NEW, "free")


@pytest.mark.parametrize(
    ("metric", "points", "reason"),
    [
        ("InvocationModelErrors", [{"Sum": 2.0}], "the shadow had 2 errors in 60 s, at most 1 are accepted"),
        (
            "ModelLatency",
            [{"ExtendedStatistics": {"p95": 120000.0}}],
            r"the shadow took 120 ms \(95th percentile\), at most 100 are accepted",
        ),
    ],
)
def test_a_shadow_that_fails_gets_no_traffic(deploy: Any, metric: str, points: list[Any], reason: str):
    """The live model keeps serving; the candidate's config and model are deleted."""
    run, aws = deploy(
        SHADOWED, updates=[SHADOW, OLD], shadow=FakeAws(Exception, {}, updates=[]).shadow | {metric: points}
    )
    outcome, reported = recorded(run)
    assert outcome == "REFUSED"
    assert re.fullmatch(reason, reported)
    assert (aws.config, aws.lock) == (OLD, "free")
    deleted = [a["EndpointConfigName"] for n, a in run.calls if n == "sagemaker:deleteEndpointConfig"]
    assert deleted == [SHADOW, NEW]


@pytest.mark.parametrize(
    ("account", "reason"),
    [
        ({"good_for": 0}, "the shadow was rejected after 1 minutes: few answers failed"),
        ({"evidence": 12.0}, "evidence of 12 to 1 against the new fleet after 1 minutes: few answers failed"),
        (
            {"invocations": 19},
            "the shadow answered 19 calls, a promotion needs 20, after 1 minutes: few answers failed; evidence needs traffic .*",
        ),
    ],
)
def test_a_shadow_is_compared_with_the_live_model(deploy: Any, account: dict[str, Any], reason: str):
    """Uses the limits of a new fleet; the record has the counts."""
    run, aws = deploy(SHADOWED, updates=[SHADOW, OLD], **account)
    outcome, reported = recorded(run)
    assert (outcome, aws.config, aws.lock) == ("REFUSED", OLD, "free")
    assert re.fullmatch(reason, reported)
    (requested,) = [
        a["Payload"]
        for n, a in run.calls
        if n == "lambda:invoke" and "verdict" in a["Payload"] and "since" in a["Payload"]
    ]
    assert requested["verdict"] == {"fleet": SHADOW}
    assert requested["since"] < requested["now"]
    written = next(a["Payload"] for n, a in run.calls if n == "lambda:invoke" and "outcome" in a["Payload"])
    assert written["verdict"]["minutes"] == 1


def test_a_shadow_without_limits_is_measured_by_nothing_else(deploy: Any):
    """The later comparison starts when traffic shifts."""
    shadow = SHADOWED["shadow"] | {"max_errors": -1, "max_latency": 0}
    run, _ = deploy(SHADOWED | {"shadow": shadow}, updates=[SHADOW, OLD, NEW])
    assert run.output["outcome"] == "PROMOTED"
    assert "cloudwatch:getMetricStatistics" not in run.names()
    requested = [a["Payload"] for n, a in run.calls if n == "lambda:invoke" and "since" in a["Payload"]]
    assert [each["verdict"]["fleet"] for each in requested][:2] == [SHADOW, NEW]
    assert requested[0]["since"] < requested[0]["now"] <= requested[1]["since"]
    assert len({each["since"] for each in requested[1:]}) == 1


def test_a_shadow_that_does_not_start_is_turned_down(deploy: Any):
    """SageMaker has rolled back by itself, so nothing must be ended."""
    run, aws = deploy(SHADOWED, updates=[OLD])
    assert recorded(run) == ("REFUSED", "the candidate did not start as a shadow")
    assert aws.config == OLD
    deleted = [a["EndpointConfigName"] for n, a in run.calls if n == "sagemaker:deleteEndpointConfig"]
    assert deleted == [SHADOW, NEW]


def test_a_shadow_that_cannot_be_ended_keeps_what_it_uses(deploy: Any):
    """The live model serves beside it; resources in use stay, and the next execution deletes them."""
    run, aws = deploy(SHADOWED, updates=[SHADOW, SHADOW])
    assert recorded(run)[0] == "FAILED"
    assert "sagemaker:deleteModel" not in run.names()
    assert aws.lock == "free"


# quotas of Step Functions


def test_the_history_of_the_longest_rollout_fits(deploy: Any):
    """Counts every loop of the longest rollout at its maximum, with at least five events per task, below 25,000.

    See: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
    """
    longest = replace(ROLLOUT, maximum=28800)
    states: dict[str, Any] = machine(longest)["States"]
    (lock,) = (r for r in states["Lock"]["Retry"] if "DynamoDB.ConditionalCheckFailedException" in r["ErrorEquals"])
    poll, look = poll_seconds(28800), look_seconds(28800)
    polls, looks = (-(-(28800 + 900) // each) for each in (poll, look))
    assert poll == 60
    task, other = 5, 2  # entered, scheduled, started, succeeded, exited; entered, exited
    bodies = 60 * (task + other)  # AskBodies, AreReadable
    waiting = looks * (task + 3 * other)  # Preflight, Decide, IsPatient, AwaitRest
    # HasSynthetic, Synthesize, HasVerdict, AskVerdict, DescribeEndpoint, JudgeEndpoint, AwaitEndpoint
    rolling = polls * (3 * task + 4 * other)
    reverting = looks * (task + 2 * other)
    rehearsing = (7200 // look) * (task + 2 * other)
    shadowing = 2 * looks * (task + 2 * other)  # to the config with the shadow, and back
    rest = 40 * task + 30 * 2 * task  # each other state once, and individual deletions
    assert 3 * lock["MaxAttempts"] + waiting + rolling + reverting + rehearsing + shadowing + bodies + rest < 25_000
    assert lock["MaxAttempts"] * lock["IntervalSeconds"] >= hold_seconds(28800) - lock["IntervalSeconds"]


@pytest.mark.parametrize(("share", "expression"), [(0.0611, "0.0611"), (None, "0.01"), (LOST, "0.01")])
def test_a_probation_begins_with_the_share_of_the_model_before(
    run_machine: Any, aws_error: type[Exception], share: float | None, expression: str
):
    """An earlier alarm is deleted first; without data of the previous model, one percentage point is allowed."""
    alarm = {"AlarmName": "demand-forecast-probation-errors", "Metrics": [{"Id": "errors"}, {"Id": "calls"}]}
    aws = FakeAws(aws_error, {**PLAN, "probation": 3600, "probation_alarm": alarm}, updates=[NEW])
    aws.allowed = share
    run = run_machine(MACHINE, REQUEST, aws)

    names = [name for name, _ in run.calls]
    put = [a for name, a in run.calls if name == "cloudwatch:putMetricAlarm"][-1]
    assert recorded(run)[0] == "PROMOTED"
    counted = rf"IF\(errors >= 5 AND errors > {expression} \* calls, EPOCH\(calls\) >= (\d+), 0\)"
    (since,) = map(int, re.fullmatch(counted, put["Metrics"][2]["Expression"]).groups())
    at = next(a["Payload"]["now"] for name, a in run.calls if name == "lambda:invoke" and "share" in a["Payload"])
    # periods start at full minutes; the first one after the promotion counts
    assert since % 60 == 0
    assert 0 <= since - datetime.fromisoformat(at).timestamp() < 120
    assert f"on more than {100 * float(expression):g} % of the calls" in put["AlarmDescription"]
    assert names.index("eventbridge:enableRule") > len(names) - 1 - names[::-1].index("cloudwatch:putMetricAlarm")


def test_a_promotion_is_recorded_without_the_alarm_of_its_probation(run_machine: Any, aws_error: type[Exception]):
    """The record reports the missing alarm."""
    alarm = {"AlarmName": "demand-forecast-probation-errors", "Metrics": []}
    aws = FakeAws(aws_error, {**PLAN, "alarms": [], "probation": 3600, "probation_alarm": alarm}, updates=[NEW])
    aws.fail = {"cloudwatch:putMetricAlarm": [("CloudWatch.LimitExceeded", "too many alarms")] * 9}
    outcome, reason = recorded(run_machine(MACHINE, REQUEST, aws))
    assert (outcome, "; the alarm of its probation could not be created: " in reason) == ("PROMOTED", True)


class Quotas:
    """Returns the pages in turn, or fails."""

    def __init__(self, pages: list[Mapping[str, Any]] | Exception) -> None:
        self.pages, self.requests = pages, list[dict[str, Any]]()

    def __call__(self, name: str, arguments: dict[str, Any]) -> Any:
        """Respond to a call."""
        assert name == "servicequotas:listServiceQuotas"
        self.requests.append(arguments)
        if isinstance(self.pages, Exception):
            raise self.pages
        return self.pages[int(arguments.get("NextToken", "0"))]


def test_its_calls_are_ones_that_aws_takes() -> None:
    """Calls match botocore's model."""
    assert check_machine(QUOTA_MACHINE) == []


def test_it_reads_until_every_type_is_found(run_machine: Any) -> None:
    """Skips the remaining hundreds of quotas."""
    account = Quotas(list(QUOTA_PAGES))
    run = run_machine(QUOTA_MACHINE, {"reason": "approval"}, account)

    assert run.output == {"instances": {"ml.m5.large": 4.0, "ml.c7g.large": 20.0}, "unread": ""}
    assert [requests.get("NextToken") for requests in account.requests] == [None, "1", "2"]
    assert account.requests[0] == {"ServiceCode": "sagemaker", "MaxResults": 100}


def test_a_type_that_is_not_listed_is_not_known(run_machine: Any) -> None:
    """Stops at the last page."""
    run = run_machine(QUOTA_MACHINE, {"reason": "spec"}, Quotas([{"Quotas": []}]))
    assert run.output == NO_QUOTAS


def test_a_way_back_asks_nothing(run_machine: Any) -> None:
    """A rollback is not limited by quotas."""
    account = Quotas(list(QUOTA_PAGES))
    assert run_machine(QUOTA_MACHINE, {"reason": "rollback"}, account).output == NO_QUOTAS
    assert account.requests == []


@pytest.mark.parametrize(
    ("error", "calls"), [("ServiceQuotas.AccessDeniedException", 1), ("ServiceQuotas.TooManyRequestsException", 7)]
)
def test_what_cannot_be_read_is_named_and_stops_nothing(
    run_machine: Any, aws_error: type[Exception], error: str, calls: int
) -> None:
    """Missing permissions are not retried; transient errors are."""
    account = Quotas(aws_error(error, "no"))
    assert run_machine(QUOTA_MACHINE, {"reason": "approval"}, account).output == {"instances": {}, "unread": error}
    assert len(account.requests) == calls
