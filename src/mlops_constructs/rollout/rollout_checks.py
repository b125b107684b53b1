"""``RolloutChecks``: alarms, golden requests, shadow traffic and probation of a rollout."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3_assets as s3_assets

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._functions import define_function
from mlops_constructs._roles import alarm_arn, allow, allow_metrics, key_statement, sagemaker_arn
from mlops_constructs._stack_values import stack_of
from mlops_constructs._validation import ValidationError, check_duration, check_range, raise_problems
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.capture import announcement_prefix
from mlops_runtime.contracts.serving import GoldenSpec, MetricRule, ShadowSpec, ToleranceSpec
from mlops_runtime.rollout.fleet_alarms import ABORT_NAMESPACE, VERDICT, VERDICTS
from mlops_runtime.rollout.golden_set import GoldenSetError, read_set
from mlops_runtime.rollout.rehearsed_answers import REHEARSALS

_WILDCARD_REASON = (
    "the temporary endpoint of a candidate gets its name at run time, prefixed by the endpoint's name; "
    "rejected: one fixed name, which two rollouts would share"
)

_VERDICT_REASON = (
    "metrics have no resource type, alarms of new fleets get names at run time, and each rollout stores its own minutes; "
    "rejected: one alarm for all rollouts of an endpoint, which an earlier rollout could leave in ALARM"
)

# alarm periods in seconds that are possible with metrics of AWS services
_ALARM_PERIODS = (60, 120, 180, 240, 300)
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_AutoRollbackConfig.html
MAXIMUM_ALARMS = 10


@checked("InvalidGoldenRequests")
@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRequests:
    """Requests that a candidate must answer correctly on a temporary endpoint before the rollout. Use ``from_file``.

    Example:
        >>> golden = GoldenRequests.from_file("golden.jsonl", max_deviation=0.5, max_latency=cdk.Duration.millis(250))
    """

    path: Path
    sha256: str
    max_deviation: float | None = None
    max_latency: cdk.Duration | None = None
    max_slowdown: float | None = None
    max_row_deviation: float | None = None

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        *,
        max_deviation: float | None = None,
        max_latency: cdk.Duration | None = None,
        max_slowdown: float | None = None,
        max_row_deviation: float | None = None,
    ) -> "GoldenRequests":
        """Read a JSON Lines file, each line with ``name``, ``body``, ``rows`` and optionally ``content_type`` and bounds.

        Args:
            path: Path of the file, which is deployed as an asset.
            max_deviation: Maximum of the median relative difference from the live model's predictions, such as 0.5. Default: no
                comparison with the live model.
            max_latency: Maximum latency of a call, by the median of five rounds, at most a minute. Default: no limit.
            max_slowdown: Maximum ratio of that latency to the live model's for the same call, 1 to 1000. Default: no limit.
            max_row_deviation: Maximum relative difference from the live model's prediction for each row of the request
                ``categories``, and so for each category, such as 0.9, which detects a category at zero or at five times its level.
                Where the live model predicts less than half of its median, that half is the reference. Default: no limit.

        Raises:
            ValidationError: If the file or a limit is invalid; lists every problem, those of the file by line.

        Example:
            >>> GoldenRequests.from_file("golden.jsonl").max_deviation is None
            True
        """
        millis, seconds = cdk.Duration.millis, cdk.Duration.seconds
        problems = [
            check_range("max_deviation", max_deviation, minimum=0, maximum=100),
            # https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html: 60 seconds for an answer
            check_duration("max_latency", max_latency, minimum=millis(1), maximum=seconds(60), whole="milliseconds"),
            check_range("max_slowdown", max_slowdown, minimum=1, maximum=1000),
            check_range("max_row_deviation", max_row_deviation, minimum=0, maximum=100),
        ]
        found = [problem for problem in problems if problem is not None]
        file, content = Path(path), b""
        try:
            content = file.read_bytes()
            read_set(content)
        except OSError as error:
            found.append(f"path must be a readable file, got {str(path)!r}: {error.strerror}")
        except GoldenSetError as error:
            found += [f"{file.name}: {problem}" for problem in error.problems]
        if found:
            raise ValidationError("InvalidGoldenRequests", found)
        return cls(
            path=file,
            sha256=hashlib.sha256(content).hexdigest(),
            max_deviation=max_deviation,
            max_latency=max_latency,
            max_slowdown=max_slowdown,
            max_row_deviation=max_row_deviation,
        )

    def bind(self, scope: Construct) -> GoldenSpec:
        """Define the file as an asset and convert to the form stored in the serving spec; the hash is known at synthesis.

        Args:
            scope: Parent of the asset ``GoldenSet``.
        """
        asset = s3_assets.Asset(
            scope,
            "GoldenSet",
            path=str(self.path),
            asset_hash=self.sha256,
            asset_hash_type=cdk.AssetHashType.CUSTOM,
        )
        return GoldenSpec(
            uri=asset.s3_object_url,
            sha256=self.sha256,
            max_deviation=self.max_deviation,
            max_latency_ms=None if self.max_latency is None else int(self.max_latency.to_milliseconds()),
            max_slowdown=self.max_slowdown,
            max_row_deviation=self.max_row_deviation,
        )


def define_golden(
    scope: Construct,
    id: str,
    *,
    business_unit: IBusinessUnit,
    endpoint_name: str,
    golden: GoldenSpec,
    slot_urls: Mapping[str, str] | None = None,
) -> lambda_.Function:
    """Define the function that sends golden requests to temporary endpoints and the live model, and as synthetic traffic.

    Args:
        scope: Parent construct.
        id: Construct id.
        business_unit: Owning business unit.
        endpoint_name: Name of the endpoint; temporary endpoints are ``<endpoint_name>-golden-*``.
        golden: Result of ``GoldenRequests.bind``.
        slot_urls: URLs of a service's slots. Default: SageMaker serves.
    """
    stack = stack_of(scope)
    invoke = allow(
        "sagemaker:InvokeEndpoint",
        sagemaker_arn(scope, "endpoint", endpoint_name),
        sagemaker_arn(scope, "endpoint", f"{endpoint_name}-golden-*"),
    )
    slots = {} if slot_urls is None else {"SLOT_URLS": stack.to_json_string(dict(slot_urls))}
    return define_function(
        scope,
        id,
        business_unit=business_unit,
        folder="rollout_golden",
        description=f"Golden requests to candidates of {endpoint_name}",
        environment={"ARTIFACTS_BUCKET": business_unit.artifacts.bucket_name, **slots},
        statements=[
            # requests to slots go through their load balancer
            *([invoke] if slot_urls is None else []),
            # announcements of the calls, by which monitors exclude them
            allow("s3:PutObject", business_unit.artifacts.arn_for_objects(f"{announcement_prefix(endpoint_name)}*")),
            # predictions of a candidate before it had traffic
            allow(
                ["s3:GetObject", "s3:PutObject"],
                business_unit.artifacts.arn_for_objects(f"{REHEARSALS}/{endpoint_name}/*"),
            ),
            key_statement(business_unit.key, services=["s3"]),
            # the bootstrap bucket; if it has its own key, the key's policy allows its use through S3
            # https://docs.aws.amazon.com/cdk/v2/guide/bootstrapping-customizing.html
            # the URI is a token
            allow("s3:GetObject", f"arn:{stack.partition}:s3:::{cdk.Fn.select(1, cdk.Fn.split('s3://', golden.uri))}"),
        ],
        timeout=cdk.Duration.minutes(15),
        wildcard_reason=_WILDCARD_REASON,
    )


def define_verdict(scope: Construct, id: str, *, business_unit: IBusinessUnit, endpoint_name: str) -> lambda_.Function:
    """Define the function that compares a rollout's new fleet with the old one, and sets the alarm that stops the rollout.

    Args:
        scope: Parent construct.
        id: Construct id.
        business_unit: Owning business unit.
    """
    kept = business_unit.artifacts.arn_for_objects(f"{VERDICTS}/{endpoint_name}/*")
    return define_function(
        scope,
        id,
        business_unit=business_unit,
        folder="rollout_verdict",
        description=f"Compares new fleets of {endpoint_name} with the old one",
        environment={"ARTIFACTS_BUCKET": business_unit.artifacts.bucket_name},
        statements=[
            allow("cloudwatch:GetMetricData", "*"),
            allow_metrics(ABORT_NAMESPACE),
            allow("cloudwatch:SetAlarmState", alarm_arn(scope, f"{endpoint_name}-rollout-*-{VERDICT}")),
            allow("s3:PutObject", kept),
            key_statement(business_unit.key, services=["s3"], actions=["kms:GenerateDataKey"]),
        ],
        timeout=cdk.Duration.seconds(30),
        wildcard_reason=_VERDICT_REASON,
    )


@checked("InvalidTolerance")
@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """Tolerance within which a shadow's prediction counts as equal to the live model's: ``absolute + relative * |live|``.

    Args:
        relative: Allowed difference as a fraction of the live model's value, at most 10. Default: 0.
        absolute: Allowed absolute difference, in addition. Default: 0.
        max_changed: Maximum share of requests with a different prediction, 0.001 to 0.9. Default: 0.05.

    Raises:
        ValidationError: If a value is out of range.

    Example:
        >>> Tolerance(relative=0.1).max_changed
        0.05
    """

    relative: float = 0.0
    absolute: float = 0.0
    max_changed: float = 0.05

    def __post_init__(self) -> None:
        problems = [
            check_range("relative", self.relative, minimum=0, maximum=10),
            check_range("absolute", self.absolute, minimum=0, maximum=1e12),
            check_range("max_changed", self.max_changed, minimum=0.001, maximum=0.9),
        ]
        raise_problems("InvalidTolerance", problems)

    def to_spec(self) -> ToleranceSpec:
        """Convert to the form stored in the serving spec."""
        return ToleranceSpec(relative=self.relative, absolute=self.absolute, max_changed=self.max_changed)


@checked("InvalidShadowTraffic")
@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowTraffic:
    """Shadow variant with the candidate before the first step: it receives copies of calls, and its responses are discarded.

    Args:
        percent: Share of calls that are copied, 1 to 100 percent.
        bake: Duration of the shadow, five minutes to a week.
        instance_count: Number of instances of the shadow. Default: 1.
        tolerance: Tolerance for comparing captured responses of shadow and live model to the same requests; requires data capture
            of the endpoint. Default: responses are not compared.

    Raises:
        ValidationError: If a value is out of range.

    Example:
        >>> import aws_cdk as cdk
        >>> ShadowTraffic(percent=10, bake=cdk.Duration.hours(1)).instance_count
        1
    """

    percent: int
    bake: cdk.Duration
    instance_count: int = 1
    tolerance: Tolerance | None = None

    def __post_init__(self) -> None:
        problems = [
            check_range("percent", self.percent, minimum=1, maximum=100),
            check_range("instance_count", self.instance_count, minimum=1, maximum=1000),
            check_duration("bake", self.bake, minimum=cdk.Duration.minutes(5), maximum=cdk.Duration.days(7)),
        ]
        raise_problems("InvalidShadowTraffic", problems)

    def to_spec(self) -> ShadowSpec:
        """Convert to the form stored in the serving spec."""
        return ShadowSpec(
            percent=self.percent,
            bake=int(self.bake.to_seconds(integral=False)),
            instance_count=self.instance_count,
            tolerance=None if self.tolerance is None else self.tolerance.to_spec(),
        )


@checked("InvalidRolloutChecks")
@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutChecks:
    """Conditions that roll back a rollout, evidence that a promotion requires, and probation afterwards.

    Args:
        alarms: Alarms that roll back, in addition to those of the new fleet. Default: none.
        min_invocations: Number of calls that the new fleet must serve before its promotion. Default: 20, or none if all at once.
        tolerated_error_share: Share of failed calls, in addition to the live model's, that never stops a rollout. Default: 0.0005.
        false_alarm: Maximum probability of stopping an acceptable candidate, up to 0.05. Default: 0.01.
        max_error_count: Maximum number of errors of the new fleet per alarm period, regardless of the old fleet's. Default: no
            absolute limit.
        max_latency: 95th percentile of the new fleet's model latency above which, in three of five alarm periods, the rollout is
            rolled back. Default: not watched.
        max_latency_ratio: Maximum ratio of the new fleet's latency to the old one's, by the 99th percentile and the median of the
            previous hours. Default: not compared.
        metrics: Rules on the unit's own metrics that roll back. Default: none.
        alarm_period: Period of the new fleet's alarms, one to five minutes. Default: one minute.
        golden: Requests that a candidate must answer correctly before it gets traffic. Default: none.
        synthetic_invocations: Number of golden requests per minute that are sent during the bake to add to sparse traffic; requires
            ``golden``. Default: none.
        probation: Time after a promotion in which alarms still roll back, ten minutes to 30 days. Default: no probation.
        probation_alarms: Alarms that roll back during probation, in addition to the endpoint's own on errors. Default: none.
        shadow: Shadow traffic before the first step. Default: none.
        retained_versions: Number of versions kept for rollbacks, 1 to 10. Default: 1.

    Raises:
        ValidationError: If settings are out of range or conflict; lists every problem.

    Example:
        >>> RolloutChecks(max_latency_ratio=1.5).own_alarms
        ('verdict', 'dead', 'abort')
    """

    alarms: Sequence[cloudwatch.IAlarm] = ()
    min_invocations: int | None = None
    tolerated_error_share: float | None = None
    false_alarm: float | None = None
    max_error_count: int | None = None
    max_latency: cdk.Duration | None = None
    max_latency_ratio: float | None = None
    metrics: Sequence[MetricRule] = ()
    alarm_period: cdk.Duration = field(default_factory=lambda: cdk.Duration.minutes(1))
    golden: GoldenRequests | None = None
    synthetic_invocations: int | None = None
    probation: cdk.Duration | None = None
    probation_alarms: Sequence[cloudwatch.IAlarm] = ()
    shadow: ShadowTraffic | None = None
    retained_versions: int = 1

    def __post_init__(self) -> None:
        raise_problems("InvalidRolloutChecks", (*self._range_problems(), *self._combination_problems()))

    @property
    def own_alarms(self) -> tuple[str, ...]:
        """Name suffixes of the alarms that a rollout creates for the new fleet."""
        return (
            "verdict",
            "dead",
            *(() if self.max_error_count is None else ("errors",)),
            *(() if self.max_latency is None else ("latency",)),
            *(f"metric-{number}" for number in range(1, len(self.metrics) + 1)),
            "abort",
        )

    def _range_problems(self) -> list[str | None]:
        minutes, days, millis = cdk.Duration.minutes, cdk.Duration.days, cdk.Duration.millis
        period = int(self.alarm_period.to_seconds(integral=False))
        return [
            check_range("min_invocations", self.min_invocations, minimum=0, maximum=1_000_000),
            check_range("tolerated_error_share", self.tolerated_error_share, minimum=0, maximum=1),
            check_range("false_alarm", self.false_alarm, minimum=0.0001, maximum=0.05),
            check_range("max_error_count", self.max_error_count, minimum=0, maximum=1_000_000),
            check_duration(
                "max_latency",
                self.max_latency,
                minimum=millis(1),
                maximum=cdk.Duration.seconds(60),
                whole="milliseconds",
            ),
            check_range("max_latency_ratio", self.max_latency_ratio, minimum=1, maximum=100),
            check_range("synthetic_invocations", self.synthetic_invocations, minimum=1, maximum=600),
            check_duration("probation", self.probation, minimum=minutes(10), maximum=days(30)),
            check_range("retained_versions", self.retained_versions, minimum=1, maximum=10),
            None if period in _ALARM_PERIODS else f"alarm_period must be one to five whole minutes, got {period} s",
        ]

    def _combination_problems(self) -> list[str | None]:
        count, own = len(self.alarms) + len(self.own_alarms), ", ".join(self.own_alarms)
        return [
            None
            if count <= MAXIMUM_ALARMS
            else f"SageMaker watches at most {MAXIMUM_ALARMS} alarms, got {len(self.alarms)} and {len(self.own_alarms)} of the "
            f"new fleet ({own}); combine some in a composite alarm",
            "synthetic_invocations requires golden requests, got none; give golden, or leave synthetic_invocations out"
            if self.synthetic_invocations is not None and self.golden is None
            else None,
            f"probation_alarms requires probation, got {len(self.probation_alarms)} alarms and no probation; give probation"
            if self.probation_alarms and self.probation is None
            else None,
        ]
