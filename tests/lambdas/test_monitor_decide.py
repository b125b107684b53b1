"""The monitor's deciding function: states, files, metrics and events."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from moto import mock_aws
from tests.lambdas.monitored import BASELINE, CALLED, LIVE, NOW, SETTINGS, TRAINED, World, like_training

from mlops_runtime.contracts import canonical_json, content_hash, from_dict, from_json
from mlops_runtime.contracts.capture import announcement_key
from mlops_runtime.contracts.events import EventDetail
from mlops_runtime.contracts.monitor import Counts, MonitorState, Violations
from mlops_runtime.monitor.counting.baseline import number_baseline
from mlops_runtime.monitor.counting.counts import count
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import Inventory


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[World]:
    """The function and its resources."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield World(capsys)


def test_a_window_like_the_training_data_is_ok(world: World) -> None:
    """Without drift and with errors as on the holdout: OK, with all files, metrics and the event."""
    world.deploy()
    world.traffic(like_training(1000), error=0.1)
    report = world.run()
    assert (report.drift.state, report.quality.state) == (MonitorState.OK, MonitorState.OK)
    assert (report.rows, report.quality.rows, report.window_until) == (1000, 1000, "2017-08-14T00:00:00Z")
    assert report.quality.values["wape"] == pytest.approx(0.01, rel=0.02)
    assert [(f.name, f.drifted) for f in report.drift.features] == [("price", False), ("prediction", False)]
    assert from_json(Violations, world.read("constraint_violations.json")).violations == ()
    assert json.loads(world.read("statistics.json"))["dataset"] == {"item_count": 1000}
    metrics = world.metrics()
    assert (metrics["drift/FeaturesDrifted"], metrics["drift/SampleCount"]) == (0, 1000)
    assert metrics["quality/WapeRatio"] == pytest.approx(0.1, rel=0.02)
    [event] = world.received_events()
    detail = from_dict(EventDetail, event["detail"])
    assert (event["detail-type"], detail.subject, detail.outcome) == ("MLOps Monitor Reported", "demand-forecast", "OK")
    assert detail.attributes["report_uri"] == "s3://artifacts/monitor/demand-forecast/reports/2017-08-14T00/report.json"


def test_drift_of_one_window_is_a_suspicion_and_of_two_a_violation(world: World) -> None:
    """Half a standard deviation is feature and prediction drift, in Model Monitor's terms too; quality is violated at once."""
    world.deploy()
    world.traffic(like_training(1000, shift=0.5), error=2.0)
    report = world.run()
    assert (report.drift.state, report.quality.state, report.state) == (
        MonitorState.OK,
        MonitorState.VIOLATION,
        MonitorState.VIOLATION,
    )
    assert [(f.name, f.drifted, f.persistent) for f in report.drift.features] == [
        ("price", True, False),
        ("prediction", True, False),
    ]
    assert report.drift.features[0].mean_shift == pytest.approx(0.5, abs=0.1)
    found = from_json(Violations, world.read("constraint_violations.json")).violations
    assert [(v.feature_name, v.constraint_check_type) for v in found] == [
        ("price", "baseline_drift_check"),
        ("prediction", "baseline_drift_check"),
        ("dataset", "GreaterThanThreshold"),
    ]
    metrics = world.metrics()
    assert (metrics["drift/FeaturesDrifted"], metrics["drift/FeaturesSuspect"]) == (0, 2)
    assert (metrics["quality/QualityViolations"], metrics["drift/BaselineTampered"]) == (1, 0)
    world.traffic(like_training(1000, shift=0.5), labelled=False, at=NOW)
    report = world.run("2017-08-21T00:15:00Z")
    assert (report.drift.state, report.state) == (MonitorState.VIOLATION, MonitorState.VIOLATION)
    assert "drift in 2 of 3 windows: prediction (mean rose 10 %, from 9.97 to 11), price (mean rose" in report.verdict
    assert '"FeaturesDrifted": 2' in world.printed
    details = [event["detail"] for event in world.received_events()]
    assert [detail["outcome"] for detail in details] == ["VIOLATION", "VIOLATION"]
    assert details[1]["reason"] == report.verdict
    assert "What to do:\n- if the feed is broken" in details[1]["attributes"]["message"]


