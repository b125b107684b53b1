"""A running canary, for tests of its status."""

from dataclasses import replace
from datetime import UTC, datetime

from mlops_runtime.contracts.rollout import RolloutVerdict
from mlops_runtime.rollout.rollout_progress import Phase, RolloutProgress

NOW = datetime(2017, 8, 10, 12, tzinfo=UTC)
VERDICT = RolloutVerdict(
    action="continue",
    calls=12,
    evidence=0.8,
    minutes=3,
    sentence="after 3 minutes: 1 of 13 answers failed against 0 of 11 of the live model",
    minutes_uri="s3://artifacts/verdicts/demand-forecast/c.json",
    minutes_sha256="0" * 64,
)
STARTING = RolloutProgress(
    execution="arn:aws:states:us-east-1:123456789012:execution:Deploy:approval-3",
    phase=Phase.STARTING,
    since="2017-08-10T11:50:00Z",
    request_reason="approval",
    planned="approved: version 3",
    steps=2,
    bakes=(600, 600),
    at_least=1200,
    needed=20,
    is_watched=True,
)
BAKING = replace(
    STARTING,
    phase=Phase.BAKING,
    since="2017-08-10T11:56:30Z",
    step=1,
    percent=50.0,
    until="2017-08-10T12:06:30Z",
    at_least=990,
    at_most=3100,
    verdict=VERDICT,
)
REPLAY = "mlops traffic replay demand-forecast FILE --time COLUMN --now"
