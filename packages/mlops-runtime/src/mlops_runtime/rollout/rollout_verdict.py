"""Adapter of the verdict: reads both fleets' metrics, stores them, and sets the alarm that stops the rollout.

Stateless: each call evaluates all minutes since the first step again, so that late data are included.
"""

import hashlib
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mlops_runtime.contracts import canonical_json, to_dict
from mlops_runtime.contracts.rollout import RolloutVerdict
from mlops_runtime.refused_calls import Tolerated
from mlops_runtime.rollout.evidence_requests import VerdictRequest
from mlops_runtime.rollout.fleet_alarms import (
    ABORT_NAMESPACE,
    VERDICT,
    VERDICT_METRIC,
    VERDICTS,
    fleet_stem,
    verdict_dimensions,
)
from mlops_runtime.rollout.fleet_minutes import FleetMinutes, MinuteReader
from mlops_runtime.rollout.live_failures import is_broken
from mlops_runtime.rollout.live_history import Counts, total
from mlops_runtime.rollout.probation_share import ShareRequest, read_share
from mlops_runtime.rollout.verdict import Action, Compared, Verdict, error_rule, judge, slow_rule

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_s3 import S3Client

# maximum length of an alarm's state reason
_REASON = 1023
_PERCENTILES = (99.0, 50.0)
NOT_COMPARED = "; slow answers were not compared, as the live model had no calls before"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictFunction:
    """Implementation of the function ``rollout_verdict``."""

    cloudwatch: "CloudWatchClient"
    s3: "S3Client"
    bucket: str  # bucket in which the compared minutes are stored

    def share(self, request: ShareRequest, *, now: datetime) -> dict[str, float | None]:
        """Return the model's allowed failing share during its probation, to merge into the verdict of its record."""
        return {"allowed_share": read_share(self.cloudwatch, request, now=now)}

    def answer(self, request: VerdictRequest, *, now: datetime) -> RolloutVerdict:
        """Return the verdict on all minutes; a verdict to stop sets the fleet's alarm to ALARM.

        Args:
            request: The fleets and the tolerance.
            now: Current time of the cloud.
        """
        since = datetime.fromisoformat(request.since)
        reader = MinuteReader(
            cloudwatch=self.cloudwatch,
            new=request.new,
            old=request.old,
            since=since,
            now=now,
            not_before=None if request.not_before is None else datetime.fromisoformat(request.not_before),
            most_share=request.most_share,
            before=request.before,
        )
        errors = _errors(request, reader)
        compared = [errors, *(() if is_broken(_live(errors)) else _slow(request, reader))]
        is_unknown = request.max_latency_ratio is not None and len(compared) == 1
        found = judge(errors, compared[1:], left_out_note=left_out_note(errors) if is_unknown else "")
        # the rollout stops even if the minutes cannot be stored
        if found.action is Action.STOP and request.has_alarm:
            self._stop(request, found, now)
        uri, digest = self._keep(request, compared, found, now)
        return RolloutVerdict(
            action=found.action.value,
            calls=found.calls,
            evidence=found.evidence,
            minutes=found.minutes,
            sentence=found.sentence,
            minutes_uri=uri,
            minutes_sha256=digest,
            planned=request.planned,
        )

    def _keep(
        self, request: VerdictRequest, compared: list[Compared], found: Verdict, now: datetime
    ) -> tuple[str, str]:
        """Store the compared minutes, so that the verdict can be computed again; return their URI and hash."""
        key = f"{VERDICTS}/{request.endpoint}/{request.fleet}.json"
        document = {
            "format": "mlops.verdict/1",
            "at": now.isoformat(),
            "request": to_dict(request),
            "compared": [asdict(each) for each in compared],
            "verdict": asdict(found),
        }
        body = canonical_json(document)
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body, ContentType="application/json")
        return f"s3://{self.bucket}/{key}", hashlib.sha256(body).hexdigest()

    def _stop(self, request: VerdictRequest, found: Verdict, now: datetime) -> None:
        """Set the alarm, and publish the metric value that keeps it in ALARM at its next evaluations.

        SetAlarmState acts within seconds, but "the alarm returns to its actual state" at its next evaluation.

        See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_SetAlarmState.html
        """
        # claim: verdict-alarm-stays-in-alarm
        dimensions = verdict_dimensions(request.endpoint, request.fleet)
        value: Any = {"MetricName": VERDICT_METRIC, "Dimensions": dimensions, "Value": 1.0, "Timestamp": now}
        self.cloudwatch.put_metric_data(Namespace=ABORT_NAMESPACE, MetricData=[value])
        name = f"{fleet_stem(request.endpoint, request.fleet)}{VERDICT}"
        # deleted by hand: the returned verdict still lets the machine stop the rollout itself
        with Tolerated("ResourceNotFound"):
            self.cloudwatch.set_alarm_state(
                AlarmName=name, StateValue="ALARM", StateReason=f"stopped {found.sentence}"[:_REASON]
            )


def left_out_note(errors: Compared) -> str:
    """Return why slow responses were not compared although the request has a latency limit.

    Args:
        errors: Failed responses of both fleets, including the live model's before the rollout.
    """
    live = _live(errors)
    if not is_broken(live):
        return NOT_COMPARED
    return f"; latency was not compared, as {live.failed:,} of {live.calls:,} answers of the live model failed"


def _live(errors: Compared) -> Counts:
    return total(errors.history) + errors.old


def _errors(request: VerdictRequest, reader: MinuteReader) -> Compared:
    rule = error_rule(
        false_alarm=request.false_alarm,
        extra=request.tolerated,
        is_latency_compared=request.max_latency_ratio is not None,
    )
    found = reader.failed()
    alone_from = 1 if request.is_alone else found.alone_from
    return Compared(minutes=found.minutes, history=found.history, rule=rule, alone_from=alone_from)


def _slow(request: VerdictRequest, reader: MinuteReader) -> list[Compared]:
    ratio = request.max_latency_ratio
    if ratio is None:
        return []
    limits = reader.limits(_PERCENTILES)
    rule = slow_rule(false_alarm=request.false_alarm, limits=len(_PERCENTILES))
    found = []
    for limit in limits:
        slow: FleetMinutes = reader.slower(ratio * limit, limit)
        new, old = (f"{each * reader.old.milliseconds:.3g} ms" for each in (ratio * limit, limit))
        found.append(
            Compared(
                minutes=slow.minutes,
                history=slow.history,
                rule=rule,
                did=f"took longer than {new}",
                old_did=f" longer than {old}",
                alone_from=1 if request.is_alone else slow.alone_from,
            )
        )
    return found
