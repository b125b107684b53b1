"""A unit with its parameters, in a stand-in of an account."""

from pathlib import Path
from typing import Any

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.unit_entries import EndpointEntry, PipelineEntry, UnitEntry, entry_name
from mlops_runtime.registry.package_approval import ApprovalRule, RegistryEntry, registry_parameter

EXAMPLES = Path(__file__).resolve().parents[1] / "contracts" / "examples"
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
    pipeline="demand-forecast",
    unit="demand",
    group="demand-forecast",
    retraining_table="retraining",
    retrain_machine="arn:aws:states:us-east-1:123456789012:stateMachine:Retrain",
    queue_url="https://sqs/guard",
    endpoint="demand-forecast",
    metric="wape",
    label="units",
    timestamp="at",
    block="store",
    baselines=("naive_mean_by_store",),
    training_set="s3://data/exports/forecast",
)
ENDPOINT = EndpointEntry(
    endpoint="demand-forecast",
    unit="demand",
    group="demand-forecast",
    rollout_table="rollout",
    deploy_machine="m",
    target="SageMaker",
    is_monitored=True,
    capture_bucket="captures",
)


def parameters(*entries: Any) -> dict[str, str]:
    """Return what Systems Manager has."""
    registry = RegistryEntry(group="demand-forecast", unit="demand", rule=ApprovalRule())
    found = {entry_name(entry): canonical_json(entry).decode() for entry in entries}
    return found | {registry_parameter(unit="demand", group="demand-forecast"): canonical_json(registry).decode()}
