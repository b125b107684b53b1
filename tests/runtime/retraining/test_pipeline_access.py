"""Clients are created once, at first use."""

from mlops_runtime.contracts.unit_entries import PipelineEntry, UnitEntry
from mlops_runtime.retraining.pipeline_access import PipelineAccess

UNIT = UnitEntry(
    unit="demand",
    automation_table="a",
    audit_bucket="audit",
    artifacts_bucket="artifacts",
    bus="bus",
    heads_bucket="heads",
    signing_key="s",
    pause_key="p",
    owner="demand",
    cost_center="demand",
)
PIPELINE = PipelineEntry(
    pipeline="demand-forecast", unit="demand", group="g", retraining_table="t", retrain_machine="m", queue_url="q"
)


def test_each_client_is_made_once_and_none_before() -> None:
    """By boto3's service name."""
    made: list[str] = []

    def client(name: str) -> object:
        made.append(name)
        return object()

    access = PipelineAccess(client=client, unit=UNIT, pipeline=PIPELINE)
    assert made == []
    for _ in range(2):
        first = [access.s3, access.events, access.dynamodb, access.stepfunctions, access.sagemaker, access.logs]
    assert made == ["s3", "events", "dynamodb", "stepfunctions", "sagemaker", "logs"]
    assert len(set(map(id, first))) == 6
