"""What one AWS service may deliver to another: queue, topic, function and key policies, and target roles.

Sources: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html and
https://docs.aws.amazon.com/scheduler/latest/UserGuide/setting-up.html#setting-up-execution-role
"""

from __future__ import annotations

import logging
from typing import Any

from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.services import eventbridge, kms, lambda_svc, sns, sqs

from mlops_local import compat, iam, iam_encryption
from mlops_local.iam_request import Call, Check

compat.expect(
    "ministack.services.eventbridge",
    _invoke_target="(target, event, rule, view=None)",
)
compat.expect(
    "ministack.core.iam_evaluator",
    EvalContext=type,
    evaluate_resource_policy="(doc, ctx, service=None, named_only=False, direct_only=False)",
)
compat.expect(
    "ministack.services.kms",
    key_policy_for_arn="(resource_arn)",
)
compat.expect(
    "ministack.services.lambda_svc",
    function_policy_for_arn="(resource_arn)",
)
compat.expect(
    "ministack.services.sns",
    topic_policy_allows="(topic_arn, service, source_arn, source_account)",
)
compat.expect(
    "ministack.services.sqs",
    queue_policy_allows="(queue_arn, service, source_arn, source_account)",
)


_log = logging.getLogger("mlops_local.iam")
_ACTIONS = {
    "sqs": "sqs:SendMessage",
    "sns": "sns:Publish",
    "lambda": "lambda:InvokeFunction",
    "states": "states:StartExecution",
    "events": "events:PutEvents",
    "sagemaker": "sagemaker:StartPipelineExecution",
}


# claim: rules-need-the-targets-policy
def install() -> None:
    """Ask before EventBridge and Scheduler deliver to a target; a refusal is logged and, as on AWS, drops the delivery."""
    deliver = eventbridge._invoke_target

    def asking(target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: Any = None) -> Any:
        refusal = refuse(target, source_arn=rule.get("Arn", ""), scheduler=event.get("Source") == "aws.scheduler")
        if refusal is not None:
            _log.warning("delivery to %s refused: %s", target.get("Arn"), refusal)
            dead_letters = (target.get("DeadLetterConfig") or {}).get("Arn")
            if not dead_letters:
                return None
            target = {"Arn": dead_letters, "Input": target.get("Input")}
        return deliver(target, event, rule, view)

    eventbridge._invoke_target = asking


def refuse(target: dict[str, Any], *, source_arn: str, scheduler: bool = False) -> str | None:
    """Say why a rule or schedule may not deliver to its target, or `None`.

    Args:
        target: The target, with `Arn` and, where the service acts by role, `RoleArn`.
        source_arn: The rule or schedule.
        scheduler: Whether EventBridge Scheduler delivers. Default: EventBridge.
    """
    arn, role = str(target.get("Arn", "")), target.get("RoleArn")
    service = "scheduler.amazonaws.com" if scheduler else "events.amazonaws.com"
    if role:
        try:
            session = iam.assume(role, service=service, source_arn=source_arn, name=service.partition(".")[0])
            action = _ACTIONS.get(_service_of(arn), "")
            iam.require_call(session, Call(_service_of(arn), action, arn, get_region(), get_account_id()))
        except iam.AccessDeniedError as error:
            return str(error)
        return None
    return refuse_delivery(service, source_arn=source_arn, target_arn=arn)


def refuse_delivery(service: str, *, source_arn: str, target_arn: str) -> str | None:
    """Say why a service principal may not deliver to a queue, topic or function, or `None`.

    Args:
        service: The delivering service principal, `cloudwatch.amazonaws.com`.
        source_arn: What it delivers for, `aws:SourceArn` in the policies.
        target_arn: The target.
    """
    kind, account = _service_of(target_arn), get_account_id()
    allowed = True
    if kind == "sqs":
        allowed = sqs.queue_policy_allows(target_arn, service, source_arn, account)
    elif kind == "sns":
        allowed = sns.topic_policy_allows(target_arn, service, source_arn, account)
    elif kind == "lambda":
        policy = lambda_svc.function_policy_for_arn(target_arn)
        allowed = policy is not None and _allows(policy[0], Check(_ACTIONS[kind], target_arn), service, source_arn)
    elif kind in {"states", "events"}:
        return f"a target of {kind} needs a role"
    if not allowed:
        return f"no resource-based policy of {target_arn} allows {_ACTIONS[kind]} to {service} for {source_arn}"
    return _refuse_key(service, source_arn, target_arn) if kind in {"sqs", "sns"} else None


def _refuse_key(service: str, source_arn: str, target_arn: str) -> str | None:
    for check in iam_encryption.delivery_checks(target_arn, region=get_region(), account=get_account_id()):
        policy = kms.key_policy_for_arn(check.resource)
        if policy is None or not _allows(policy[0], check, service, source_arn):
            return f"no key policy of {check.resource} allows {check.action} to {service} for {source_arn}"
    return None


def _allows(policy: Any, check: Check, service: str, source_arn: str) -> bool:
    question = iam_evaluator.EvalContext(
        principal_arn=f"service:{service}", principal_type="Service", principal_account="", action=check.action,
        resource_arn=check.resource, region=get_region(),
        service_context={
            **{key.lower(): value for key, value in check.context.items()},
            "aws:sourcearn": source_arn, "aws:sourceaccount": get_account_id(),
        },
    )  # fmt: skip
    return bool(iam_evaluator.evaluate_resource_policy(policy, question, service=service).decision == "Allow")


def _service_of(arn: str) -> str:
    parts = arn.split(":")
    return parts[2] if len(parts) > 5 else ""
