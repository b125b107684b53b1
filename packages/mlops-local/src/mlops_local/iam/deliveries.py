"""Permissions of deliveries between AWS services: queue, topic, function and key policies, target roles, dead letters.

The condition keys that the delivering service sends are in `mlops_local.iam.source_keys`.

Sources: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html,
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html and
https://docs.aws.amazon.com/scheduler/latest/UserGuide/setting-up.html#setting-up-execution-role
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from ministack.core import iam_evaluator
from ministack.core.arn import parse_arn
from ministack.core.responses import get_account_id, get_region
from ministack.services import eventbridge, kms, lambda_svc, sns, sqs

from mlops_local.iam import authorization, source_keys
from mlops_local.iam.request import Call, Check

EVENTS = "events.amazonaws.com"
SCHEDULER = "scheduler.amazonaws.com"
_log = logging.getLogger("mlops_local.iam.authorization")
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
    """Check permissions before deliveries; a denial is logged and, as in AWS, drops the event or sends it to the dead letters."""
    deliver, dispatch = eventbridge._invoke_target, eventbridge._dispatch_event

    def deliver_allowed(target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: Any = None) -> Any:
        source = rule.get("Arn", "")
        refusal = refuse(target, event, source_arn=source)
        if refusal is None:
            return deliver(target, event, rule, view)
        _log.warning("delivery to %s refused: %s", target.get("Arn"), refusal)
        _leave((target.get("DeadLetterConfig") or {}).get("Arn"), event, source_arn=source, view=view)
        return None

    def decrypting(event: dict[str, Any], view: Any = None) -> Any:
        bus = eventbridge._event_buses.get(event.get("EventBusName", "default")) or {}
        # events of AWS services are encrypted with an AWS-owned key
        refusal = None if event.get("Source", "").startswith("aws.") else _refuse_bus_key(bus)
        if refusal is None:
            return dispatch(event, view)
        _log.warning("event on %s not processed: %s", bus.get("Arn"), refusal)
        _leave((bus.get("DeadLetterConfig") or {}).get("Arn"), event, source_arn=bus["Arn"], view=view)
        return None

    eventbridge._invoke_target = deliver_allowed
    eventbridge._dispatch_event = decrypting
    sqs.queue_policy_allows = _admits
    sns.topic_policy_allows = _admits


def refuse(target: Mapping[str, Any], event: Mapping[str, Any], *, source_arn: str) -> str | None:
    """Return why a rule or schedule may not deliver to its target, or `None`.

    Args:
        target: The target, with `Arn` and, if the service uses a role, `RoleArn`.
        event: The event; events of EventBridge Scheduler have the source `aws.scheduler`.
        source_arn: ARN of the rule or schedule.
    """
    scheduler = event.get("Source") == "aws.scheduler"
    arn, role = str(target.get("Arn", "")), target.get("RoleArn")
    service = SCHEDULER if scheduler else EVENTS
    if role:
        source = _schedule_group(source_arn) if scheduler else source_arn
        try:
            session = authorization.assume(role, service=service, source_arn=source, name=service.partition(".")[0])
            kind = _service_of(arn)
            # conditions of a bus policy refer to the event
            body = (
                {"Entries": [{name: event.get(name, "") for name in ("Source", "DetailType")}]}
                if kind == "events"
                else {}
            )
            call = Call(kind, _ACTIONS.get(kind, ""), arn, get_region(), get_account_id(), body)
            authorization.require_call(session, call)
        except authorization.AccessDeniedError as error:
            return str(error)
        return None
    return refuse_delivery(service, source_arn=source_arn, target_arn=arn)


def refuse_delivery(service: str, *, source_arn: str, target_arn: str) -> str | None:
    """Return why a service principal may not deliver to a queue, topic or function, or `None`.

    Args:
        service: The delivering service principal, `cloudwatch.amazonaws.com`.
        source_arn: The resource on whose behalf it delivers: `aws:SourceArn` in the policies, if the service sends it.
    """
    kind = _service_of(target_arn)
    if kind in {"states", "events"}:
        return f"a target of {kind} needs a role"
    if kind not in {"sqs", "sns", "lambda"}:
        return None
    check = Check(_ACTIONS[kind], target_arn)
    if not _allows(_policy(kind, target_arn), check, service, source_arn):
        return f"no resource-based policy of {target_arn} allows {check.action} to {service} for {source_arn}"
    for check in authorization.delivery_checks(target_arn, region=get_region(), account=get_account_id()):
        policy = kms.key_policy_for_arn(check.resource)
        if policy is None or not _allows(policy[0], check, service, source_arn, target=kind):
            return f"no key policy of {check.resource} allows {check.action} to {service} for {source_arn}"
    return None


def _leave(queue: str | None, event: dict[str, Any], *, source_arn: str, view: Any) -> None:
    """Send an undeliverable event to the dead letters, if EventBridge may."""
    if not queue:
        return
    # claim: dead-letters-need-a-policy-too
    refusal = refuse_delivery(EVENTS, source_arn=source_arn, target_arn=queue)
    if refusal is not None:
        _log.warning("dead letter to %s refused: %s", queue, refusal)
        return
    body = (view or eventbridge._pattern_event_view(event)).event_with_detail()
    eventbridge._dispatch_to_sqs(parse_arn(queue), json.dumps(body))


def _refuse_bus_key(bus: Mapping[str, Any]) -> str | None:
    # claim: bus-without-its-key-uses-dead-letters
    key = bus.get("KmsKeyIdentifier")
    arn = authorization.key_arn(key) if key else None
    if arn is None:
        return None if not key or kms._resolve_key(key) else f"there is no key {key}"
    if (kms._resolve_key(arn) or {}).get("KeyState") != "Enabled":
        return f"key {arn} is not enabled"
    for check in authorization.bus_checks(bus["Arn"], arn, region=get_region(), account=get_account_id()):
        policy = kms.key_policy_for_arn(arn)
        if policy is None or not _allows(policy[0], check, EVENTS, bus["Arn"], target="events"):
            return f"no key policy of {arn} allows {check.action} to {EVENTS} for {bus['Arn']}"
    return None


def _admits(target_arn: str, service: str, source_arn: str, source_account: str) -> bool:
    """Replaces MiniStack's check of a queue or topic before SNS or S3 delivers."""
    refusal = refuse_delivery(service, source_arn=source_arn, target_arn=target_arn)
    if refusal is not None:
        _log.warning("delivery of %s refused: %s", source_account, refusal)
    return refusal is None


