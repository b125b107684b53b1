"""A person's rollback, against moto's Step Functions and CloudWatch; the machine's actions happen while the command waits."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from tests.runtime.rollout.world import ENDPOINT, EXECUTION, MACHINE, SPEC, World, record_of

from mlops_runtime.contracts import canonical_json, content_hash, from_json
from mlops_runtime.contracts.rollout import DeployReason, DeployRequest, Outcome
from mlops_runtime.rollout.execution_names import version_name
from mlops_runtime.rollout.fleet_alarms import FleetAlarms
from mlops_runtime.rollout.rollback import Answer, Begun, RollbackError, WayBack, abort_alarm, target_package

GROUP = "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast"
REQUEST = DeployRequest(
    reason=DeployReason.ROLLBACK, requested_by="ann", requested_at="2017-08-01T09:00:00Z", comment="bad"
)


class Script:
    """The cloud's actions between two polls of the command: one step per wait."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.messages: list[str] = []
        self._steps: Iterator[Callable[[], None]] = iter(())

    def then(self, *steps: Callable[[], None]) -> WayBack:
        """Return a rollback with these steps."""
        self._steps = iter(steps)
        return WayBack(
            stepfunctions=self.world.stepfunctions,
            cloudwatch=self.world.cloudwatch,
            chain=self.world.chain,
            machine_arn=MACHINE,
            wait=self._step,
            echo=self.messages.append,
        )

    def _step(self, execution: str | None) -> None:
        assert execution in self.running()
        next(self._steps)()

    def running(self) -> list[str]:
        """Return the ARNs of running executions."""
        found = self.world.stepfunctions.list_executions(stateMachineArn=MACHINE, statusFilter="RUNNING")["executions"]
        return [execution["executionArn"] for execution in found]

    def rollout(self, reason: str = "approval") -> str:
        """Start a rollout that has the lock."""
        request = self.world.request(reason, f"{GROUP}/3")
        started = self.world.stepfunctions.start_execution(
            stateMachineArn=MACHINE, input=canonical_json(request).decode()
        )
        self.world.lock(started["executionArn"])
        return str(started["executionArn"])

    def ends(self, outcome: Outcome, serves: str, *, reason: str = "", records: bool = True) -> Callable[[], None]:
        """End the only running execution: pointer, record, end."""

        def end() -> None:
            (execution,) = self.running()
            self.serve(serves)
            if records:
                row = self.world.table.read()
                record = replace(
                    record_of(row.audit_sequence + 1, row.audit_head),
                    outcome=outcome,
                    reason=reason,
                    execution=execution,
                )
                self.world.table.move_head(row, record, content_hash(record))
                self.world.chain.write(record, None)
            self.world.stepfunctions.stop_execution(executionArn=execution)

        return end

    def serve(self, version: str) -> None:
        """Make a version live."""
        self.world.point(self.world.pointer(f"demand-forecast-0000000{version}", f"{GROUP}/{version}"))

    def inputs(self) -> list[DeployRequest]:
        """Return the requests of all executions, oldest first."""
        found = self.world.stepfunctions.list_executions(stateMachineArn=MACHINE)["executions"]
        texts = [self.world.stepfunctions.describe_execution(executionArn=e["executionArn"])["input"] for e in found]
        return sorted(
            (from_json(DeployRequest, text) for text in texts), key=lambda r: r.reason is DeployReason.ROLLBACK
        )


@pytest.fixture
def script(world: World) -> Script:
    """Return a world in which version 2 serves."""
    made = Script(world)
    made.serve("2")
    return made


def test_without_a_rollout_the_machine_goes_back(script: Script) -> None:
    """Its request has the reason rollback, and its record is the result."""
    answer = script.then(script.ends(Outcome.PROMOTED, "1", reason="back to version 1")).go(REQUEST)

    assert answer.is_served
    assert answer.text == f"PROMOTED: back to version 1; live: {GROUP}/1"
    assert script.inputs() == [REQUEST]
    (name,) = script.world.executions()
    assert name.startswith("rollback-")
    assert script.messages == [f"following {MACHINE.replace(':stateMachine:', ':execution:')}:{name}"]


def test_a_named_version_is_asked_for(script: Script) -> None:
    """Only that version is a success."""
    request = replace(REQUEST, model_package_arn=f"{GROUP}/7")

    assert script.then(script.ends(Outcome.PROMOTED, "7")).go(request).is_served
    assert script.inputs() == [request]
    assert (
        not script.then(script.ends(Outcome.PROMOTED, "1"))
        .go(replace(request, model_package_arn=f"{GROUP}/5"))
        .is_served
    )


def test_a_refusal_is_no_success(script: Script) -> None:
    """Reports the reason and the model that still serves."""
    answer = script.then(script.ends(Outcome.REFUSED, "2", reason="there is no previous version")).go(REQUEST)

    assert not answer.is_served
    assert answer.text == f"REFUSED: there is no previous version; live: {GROUP}/2"


def test_an_execution_that_dies_is_told(script: Script) -> None:
    """Without a record only its status is known."""
    answer = script.then(script.ends(Outcome.FAILED, "2", records=False)).go(REQUEST)

    assert not answer.is_served
    assert answer.text.endswith(f"ended ABORTED without a record; live: {GROUP}/2")