def test_a_run_that_is_repeated_says_the_same(world: World) -> None:
    """The schedule delivers at least once: same files, same event id."""
    world.deploy()
    world.traffic(like_training(1000))
    assert world.run() == world.run()
    assert len({event["detail"]["id"] for event in world.received_events()}) == 1


def test_nothing_serves_yet(world: World) -> None:
    """Before the first rollout there is a state and no result."""
    report = world.run()
    assert (report.drift.state, report.quality.state) == (MonitorState.NOT_YET_DEPLOYED,) * 2
    assert set(world.metrics()) == {"drift/SampleCount", "quality/SampleCount"}


def test_silence_is_told_apart(world: World) -> None:
    """Distinguishes no traffic, uncaptured traffic, and uncounted captures."""
    world.deploy()
    assert world.run().drift.state is MonitorState.NO_TRAFFIC
    dimensions = [{"Name": "EndpointName", "Value": "demand-forecast"}, {"Name": "VariantName", "Value": "AllTraffic"}]
    datum = {"MetricName": "Invocations", "Dimensions": dimensions, "Timestamp": CALLED, "Value": 3.0}
    world.cloudwatch.put_metric_data(Namespace="AWS/SageMaker", MetricData=[datum])
    assert world.run().drift.state is MonitorState.NO_CAPTURE
    world.traffic(like_training(300), counted=False, labelled=False)
    report = world.run()
    assert (report.drift.state, report.quality.state) == (MonitorState.MONITOR_NOT_RUN, MonitorState.NO_LABELS_YET)


