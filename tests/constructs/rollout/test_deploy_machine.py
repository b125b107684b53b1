"""The Deploy machine: its graph, its calls against AWS's API, and its behaviour when run against a fake AWS."""

from collections.abc import Callable
from typing import Any

import pytest

from mlops_constructs._states import successors, tasks
from mlops_constructs.rollout import SageMakerTarget
from mlops_constructs.rollout.deploy_machine import deploy_machine, hold_seconds
from mlops_runtime.aws_api import check_machine

NAME, OLD, NEW = "demand-forecast", "demand-forecast-11111111", "demand-forecast-22222222"
REQUEST = {"reason": "approval", "requested_by": "ann", "requested_at": "2017-08-01T00:00:00Z"}
MACHINE = deploy_machine(
    endpoint_name=NAME,
    unit_name="demand",
    target=SageMakerTarget(endpoint_name=NAME, instance_count=2),
    maximum=3600,
    table_name="rollout",
    preflight_arn="arn:aws:lambda:us-east-1:123456789012:function:preflight",
    record_arn="arn:aws:lambda:us-east-1:123456789012:function:record",
    bus_name="demand",
)
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
    "previous_model": OLD,
    "expired_config": None,
    "poll_seconds": 30,
    "bake": 600,
    "min_invocations": 20,
    "started": "2017-08-01T00:00:00Z",
}
CREATE = PLAN | {
    "action": "create",
    "alarms": [],
    "alarm_names": [],
    "revert_endpoint": {},
    "previous_config": None,
    "min_invocations": 0,
}


class FakeAws:
    """An account in which one endpoint serves ``config``; ``updates`` says which config each update ends with."""

    def __init__(
        self, error: type[Exception], plan: dict[str, Any], *, updates: list[str], invocations: int = 100
    ) -> None:
        self.error, self.plan, self.updates = error, plan, updates
        self.config, self.status, self.invocations = OLD, "InService", invocations
        self.polls_left, self.fail, self.lock, self.corrected = 0, dict[str, Any](), "", ""

    def __call__(self, name: str, arguments: dict[str, Any]) -> Any:
        """Answer one call."""
        if self.fail.get(name):
            raise self.error(*self.fail[name].pop(0))
        match name:
            case "lambda:invoke":
                if arguments["FunctionName"].endswith("preflight"):
                    return {"Payload": self.plan}
                outcome = self.corrected or arguments["Payload"]["outcome"]
                return {"Payload": {"sequence": 1, "outcome": outcome}}
            case "dynamodb:updateItem":
                self.lock = "held" if arguments["UpdateExpression"].startswith("SET") else "free"
            case "sagemaker:updateEndpoint" | "sagemaker:createEndpoint":
                self.polls_left, self.config = 2, self.updates.pop(0)
            case "sagemaker:describeEndpoint":
                self.polls_left -= 1
                status = "Updating" if self.polls_left > 0 else self.status
                return {"EndpointStatus": status, "EndpointConfigName": self.config}
            case "cloudwatch:getMetricStatistics":
                return {"Datapoints": [{"Sum": str(self.invocations)}]}
        return {}


@pytest.fixture
def deploy(run_machine: Any, aws_error: type[Exception]) -> Callable[..., tuple[Any, FakeAws]]:
    """Run the machine on a fake account and return what it did, and the account."""

    def run(plan: dict[str, Any], *, updates: list[str], request: dict[str, str] = REQUEST, **account: Any) -> Any:
        aws = FakeAws(aws_error, plan, updates=updates, invocations=account.pop("invocations", 100))
        for name, value in account.items():
            setattr(aws, name, value)
        return run_machine(MACHINE, request, aws), aws

    return run


def recorded(run: Any) -> tuple[str, str]:
    """Outcome and reason that the audit function was told."""
    payload = next(a["Payload"] for n, a in run.calls if n == "lambda:invoke" and "outcome" in a["Payload"])
    return payload["outcome"], payload["reason"]


def test_every_call_is_one_that_aws_takes():
    """No task has a finding against botocore's models."""
    assert check_machine(MACHINE) == []


@pytest.mark.parametrize(("name", "state"), list(tasks(MACHINE)))
def test_every_task_has_retry_catch_and_timeout(name: str, state: dict[str, Any]):
    """A task without one of the three could hang or end the execution without a record."""
    assert state["Retry"], name
    assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"]
    assert 0 < state["TimeoutSeconds"] <= 330


def test_every_successor_exists_and_every_state_is_reached():
    """The graph has no dangling name and no dead state."""
    reached, waiting = set[str](), [str(MACHINE["StartAt"])]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += successors(STATES[name])
    assert reached == set(STATES)


def test_no_path_from_the_lock_ends_without_unlock():
    """Without Unlock, no end can be reached from Lock."""
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
    """Whatever follows Preflight is recorded: only a failed record itself passes by."""
    reached, waiting = set[str](), ["Preflight"]
    while waiting:
        name = waiting.pop()
        if name not in reached and name != "Record":
            reached.add(name)
            waiting += successors(STATES[name])
    assert "Unlock" not in reached


def test_no_succeed_state_has_an_output():
    """The embedded cloud ignores the output of Succeed, so there is none."""
    assert [name for name, state in STATES.items() if state["Type"] == "Succeed"] == []


