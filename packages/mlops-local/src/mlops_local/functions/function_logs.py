"""Log groups of functions: a missing one is created only if the function's role may create it.

MiniStack creates it for any function, so a function that outlives its stack's log group would leave one behind.

See: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html
"""

from typing import Any

from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.services import cloudwatch_logs, lambda_svc

from mlops_local import compat

compat.expect(
    "ministack.services.lambda_svc",
    _emit_lambda_logs="(func, request_id, log_text, error, duration_ms, *, log_source=None)",
)
compat.expect("ministack.services.cloudwatch_logs", _log_groups=object)
compat.expect("ministack.core.iam_evaluator", _gather_role_policies="(role_name, account_id)")


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