def test_a_record_written_afterwards_does_not_hide_the_outcome(script: Script) -> None:
    """A retraining's rejection may follow at once."""

    def end_and_reject() -> None:
        script.ends(Outcome.PROMOTED, "1", reason="back")()
        row = script.world.table.read()
        other = replace(
            record_of(row.audit_sequence + 1, row.audit_head), outcome=Outcome.REJECTED, execution="retrain"
        )
        script.world.table.move_head(row, other, content_hash(other))
        script.world.chain.write(other, None)

    answer = script.then(end_and_reject).go(REQUEST)

    assert answer.record is not None
    assert (answer.record.outcome, answer.record.reason) == (Outcome.PROMOTED, "back")


def test_a_rollout_that_runs_is_aborted(script: Script) -> None:
    """Its alarm is set with the person and the reason; the machine gets no further request."""
    execution = script.rollout()
    alarm = abort_alarm(ENDPOINT, execution)
    script.world.alarm(alarm, "OK")

    answer = script.then(script.ends(Outcome.ROLLED_BACK, "2", reason="abort")).go(REQUEST)

    (found,) = script.world.cloudwatch.describe_alarms(AlarmNames=[alarm])["MetricAlarms"]
    assert (found["StateValue"], found["StateReason"]) == ("ALARM", "requested by ann: bad")
    assert answer.is_served
    assert answer.text == f"ROLLED_BACK: abort; live: {GROUP}/2"
    assert len(script.world.executions()) == 1
    assert script.messages == [
        f"a rollout is running: {execution}",
        f"{alarm} is set to ALARM: the new fleet is rolled back",
    ]


def test_a_new_fleet_is_waited_for(script: Script) -> None:
    """The alarms, which do not exist before, are set as soon as they do."""
    alarm = abort_alarm(ENDPOINT, script.rollout())

    answer = script.then(
        lambda: None, lambda: script.world.alarm(alarm, "OK"), lambda: None, script.ends(Outcome.ROLLED_BACK, "2")
    ).go(REQUEST)

    assert answer.is_served
    assert script.messages[-1] == f"{alarm} is set to ALARM: the new fleet is rolled back"


def test_a_rollout_that_was_too_quick_is_gone_back_from(script: Script) -> None:
    """To exactly the version that served before it."""
    script.rollout()

    answer = script.then(script.ends(Outcome.PROMOTED, "3"), script.ends(Outcome.PROMOTED, "2", reason="back")).go(
        REQUEST
    )

    assert answer.is_served
    assert script.inputs()[1] == replace(REQUEST, model_package_arn=f"{GROUP}/2")


def test_from_an_aborted_rollout_the_way_goes_on_to_a_named_version(script: Script) -> None:
    """The old model is not the requested one."""
    script.world.alarm(abort_alarm(ENDPOINT, script.rollout()), "OK")
    request = replace(REQUEST, model_package_arn=f"{GROUP}/1")

    answer = script.then(script.ends(Outcome.ROLLED_BACK, "2"), script.ends(Outcome.PROMOTED, "1")).go(request)

    assert answer.is_served
    assert script.inputs()[1] == request


def test_a_rollback_that_runs_is_not_aborted(script: Script) -> None:
    """Two people want the same; an abort would return to the version that they leave."""
    execution = script.rollout("rollback")
    script.world.alarm(abort_alarm(ENDPOINT, execution), "OK")

    answer = script.then(script.ends(Outcome.PROMOTED, "3")).go(REQUEST)

    (found,) = script.world.cloudwatch.describe_alarms()["MetricAlarms"]
    assert found["StateValue"] == "OK"
    assert answer.is_served
    assert script.messages == [f"a rollback is already running: following {execution}"]


def test_a_rollback_that_was_interrupted_is_followed_by_the_same_command(script: Script) -> None:
    """While it runs or waits for the lock, and after its end: no second one is started."""
    requested = canonical_json(replace(REQUEST, requested_at="2017-08-01T08:59:00Z")).decode()
    begun = script.world.stepfunctions.start_execution(stateMachineArn=MACHINE, input=requested)["executionArn"]

    followed = script.then(script.ends(Outcome.PROMOTED, "1", reason="back to version 1")).go(REQUEST)
    again = script.then().go(REQUEST)
    further = script.then(script.ends(Outcome.PROMOTED, "7")).go(replace(REQUEST, comment="worse"))

    assert (followed.is_served, again.is_served, further.is_served) == (True, True, True)
    assert script.messages[0] == f"this rollback already waits for the endpoint: following {begun}"
    assert followed.text == f"PROMOTED: back to version 1; live: {GROUP}/1"
    assert again.text.startswith("this rollback was already done, record 1 of ")
    assert "For an earlier version use --to, or give another reason" in again.text
    assert {request.comment for request in script.inputs()} == {"bad", "worse"}


