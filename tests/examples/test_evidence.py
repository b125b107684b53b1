"""Evidence that a failed trip leaves for its analysis."""

import json
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace

import pytest
from examples.retail.demand_forecasting.replay import REPLAY
from examples.retail.loop import Loop, LoopError
from examples.retail.steps import Missed, Trip

from mlops_local.cloud import Cloud

MACHINE = {"StartAt": "Fails", "States": {"Fails": {"Type": "Fail", "Error": "NOT_TRAINED", "Cause": "no rows"}}}


def miss(trip: Trip) -> None:
    """Let a step of a trip fail."""
    with pytest.raises(Missed), trip.step("train"):
        raise LoopError("it ended FAILED")


@pytest.mark.cloud
def test_log_histories_and_alarms_of_a_missed_step_are_kept(cloud: Cloud, tmp_path: Path) -> None:
    """Step and output name the folder; an earlier trip's evidence is deleted."""
    machines, cloudwatch = cloud.client("stepfunctions"), cloud.client("cloudwatch")
    role = "arn:aws:iam::000000000000:role/evidence"
    trust = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
    cloud.client("iam").create_role(
        RoleName="evidence", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )
    machine = machines.create_state_machine(name="evidence", definition=json.dumps(MACHINE), roleArn=role)
    started = machines.start_execution(stateMachineArn=machine["stateMachineArn"])["executionArn"]
    cloudwatch.put_metric_alarm(
        AlarmName="evidence", Namespace="n", MetricName="m", Statistic="Sum", Period=60, EvaluationPeriods=1, Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    messages: list[str] = []
    trip = Trip(REPLAY, messages.append)
    trip.running = cloud
    outputs = dict.fromkeys(("DeployMachineArn", "RetrainMachineArn"), machine["stateMachineArn"])
    trip.loop = Loop(
        client=cloud.client,
        outputs={**outputs, "EndpointName": "evidence"},
        unit="demand",
        now=lambda: datetime.now(UTC),
    )
    trip.loop.wait_idle("DeployMachineArn")
    folder = tmp_path / "page.evidence"
    folder.mkdir()
    (folder / "old").touch()
    miss(trip)

    trip.keep_evidence(folder)

    assert messages[-1] == f"evidence: {folder}"
    assert trip.result.rows[-1].detail == f"it ended FAILED; evidence in {folder}"
    assert sorted(path.name for path in folder.iterdir()) == ["alarms.json", "cloud.log", "executions.json"]
    assert (folder / "cloud.log").read_text() != ""
    (kept,) = json.loads((folder / "executions.json").read_text()).items()
    assert (kept[0], kept[1]["described"]["error"]) == (started, "NOT_TRAINED")
    assert kept[1]["history"][-1]["executionFailedEventDetails"]["cause"] == "no rows"
    alarms = json.loads((folder / "alarms.json").read_text())
    assert "evidence" in [alarm["AlarmName"] for alarm in alarms["alarms"]]
    assert set(alarms) == {"now", "alarms", "history"}


@pytest.mark.cloud
def test_of_a_unit_that_was_not_deployed_the_log_is_kept(cloud: Cloud, tmp_path: Path) -> None:
    """Covers a failed synthesis."""
    trip = Trip(REPLAY, lambda _line: None)
    trip.running = cloud
    miss(trip)

    trip.keep_evidence(tmp_path / "kept")

    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["cloud.log"]


def test_of_a_cloud_that_never_started_nothing_is_kept(tmp_path: Path) -> None:
    """There is no log; the step has the reason."""
    trip = Trip(REPLAY, lambda _line: None)
    miss(trip)

    trip.keep_evidence(tmp_path / "kept")

    assert not (tmp_path / "kept").exists()
    assert trip.result.rows[-1].detail == "it ended FAILED"


def test_the_cloud_is_stopped_before_the_data_are_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second Ctrl-C, while they are still computed, leaves no cloud running."""
    stopped = Event()
    computing = Thread(target=stopped.wait, daemon=True)
    computing.start()

    def down(*, forget: bool) -> None:
        assert forget
        stopped.set()

    trip = Trip(REPLAY, lambda _line: None)
    trip.running = SimpleNamespace(down=down)  # type: ignore[assignment]
    monkeypatch.setattr(trip, "_data", computing)

    trip.stop()

    assert not computing.is_alive()