def test_promotes_an_update(deploy: Any):
    """A new config that serves with enough evidence is promoted; the new fleet's alarms go, the old version stays."""
    run, aws = deploy(PLAN, updates=[NEW])
    assert run.status == "SUCCEEDED"
    assert run.output["outcome"] == "PROMOTED"
    assert recorded(run) == ("PROMOTED", "approved: package/1")
    assert run.arguments("cloudwatch:putMetricAlarm") == PLAN["alarms"][0]
    assert run.arguments("cloudwatch:deleteAlarms") == {"AlarmNames": PLAN["alarm_names"]}
    assert "sagemaker:deleteEndpointConfig" not in run.names()
    assert (aws.config, aws.lock) == (NEW, "free")


def test_deletes_the_version_before_the_previous_one(deploy: Any):
    """A promotion keeps one version to go back to, and deletes the one before that."""
    run, _ = deploy(PLAN | {"expired_config": "demand-forecast-00000000"}, updates=[NEW])
    assert run.arguments("sagemaker:deleteEndpointConfig") == {"EndpointConfigName": "demand-forecast-00000000"}
    assert run.arguments("sagemaker:deleteModel") == {"ModelName": "demand-forecast-00000000"}


def test_creates_the_first_endpoint(deploy: Any):
    """The first approval makes the endpoint, without alarms and evidence."""
    run, aws = deploy(CREATE, updates=[NEW])
    assert run.output["outcome"] == "PROMOTED"
    assert "cloudwatch:getMetricStatistics" not in run.names()
    assert "sagemaker:createEndpoint" in run.names()
    assert aws.lock == "free"


def test_a_first_endpoint_that_fails_is_deleted(deploy: Any):
    """A failed endpoint can only be deleted; its config and model go with it."""
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
    """InService with the old config means that SageMaker took the update back; the unused version is deleted."""
    run, aws = deploy(PLAN, updates=[OLD])
    assert run.status == "FAILED"
    assert run.output["Error"] == "ROLLED_BACK"
    assert recorded(run)[1].startswith(f"SageMaker went back to {OLD}")
    assert run.arguments("sagemaker:deleteEndpointConfig") == {"EndpointConfigName": NEW}
    assert aws.lock == "free"


def test_no_evidence_is_not_success(deploy: Any):
    """A new fleet that served too little is taken back to the old config."""
    run, aws = deploy(PLAN, updates=[NEW, OLD], invocations=19)
    assert recorded(run) == ("ROLLED_BACK", "the new fleet served 19 invocations, a promotion needs 20")
    assert aws.config == OLD
    assert run.arguments("sagemaker:deleteModel") == {"ModelName": NEW}


def test_a_spec_needs_no_evidence(deploy: Any):
    """A changed spec serves the same model: it is not a promotion."""
    run, _ = deploy(PLAN, updates=[NEW], request=REQUEST | {"reason": "spec"}, invocations=0)
    assert run.output["outcome"] == "PROMOTED"


@pytest.mark.parametrize(
    ("action", "outcome", "status"), [("nothing", "UNCHANGED", "SUCCEEDED"), ("refuse", "REFUSED", "FAILED")]
)
def test_records_what_it_does_not_do(deploy: Any, action: str, outcome: str, status: str):
    """Nothing to do is a success, a refusal a failure; both touch no endpoint and are recorded."""
    run, aws = deploy(PLAN | {"action": action, "reason": "why"}, updates=[])
    assert (run.status, recorded(run)) == (status, (outcome, "why"))
    assert not [n for n in run.names() if n.startswith("sagemaker")]
    assert aws.lock == "free"


def test_waits_for_a_busy_endpoint(deploy: Any):
    """A held lock is tried again until it is free."""
    busy = [("DynamoDB.ConditionalCheckFailedException", "held")] * 3
    run, _ = deploy(PLAN, updates=[NEW], fail={"dynamodb:updateItem": busy})
    assert run.output["outcome"] == "PROMOTED"
    assert run.slept[:3] == [30, 30, 30]


def test_an_answer_that_got_lost_is_no_error(deploy: Any):
    """A model that exists already was made by this execution: its name says so."""
    exists = [("SageMaker.SageMakerException", "Cannot create already existing model")] * 4
    run, _ = deploy(PLAN, updates=[NEW], fail={"sagemaker:createModel": exists})
    assert run.output["outcome"] == "PROMOTED"


FAILING = [
    "lambda:invoke",
    "sagemaker:createModel",
    "sagemaker:createEndpointConfig",
    "cloudwatch:putMetricAlarm",
    "sagemaker:updateEndpoint",
    "sagemaker:describeEndpoint",
    "cloudwatch:getMetricStatistics",
    "cloudwatch:deleteAlarms",
    "events:putEvents",
]


@pytest.mark.parametrize("name", FAILING)
def test_a_call_that_keeps_failing_leaves_no_lock(deploy: Any, name: str):
    """Whichever call fails for good, an outcome is reached and the lock is free."""
    run, aws = deploy(PLAN, updates=[NEW, OLD], fail={name: [("Service.Down", "no")] * 40})
    assert aws.lock == "free"
    assert (run.status == "SUCCEEDED") == (name in ("cloudwatch:deleteAlarms", "events:putEvents"))


def test_an_update_that_was_refused_is_read_at_the_endpoint(deploy: Any):
    """The endpoint says what happened: still the old config, so rolled back, with the refusal as reason."""
    run, _ = deploy(PLAN, updates=[NEW], fail={"sagemaker:updateEndpoint": [("SageMaker.X", "in-progress")] * 4})
    outcome, reason = recorded(run)
    assert outcome == "ROLLED_BACK"
    assert "in-progress" in reason


def test_holds_the_lock_longer_than_it_can_run():
    """The lock outlives a rollout and its way back."""
    assert hold_seconds(3600) == 2 * (3600 + 900) + 900