def _policy(kind: str, arn: str) -> Any:
    if kind == "sqs":
        return (sqs._queue_by_arn(arn) or {"attributes": {}})["attributes"].get("Policy")
    found = sns.topic_policy_for_arn(arn) if kind == "sns" else lambda_svc.function_policy_for_arn(arn)
    return None if found is None else found[0]


def _allows(policy: Any, check: Check, service: str, source_arn: str, target: str = "") -> bool:
    sent = source_keys.sent(service, check.action, target, source_arn=source_arn, account=get_account_id())
    question = iam_evaluator.EvalContext(
        principal_arn="*", principal_type="Service", principal_account="", action=check.action,
        resource_arn=check.resource, region=get_region(),
        service_context={**{key.lower(): value for key, value in check.context.items()}, **sent},
    )  # fmt: skip
    return bool(policy) and bool(
        iam_evaluator.evaluate_resource_policy(policy, question, service=service).decision == "Allow"
    )


def _schedule_group(schedule_arn: str) -> str:
    # claim: scheduler-sends-the-schedule-group
    prefix, _, resource = schedule_arn.rpartition(":")
    return f"{prefix}:schedule-group/{resource.split('/')[1]}" if resource.startswith("schedule/") else schedule_arn


def _service_of(arn: str) -> str:
    parts = arn.split(":")
    return parts[2] if len(parts) > 5 else ""
