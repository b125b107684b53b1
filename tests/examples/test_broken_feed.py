"""Alarms on a seemingly broken feed, on the embedded cloud: people get a question, real drift still retrains."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.examples.test_retraining import MODEL, UNIT, Sample, synthesize, wait
from tests.topic_queue import subscribe_queue

from mlops_local import cloud as local_cloud
from mlops_runtime.contracts import canonical_json, to_dict
from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import DriftResult, MonitorReport, QualityResult
from mlops_runtime.contracts.rollout import Outcome
from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.counting.counts import count_columns
from mlops_runtime.monitor.monitors.drift.decision import decide
from mlops_runtime.monitor.monitors.monitor_table import metrics
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.stored_reports import REPORT, report_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.cloud


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    """Deploy the stack."""
    folder = tmp_path_factory.mktemp("broken")
    cloud = local_cloud.up(folder / "cloud", clock_scale=120.0)
    try:
        yield Sample(cloud, synthesize(folder, has_rival=True))
    finally:
        cloud.down(forget=True)


def _publish(sample: Sample, trained: Any, live: Any) -> None:
    """Write a monitor report for a window with these prices."""
    created = "2017-07-01T00:00:00Z"
    baseline = fit_baseline({"price": trained}, types={"price": "number"}, training_set_id="t", created=created)
    features = decide(baseline, count_columns({"price": live}, baseline), MonitorSpec())
    until = sample.now()
    report = MonitorReport(
        endpoint=f"{UNIT}-{MODEL}",
        variant="AllTraffic",
        window_from=str(to_dict(until - timedelta(days=1))),
        window_until=str(to_dict(until)),
        drift=DriftResult(state=MonitorState.VIOLATION, features=features),
        quality=QualityResult(state=MonitorState.NO_LABELS_YET),
        rows=len(live),
        baseline_sha256="a" * 64,
        model_package_arn="arn",
        state=MonitorState.VIOLATION,
    )
    content = canonical_json(replace(report, metrics=metrics(report)))
    key = f"{report_folder(report.endpoint, until)}/{REPORT}"
    sample.loop.s3.put_object(Bucket=sample.outputs["ArtifactsBucket"], Key=key, Body=content)


def _fire(sample: Sample) -> tuple[str, str]:
    """Let the drift alarm fire; return the guard's decision and reason."""
    known, cloudwatch = len(sample.decisions("ExportsTable")), sample.cloud.client("cloudwatch")
    for state in ("OK", "ALARM"):
        cloudwatch.set_alarm_state(AlarmName=sample.outputs["FeaturesAlarm"], StateValue=state, StateReason="test")
    wait(lambda: len(sample.decisions("ExportsTable")) > known)
    return sample.decisions("ExportsTable")[known]


def test_an_alarm_on_a_broken_feed_asks_people(sample: Sample) -> None:
    """Each planted fault is reported once per day: message, record, no job; the same alarm with real drift retrains."""
    table, sqs = sample.outputs["ExportsTable"], sample.cloud.client("sqs")
    url = subscribe_queue(sqs, sample.cloud.client("sns"), sample.outputs["Topic"], "people")
    rows = np.random.default_rng(4).lognormal(1, 0.5, (2, 5000))
    faults = {
        "price: null in 40 % of the rows, 0 % when it was trained": np.where(np.arange(5000) % 5 < 2, np.nan, rows[1]),
        "price: values look multiplied by 100 in all rows": rows[1] * 100,
    }
    jobs, reasons = len(sample.loop.sagemaker.list_processing_jobs()["ProcessingJobSummaries"]), []
    for fault, live in faults.items():
        _publish(sample, rows[0], live)
        decision, reason = _fire(sample)
        assert (decision, fault in reason) == ("ASKED", True), reason
        assert f"fix the feed, or train on it: mlops train {UNIT}-{MODEL}" in reason
        wait(lambda: sample.owner("ExportsTable") is None)
        assert _fire(sample)[0] == "COOLING_DOWN"
        key = {"pipeline": {"S": f"{UNIT}-{MODEL}"}, "item": {"S": "STATE"}}
        sample.dynamodb.update_item(TableName=table, Key=key, UpdateExpression="REMOVE last_asked")
        reasons.append(reason)
    records = [record for record in sample.loop.audit() if record.outcome is Outcome.ASKED]
    assert [(record.reason, record.requested_by) for record in records] == [
        (reason, sample.outputs["FeaturesAlarm"]) for reason in reasons
    ]
    assert len(sample.loop.sagemaker.list_processing_jobs()["ProcessingJobSummaries"]) == jobs
    found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=5)
    texts = [json.loads(message["Body"])["Message"] for message in found["Messages"]]
    assert sorted(texts) == sorted(reason.replace("; ", "\n") for reason in reasons)

    _publish(sample, rows[0], rows[1] * 1.3)
    assert _fire(sample)[0] == "STARTED"
