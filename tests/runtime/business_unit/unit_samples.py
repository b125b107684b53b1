"""A unit in the midst of things, for tests of what is said of it."""

from datetime import UTC, datetime

from mlops_runtime.business_unit.unit_overview import EndpointOverview, Lock, PipelineOverview, UnitOverview
from mlops_runtime.contracts.rollout import AuditRecord, LivePointer, Outcome
from mlops_runtime.contracts.unit_entries import FreezeWindow, PauseState

NOW = datetime(2017, 8, 10, 12, tzinfo=UTC)
DEPLOY = "arn:aws:states:us-east-1:123456789012:execution:Deploy"
LIVE = LivePointer(
    endpoint="demand-forecast",
    config="demand-forecast-00000002",
    model="demand-forecast-00000002",
    model_package_arn="arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/2",
    model_sha256="b",
    artifact_uri="a",
    baseline_uri="b",
    baseline_sha256="8" * 64,
    evaluation_uri="e",
    training_set_id="t",
    spec_sha256="s",
    spec_uri="s3://a/specs/demand-forecast/one.json",
    execution="x",
    since="2017-08-08T11:00:00Z",
    artifact_sha256="a" * 64,
    container_sha256="c" * 64,
)
RECORD = AuditRecord(
    endpoint="demand-forecast", sequence=4, previous="0", outcome=Outcome.PROMOTED, reason="better", execution="x",
    at="2017-08-10T11:59:00Z", requested_by="ann",
)  # fmt: skip
ENDPOINT = EndpointOverview(
    endpoint="demand-forecast",
    state="Updating",
    live=LIVE,
    serving_config="demand-forecast-00000002",
    desired="s3://a/specs/demand-forecast/one.json",
    is_desired=True,
    running=(f"{DEPLOY}:approval-3", f"{DEPLOY}:spec-9"),
    lock=Lock(owner=f"{DEPLOY}:approval-3", until="2017-08-10T13:30:00Z", expired=False),
    probation_until="2017-08-10T12:30:00Z",
    last=RECORD,
    is_monitored=True,
)
PIPELINE = PipelineOverview(
    pipeline="demand-forecast",
    running=(),
    lock=None,
    last_started="2017-08-10T00:00:00Z",
    last_execution="x",
    day="2017-08-10",
    day_count=1,
    new_labels=310,
)
UNIT = UnitOverview(
    unit="demand",
    pause=PauseState(is_paused=True, by="ann", at="2017-08-10T10:00:00Z", reason="stocktaking"),
    frozen="frozen by 'peak' until 2017-09-01T00:00:00Z",
    next_freeze=FreezeWindow(
        name="winter", start=datetime(2017, 11, 20, tzinfo=UTC), end=datetime(2017, 12, 1, tzinfo=UTC)
    ),
    last=None,
    endpoints=(ENDPOINT,),
    pipelines=(PIPELINE,),
    owner="demand",
    cost_center="demand",
)
EMPTY = EndpointOverview(
    endpoint="demand-forecast",
    state="NOT_YET_DEPLOYED",
    live=None,
    serving_config=None,
    desired=None,
    is_desired=None,
    running=(),
    lock=None,
    probation_until=None,
    last=None,
    is_monitored=True,
)