def test_synthetic_calls_alone_are_no_traffic(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """CloudWatch counts them and captures exist, but none has rows of callers."""
    world.deploy()
    side = {"observedContentType": "text/csv", "mode": "INPUT", "data": "1", "encoding": "CSV"}
    metadata = {"eventId": "e", "inferenceId": "mlops-synthetic-1-29174fbf3e2370f6"}
    line = json.dumps({"captureData": {"endpointInput": side}, "eventMetadata": metadata})
    key = f"AllTraffic/{CALLED:%Y/%m/%d/%H}/a"
    world.s3.put_object(Bucket="captures", Key=f"capture/demand-forecast/{key}.jsonl", Body=line.encode())
    counts = canonical_json(count([line], BASELINE, announced=lambda *_: True))
    world.s3.put_object(Bucket="artifacts", Key=f"monitor/demand-forecast/counts/{key}.json", Body=counts)
    announced = announcement_key("demand-forecast", CALLED, 3, "0" * 32)
    world.s3.put_object(Bucket="artifacts", Key=announced, Body=b"{}")
    dimensions = [{"Name": "EndpointName", "Value": "demand-forecast"}, {"Name": "VariantName", "Value": "AllTraffic"}]
    datum = {"MetricName": "Invocations", "Dimensions": dimensions, "Timestamp": CALLED, "Value": 3.0}
    world.cloudwatch.put_metric_data(Namespace="AWS/SageMaker", MetricData=[datum])
    with caplog.at_level("INFO", logger="mlops.monitor"):
        assert world.run().drift.state is MonitorState.NO_TRAFFIC
    assert '"synthetic": 1}' in caplog.text
    world.cloudwatch.put_metric_data(Namespace="AWS/SageMaker", MetricData=[{**datum, "Value": 1.0}])
    assert (
        world.run().drift.state is MonitorState.NO_CAPTURE
    )  # one call more than the platform sent, which is not captured


def test_too_few_rows_decide_nothing(world: World) -> None:
    """A window of 100 rows reports too few."""
    world.deploy()
    world.traffic(like_training(100), labelled=False)
    report = world.run()
    assert (report.drift.state, report.rows, report.drift.features) == (MonitorState.INSUFFICIENT_DATA, 100, ())


def test_a_new_model_starts_anew(world: World) -> None:
    """Counts against a previous model's baseline and errors of its predictions are excluded."""
    newer = replace(BASELINE, training_set_id="set-2")
    world.s3.put_object(Bucket="artifacts", Key="newer.json", Body=canonical_json(newer))
    live = replace(
        LIVE,
        baseline_uri="s3://artifacts/newer.json",
        baseline_sha256=content_hash(newer),
        training_set_id="set-2",
        since="2017-08-13T00:00:00Z",
    )
    world.traffic(like_training(1000, shift=1), error=5.0)
    world.deploy(live)
    report = world.run()
    assert (report.rows, report.quality.rows) == (0, 0)
    assert (report.drift.state, report.quality.state) == (MonitorState.NO_TRAFFIC, MonitorState.NO_LABELS_YET)


def test_a_baseline_of_another_training_set_is_named(world: World) -> None:
    """Comparing with it would be meaningless."""
    world.deploy(replace(LIVE, training_set_id="set-2"))
    world.traffic(like_training(1000))
    assert world.run().drift.state is MonitorState.BASELINE_OLDER_THAN_MODEL


def test_a_changed_baseline_is_an_alarm_and_decides_nothing(world: World) -> None:
    """The hash of its bytes differs from the approved one: reported and published, without a drift decision."""
    world.deploy(LIVE)
    world.traffic(like_training(1000, shift=1))
    assert world.run().baseline_flaw is None
    wider = replace(BASELINE, features=(number_baseline("price", TRAINED * 2),))
    world.s3.put_object(Bucket="artifacts", Key="baseline.json", Body=canonical_json(wider))
    report = world.run()
    assert report.baseline_flaw is not None
    assert f"was changed: it has SHA-256 {hashlib.sha256(canonical_json(wider)).hexdigest()}" in report.baseline_flaw
    assert (report.drift.state, report.state) == (MonitorState.MONITOR_NOT_RUN, MonitorState.VIOLATION)
    assert report.drift.features == ()
    [violation] = from_json(Violations, world.read("constraint_violations.json")).violations
    assert (violation.constraint_check_type, violation.description) == (
        "baseline_integrity_check",
        report.baseline_flaw,
    )
    metrics = world.metrics()
    assert metrics["drift/BaselineTampered"] == 1
    assert "drift/FeaturesDrifted" not in metrics
    assert world.received_events()[-1]["detail"]["outcome"] == "VIOLATION"


def test_a_missing_baseline_is_named(world: World) -> None:
    """The run still writes a report."""
    world.deploy()
    world.s3.delete_object(Bucket="artifacts", Key="baseline.json")
    report = world.run()
    assert report.problems == {"the baseline s3://artifacts/baseline.json is missing, or may not be read": 1}
    assert (report.drift.state, world.metrics()["drift/BaselineTampered"]) == (MonitorState.MONITOR_NOT_RUN, 1)


def test_a_late_object_is_counted_at_its_hour_and_told_once(world: World) -> None:
    """It arrives after its window was decided: the next report names it, the one after does not."""
    world.deploy()
    world.traffic(like_training(300), labelled=False)
    assert world.run().problems is None
    late = f"AllTraffic/{CALLED:%Y/%m/%d/%H}/late"
    copied = f"monitor/demand-forecast/counts/AllTraffic/{CALLED:%Y/%m/%d/%H}/a.json"
    world.s3.copy_object(
        Bucket="artifacts",
        Key=f"monitor/demand-forecast/counts/{late}.json",
        CopySource={"Bucket": "artifacts", "Key": copied},
    )
    world.traffic(like_training(300), labelled=False, at=NOW)
    assert world.run("2017-08-21T00:15:00Z").problems == {"capture object came after its window was decided": 1}
    assert world.run("2017-08-28T00:15:00Z").problems is None
    assert world.run("2017-08-21T00:15:00Z").rows == 300


def test_a_window_of_few_rows_takes_in_hours_before_it(world: World) -> None:
    """120 rows of this day, and 300 of the day before."""
    world.deploy()
    world.module._settings = replace(world.module._settings, window_hours=24)
    world.traffic(like_training(300), labelled=False, at=datetime(2017, 8, 12, 20, tzinfo=UTC))
    world.traffic(like_training(120), labelled=False, at=datetime(2017, 8, 13, 5, tzinfo=UTC))
    report = world.run()
    assert (report.rows, report.hours_merged, report.drift.state) == (420, 4, MonitorState.OK)
    world.module._settings = replace(world.module._settings, spec=MonitorSpec(merge_hours=3))
    report = world.run()
    assert (report.rows, report.hours_merged, report.drift.state) == (120, 3, MonitorState.INSUFFICIENT_DATA)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"owner": {"S": "arn:x:7"}, "lock_until": {"N": "1502670000"}}, "a rollout is running: 7"),
        ({"owner": {"S": "arn:x:7"}, "lock_until": {"N": "1502668000"}}, None),
    ],
)
def test_while_a_rollout_runs_drift_is_not_published(world: World, row: dict[str, Any], reason: str | None) -> None:
    """The lock is held: the report states it, and no drift metric is published."""
    world.deploy(**row)
    world.traffic(like_training(1000, shift=0.5), labelled=False)
    report = world.run()
    assert report.drift.features[0].drifted
    assert (report.suppressed or "nothing").startswith(reason or "nothing")
    assert ("drift/FeaturesSuspect" in world.metrics()) is (reason is None)


