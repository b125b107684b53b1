"""Lineage reported by jobs, and messages if it cannot be reported."""

import builtins
import json
from datetime import UTC, datetime

import boto3
import pytest
from moto import mock_aws

from mlops_runtime.contracts.features import Build, Output, Semantics, TrainingSetManifest
from mlops_runtime.contracts.retraining import TrainingSetPlan
from mlops_runtime.features.open_lineage import LineageOutbox
from mlops_runtime.jobs.job_environment import JobError
from mlops_runtime.jobs.lineage_report import Lineage

NOW = datetime(2017, 1, 1, tzinfo=UTC)
CATALOG = "arn:aws:glue:us-east-1:111122223333"
MANIFEST = TrainingSetManifest(
    name="daily",
    semantics=Semantics(as_of="known_at", cutoff="2017-01-01T00:00:00Z"),
    entities=None,
    features=(),
    build=Build(engine="duckdb", engine_version="1.5.5", planner="pit/3", client="0.1.0"),
    output=Output(rows=6, content_hash="h1:00", files=(), columns={"units": "double"}),
)
PLAN = TrainingSetPlan(
    name="daily", label_group="sales", timestamp="asked_at", label="units", features={}, holdout_days=2
)


@pytest.fixture
def s3():
    """Return an S3 client with one bucket."""
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="sets")
        yield client


def lineage(s3=None, **changes):
    """Return the report of a job, without destinations by default."""
    given = {"catalog": None, "events": None, "namespace": "mlops.demand", "manifests": "s3://sets/manifests"}
    return Lineage(**{**given, "environment": {}, "sagemaker": None, "s3": s3, **changes})


def built(reported):
    """Report a built set."""
    return reported.built(MANIFEST, uri="s3://sets/sets/daily/1", started=NOW, now=NOW)


def test_nothing_is_told_unless_it_is_asked_for():
    """No client is called."""
    assert built(lineage()) == []
    assert lineage().failed(PLAN, as_of=NOW, error="why", started=NOW, now=NOW) == []


def test_events_wait_in_the_outbox_without_a_collector(s3, monkeypatch):
    """They have the job's namespace and catalog; an unavailable collector is reported."""
    reported = lineage(s3, catalog=CATALOG, events="s3://sets/lineage")
    monkeypatch.setattr("mlops_runtime.jobs.lineage_report.SageMakerLineage.record", lambda *_, **__: None)
    assert built(reported) == []
    assert reported.failed(PLAN, as_of=NOW, error="why", started=NOW, now=NOW) == []
    outbox = LineageOutbox("s3://sets/lineage", s3=s3)
    assert len(outbox.pending()) == 4
    first = json.loads(s3.get_object(Bucket="sets", Key=f"lineage/events/{outbox.pending()[0]}.json")["Body"].read())
    assert first["job"]["namespace"] == "mlops.demand"
    away = lineage(s3, catalog=CATALOG, events="s3://sets/lineage", environment={"OPENLINEAGE_URL": "marquez"})
    (problem,) = built(away)
    assert "lineage events were not stored or not delivered: url must begin with http" in problem


def test_fails_when_events_have_no_catalog_to_name_tables_by():
    """At the start of the job, not at its end."""
    with pytest.raises(JobError, match="--lineage identifies tables by the catalog; pass --catalog too"):
        lineage(events="s3://sets/lineage")


def test_a_missing_extra_is_said(s3, monkeypatch):
    """An image without OpenLineage's client builds the set and reports the missing package."""
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("mlops_runtime.features.open_lineage"):
            raise ImportError("No module named 'openlineage'")
        return real(name, *rest)

    monkeypatch.setattr("mlops_runtime.jobs.lineage_report.SageMakerLineage.record", lambda *_, **__: None)
    monkeypatch.setattr(builtins, "__import__", without)
    (problem,) = built(lineage(s3, catalog=CATALOG, events="s3://sets/lineage"))
    assert problem == "No module named 'openlineage'; install mlops-runtime[lineage] in the job's image"
