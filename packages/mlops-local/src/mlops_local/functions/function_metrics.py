"""Metrics of functions in ``AWS/Lambda``: invocations, errors and duration.

Only AWS's services write to namespaces that begin with ``AWS/``; log lines cannot. MiniStack counts calls of ``Invoke`` only, not
invocations by rules and queues.

See: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
"""

from typing import Any

from ministack.services import cloudwatch, lambda_svc

from mlops_local import clock, compat

compat.expect(
    "ministack.services.lambda_svc",
    _emit_lambda_logs="(func, request_id, log_text, error, duration_ms, *, log_source=None)",
    _emit_lambda_metrics="(function_name, duration_ms, error, throttle)",
)
compat.expect(
    "ministack.services.cloudwatch",
    _store_datum="(namespace, name, dims, ts, unit, value, values, counts, stat_values)",
)

NAMESPACE = "AWS/Lambda"


def install() -> None:
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