def test_what_a_rollout_suppresses_is_told_to_nobody(world: World) -> None:
    """The report keeps the violation; the event of rules and the lines of Athena contain no drift."""
    world.module._settings = replace(world.module._settings, spec=MonitorSpec(alarm_windows=1, of_windows=1))
    world.deploy(owner={"S": "arn:x:7"}, lock_until={"N": "1502670000"})
    world.traffic(like_training(1000, shift=0.5), labelled=False)
    report = world.run()
    assert (report.state, report.drift.state) == (MonitorState.VIOLATION, MonitorState.VIOLATION)
    [event] = world.received_events()
    detail = from_dict(EventDetail, event["detail"])
    assert (detail.outcome, detail.attributes["drift_state"]) == ("NO_LABELS_YET", "OK")
    assert "trained anew" not in detail.attributes["advice"]
    assert detail.reason.endswith("drift is not published, a rollout is running: 7")
    key = "monitor/demand-forecast/violations/2017/08/14/00/violations.jsonl"
    assert world.s3.get_object(Bucket="artifacts", Key=key)["Body"].read() == b""
    assert from_json(Violations, world.read("constraint_violations.json")).violations


def test_what_a_page_needs_lies_beside_the_report(world: World) -> None:
    """The merged counts, the baseline's location, the thresholds, and Model Monitor's files."""
    world.deploy()
    world.traffic(like_training(1000))
    report = world.run()
    counts = from_json(Counts, world.read("counts.json"))
    assert (counts.rows, counts.baseline_sha256, counts.objects) == (1000, report.baseline_sha256, 2)
    assert (report.baseline_uri, report.spec) == (
        "s3://artifacts/baseline.json",
        MonitorSpec(alarm_features=("price",)),
    )
    assert json.loads(world.read("constraints.json"))["features"][0]["name"] == "price"
    assert json.loads(world.read("model_quality_statistics.json"))["dataset"]["item_count"] == 1000
    assert from_json(Inventory, world.read("objects.json")).hours == {"2017-08-07T00:00:00Z": 2}


def test_a_spec_that_names_what_the_model_has_not_is_a_problem_and_no_failure(world: World) -> None:
    """A new model may lack a feature that the stack still names; the others are tested."""
    world.deploy()
    world.module._settings = replace(
        world.module._settings, spec=MonitorSpec(features=("price", "gone"), alarm_features=("gone",))
    )
    world.traffic(like_training(1000), labelled=False)
    report = world.run()
    assert report.drift.problems == {"the monitor names 'gone', which the live model does not have": 1}
    assert [feature.name for feature in report.drift.features] == ["price"]
