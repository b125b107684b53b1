"""Log groups and metrics of a function's invocations.

A missing log group is created only if the function's role may create it. MiniStack creates it for any function, so a function
that outlives its stack's log group would leave one behind.

Only AWS's services write to namespaces that begin with ``AWS/``; log lines cannot. MiniStack counts calls of ``Invoke`` only, not
invocations by rules and queues.

See: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html and
https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
"""

from typing import Any

from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.services import cloudwatch, cloudwatch_logs, lambda_svc

from mlops_local import clock

NAMESPACE = "AWS/Lambda"


def install() -> None:
    """Check the role before a function writes to a missing log group."""
    emit = lambda_svc._emit_lambda_logs

    def emit_where_allowed(function: dict[str, Any], *arguments: Any, **options: Any) -> None:
        config = function.get("config") or function
        group = (config.get("LoggingConfig") or {}).get("LogGroup")
        # claim: function-makes-log-group-only-where-allowed
        if group is None or group in cloudwatch_logs._log_groups or _may_make(str(config.get("Role", "")), group):
            emit(function, *arguments, **options)

    lambda_svc._emit_lambda_logs = emit_where_allowed
    _count_invocations()


def _may_make(role: str, group: str) -> bool:
    """Return whether a role may create a log group; a deleted role may not."""
    account, region = get_account_id(), get_region()
    question = iam_evaluator.EvalContext(
        principal_arn=role,
        principal_type="AssumedRole",
        principal_account=account,
        action="logs:CreateLogGroup",
        resource_arn=f"arn:aws:logs:{region}:{account}:log-group:{group}",
        region=region,
        source_ip="127.0.0.1",
        secure_transport=True,
    )
    policies = iam_evaluator._gather_role_policies(role.rpartition("/")[2], account)
    return bool(iam_evaluator.evaluate(question, policies).decision == "Allow")


def _count_invocations() -> None:
    """Count each invocation when it ends, for every kind of caller."""
    emit, throttled = lambda_svc._emit_lambda_logs, lambda_svc._emit_lambda_metrics

    def emit_throttled(function_name: str, duration_ms: float, error: bool, throttle: bool) -> None:
        if throttle:
            throttled(function_name, duration_ms, error, throttle)

    def emit_and_count(
        function: dict[str, Any], request_id: str, log_text: str, error: bool, duration_ms: int, **options: Any
    ) -> None:
        config = function.get("config") or function
        # claim: functions-publish-their-calls
        values = (
            ("Invocations", 1.0, "Count"),
            ("Errors", float(error), "Count"),
            ("Duration", float(duration_ms), ""),
        )
        for name, value, unit in values:
            dimensions = {"FunctionName": str(config.get("FunctionName"))}
            cloudwatch._store_datum(
                NAMESPACE, name, dimensions, clock.now(), unit or "Milliseconds", value, None, None, None
            )
        emit(function, request_id, log_text, error, duration_ms, **options)

    lambda_svc._emit_lambda_logs, lambda_svc._emit_lambda_metrics = emit_and_count, emit_throttled