def test_an_abort_that_was_interrupted_goes_no_step_further(script: Script) -> None:
    """The rollout has been rolled back meanwhile; the version before stays."""
    script.world.alarm(abort_alarm(ENDPOINT, script.rollout()), "OK")
    reason = "SageMaker rolled back to demand-forecast-1. in ALARM: abort (requested by ann: bad)"

    first = script.then(script.ends(Outcome.ROLLED_BACK, "2", reason=reason)).go(REQUEST)
    again = script.then().go(REQUEST)

    assert first.is_served
    assert again.text.startswith("this rollback was already done, record 1 of ")
    assert len(script.world.executions()) == 1


def test_others_that_wait_are_told_of(script: Script) -> None:
    """A queued approval continues after the rollback."""
    execution = script.rollout()
    script.world.alarm(abort_alarm(ENDPOINT, execution), "OK")
    waiting = script.world.stepfunctions.start_execution(stateMachineArn=MACHINE, input="{}")["executionArn"]

    def end() -> None:
        script.world.stepfunctions.stop_execution(executionArn=waiting)
        script.ends(Outcome.ROLLED_BACK, "2")()

    script.then(end).go(REQUEST)

    assert (
        script.messages[0] == "1 more executions wait for the endpoint and continue afterwards: mlops status shows them"
    )


def test_a_stale_lock_is_no_rollout(script: Script) -> None:
    """Its holder died; the machine takes the lock over after its expiry."""
    script.world.lock("arn:aws:states:us-east-1:123456789012:execution:Deploy:dead")

    assert script.then(script.ends(Outcome.PROMOTED, "1")).go(REQUEST).is_served


def test_what_serves_already_is_not_deployed_again(script: Script) -> None:
    """Nothing is started."""
    answer = script.then().go(replace(REQUEST, model_package_arn=f"{GROUP}/2"))

    assert answer.is_served
    assert answer.text == f"{GROUP}/2 is already live; nothing changed"
    assert script.world.executions() == []


def test_fails_when_nothing_serves(world: World) -> None:
    """Neither before the first approval nor during the first rollout."""
    script = Script(world)

    with pytest.raises(
        RollbackError, match=r"NOT_YET_DEPLOYED: no model is live on demand-forecast yet, .* from; approve"
    ):
        script.then().go(REQUEST)
    script.rollout()
    with pytest.raises(RollbackError, match="nothing to roll back to; the first rollout runs"):
        script.then().go(REQUEST)
    assert len(world.executions()) == 1


@pytest.mark.parametrize("wanted", ["3", f"{GROUP}/3"])
def test_a_version_is_a_number_or_an_arn(wanted: str) -> None:
    """Of the endpoint's group in the machine's account and region."""
    assert target_package(wanted, group="demand-forecast", machine_arn=MACHINE) == f"{GROUP}/3"


@pytest.mark.parametrize(
    "wanted", ["", "0", "03", "-1", "v3", "3.0", "٣", f"{GROUP}2/3", f"{GROUP}/", "arn:aws:sagemaker:::x/3"]
)
def test_fails_on_what_is_no_version(wanted: str) -> None:
    """The error lists the allowed values and where to look."""
    with pytest.raises(
        RollbackError, match="the version must be a number such as 3, or an ARN that begins with arn:aws:sage"
    ):
        target_package(wanted, group="demand-forecast", machine_arn=MACHINE)


def test_the_alarm_is_the_one_that_the_plan_makes() -> None:
    """Both names follow from the execution."""
    config = version_name(ENDPOINT, EXECUTION)
    names = FleetAlarms(spec=SPEC, config=config, previous="old", execution=EXECUTION).names

    assert abort_alarm(ENDPOINT, EXECUTION) in names


def test_it_is_begun_without_waiting_and_found_again(script: Script) -> None:
    """A second request or poll follows the same execution to its result."""
    way = script.then()
    begun = way.begin(REQUEST)

    assert isinstance(begun, Begun)
    assert way.begin(REQUEST) == begun
    assert way.look(begun) == begun
    assert script.running() == [begun.execution]
    script.ends(Outcome.PROMOTED, "1", reason="back to version 1")()
    answer = way.look(begun)
    assert isinstance(answer, Answer)
    assert (answer.is_served, answer.text) == (True, f"PROMOTED: back to version 1; live: {GROUP}/1")


def test_a_rollout_whose_fleet_is_not_there_yet_is_aborted_at_a_later_look(script: Script) -> None:
    """The alarm exists only once the fleet does."""
    execution = script.rollout()
    way = script.then()
    begun = way.begin(REQUEST)

    assert isinstance(begun, Begun)
    assert (begun.execution, begun.aborts, begun.is_alarm_set) == (execution, True, False)
    script.world.cloudwatch.put_metric_alarm(
        AlarmName=abort_alarm(ENDPOINT, execution),
        ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=1,
        Namespace="n",
        MetricName="m",
        Period=60,
        Statistic="Sum",
        Threshold=0,
    )
    seen = way.look(begun)
    assert isinstance(seen, Begun)
    assert seen.is_alarm_set
    found = script.world.cloudwatch.describe_alarms(AlarmNames=[abort_alarm(ENDPOINT, execution)])["MetricAlarms"]
    assert found[0]["StateValue"] == "ALARM"
