"""Plan of a model's monitors, upload of labels, and a window as a page, a verdict and a replay."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from mlops_runtime.contracts.monitor import Condition, Facet
from mlops_runtime.contracts.retraining import EvaluationPlan
from mlops_runtime.contracts.rollout import LockRow, taken_back
from mlops_runtime.monitor.archive import Archive
from mlops_runtime.monitor.monitors.drift.replay import ReplayedWindow, replay
from mlops_runtime.monitor.page.window_page import page
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import Window

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# [start:plan]
PLAN = EvaluationPlan(
    label="returned",
    block="store_id",
    baselines=("base_rate",),
    metric="log_loss",
    timestamp="event_timestamp",
    cluster="household_id",  # rows of one household are correlated
    segments=("store_id",),
    conditions=(
        Condition(name="planned_discount", edges=(0.05, 0.2)),  # announced before the calls
        Condition(name="hour", kind="hour_of_week"),
    ),
    pairs=(("price", "planned_discount"),),
    identifiers=("receipt_id",),
    facets=(Facet(name="age_group", values=("65+",)),),
    attribution_rows=500,
)
# [end:plan]


# [start:labels]
def upload_labels(
    s3: "S3Client", labels: Mapping[str, Sequence[float]], *, endpoint: str, captures: str, name: str, now: datetime
) -> None:
    """Upload labels: for the inference id of a call, a label for each of its rows, in their order."""
    lines = [
        json.dumps(
            {
                "groundTruthData": {"data": "\n".join(map(str, values)), "encoding": "CSV"},
                "eventMetadata": {"eventId": inference_id},
                "eventVersion": "0",
            }
        )
        for inference_id, values in labels.items()
    ]
    key = f"labels/{endpoint}/{now:%Y/%m/%d/%H}/{name}.jsonl"  # the hour of the upload, in UTC
    s3.put_object(Bucket=captures, Key=key, Body="\n".join(lines).encode())


# [end:labels]


# [start:page]
def newest_page(s3: "S3Client", *, endpoint: str, artifacts: str, now: datetime) -> str:
    """Return the newest window of an endpoint's monitor as an HTML page."""
    archive = Archive(s3, endpoint=endpoint, artifacts=artifacts)
    (report,) = archive.newest(now)
    kept = archive.kept(report)
    earlier = archive.history(report, most=29)
    return page(report, baseline=kept.baseline, counts=kept.counts, history=earlier)


# [end:page]


# [start:replay]
def would_have_alarmed(
    s3: "S3Client", row: LockRow, spec: MonitorSpec, *, endpoint: str, artifacts: str, now: datetime
) -> Sequence[ReplayedWindow]:
    """Repeat the decisions of the last four weeks, day by day, with other thresholds."""
    archive = Archive(s3, endpoint=endpoint, artifacts=artifacts)
    (report,) = archive.newest(now)
    baseline = archive.kept(report).baseline
    if baseline is None:
        raise ValueError("the baseline cannot be used")
    end = datetime.fromisoformat(report.window_until)
    span = Window(end - timedelta(weeks=4), end)
    # exclude calls of rollouts that were rolled back; the rollout table's row has their times
    hourly = archive.hourly(report.variant, span.extended(spec.merge_hours), baseline, aside=taken_back(row))
    live = None if report.live_since is None else datetime.fromisoformat(report.live_since)
    return replay(
        baseline,
        hourly.parts,
        spec,
        window_hours=24,
        every_hours=24,
        start=span.start,
        end=span.end,
        live_since=live,
    )


# [end:replay]
