"""Event buses across accounts and Regions: bus policies, PutEvents, rule targets with at most one hop, and the quotas of rules.

See: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cross-account.html
"""

import contextvars
import json
import logging
import re
from collections.abc import Mapping
from typing import Any

from ministack.core.responses import error_response_json, get_account_id, get_region
from ministack.services import eventbridge
from ministack.services.cloudformation import provisioners

from mlops_local.iam import owner_policies
from mlops_local.iam.owners import Owner, owner, scope_of
from mlops_local.stacks.handler_steps import complete, done

LOGGER = logging.getLogger(__name__)
CHARACTERS = 10240  # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html
PATTERN_CHARACTERS, TARGETS = 2048, 5  # of a rule, by default; the first may be raised to 4096
_BUS = "event-bus/"
_ACCOUNT = re.compile(r"\d{12}")
_TOO_LONG = f"The event bus policy is too long: at most {CHARACTERS} characters"

Properties = dict[str, Any]
# account and Region that put an event on another account's bus
_sender: contextvars.ContextVar[Owner | None] = contextvars.ContextVar("mlops_event_sender", default=None)


class BusPolicyError(ValueError):
    """EventBridge rejects the bus policy."""


def install() -> None:
    """Add bus policies, and delivery to buses of other accounts and Regions."""
    permit, put, view = eventbridge._put_permission, eventbridge._put_events, eventbridge._pattern_event_view

    # claim: bus-policies-are-limited
    def put_permission(data: Mapping[str, Any]) -> Any:
        bus = str(data.get("EventBusName") or "default").rpartition("/")[2]
        before = json.loads(json.dumps(eventbridge._event_bus_policies.get(bus)))
        try:
            if "Policy" in data:
                set_policy(bus, json.loads(data["Policy"]))
                return eventbridge.json_response({})
            principal = str(data.get("Principal", "*"))
            named = {"AWS": f"arn:aws:iam::{principal}:root"} if _ACCOUNT.fullmatch(principal) else principal
            answer = permit({**data, "EventBusName": bus, "Principal": named})
            set_policy(bus, eventbridge._event_bus_policies[bus])
        except BusPolicyError as error:
            eventbridge._event_bus_policies.pop(bus, None)
            if before is not None:
                eventbridge._event_bus_policies[bus] = before
            return error_response_json("PolicyLengthExceededException", str(error), 400)
        return answer

    def put_events(data: Mapping[str, Any], allow_aws_source: bool = False) -> Any:
        entries = data.get("Entries", [])
        buses = [_foreign(str(entry.get("EventBusName", ""))) for entry in entries]
        if not any(buses):
            return put(data, allow_aws_source)
        sender, rows = Owner(get_account_id(), get_region()), []
        for entry, theirs in zip(entries, buses, strict=True):
            name = str(entry.get("EventBusName", ""))
            one = {**entry, "EventBusName": name.partition(_BUS)[2]} if theirs else entry
            token = _sender.set(sender if theirs else None)
            try:
                with scope_of(theirs):
                    rows += json.loads(put({"Entries": [one]}, allow_aws_source)[2])["Entries"]
            finally:
                _sender.reset(token)
        failed = sum("ErrorCode" in row for row in rows)
        return eventbridge.json_response({"FailedEntryCount": failed, "Entries": rows})

    def pattern_view(event: dict[str, Any]) -> Any:
        sender = _sender.get()
        if sender is not None and "_DispatchPath" not in event:
            # claim: events-keep-the-senders-account
            event.update(Account=sender.account, Region=sender.region)
        return view(event)

    eventbridge._put_permission, eventbridge._put_events = put_permission, put_events
    eventbridge._pattern_event_view = pattern_view
    _send_across()
    _limit_rules()
    provisioners._RESOURCE_HANDLERS["AWS::Events::EventBusPolicy"] = {
        "create": _create,
        "update": _update,
        "update_with_logical_id": True,
        "delete": _delete,
    }
    owner_policies.POLICIES["events"] = _policy_of


# claim: bus-policies-are-limited
def set_policy(bus: str, document: Any) -> None:
    """Set a bus's policy; a document without statements removes it.

    Raises:
        BusPolicyError: If the policy is too long.
    """
    if not document or not document.get("Statement"):
        eventbridge._event_bus_policies.pop(bus, None)
        return
    if len(json.dumps(document, separators=(",", ":"))) > CHARACTERS:
        raise BusPolicyError(_TOO_LONG)
    eventbridge._event_bus_policies[bus] = document


def _limit_rules() -> None:
    """Let PutRule and PutTargets refuse what is beyond a rule's quotas, and resources of templates what those refuse."""
    put_rule, put_targets = eventbridge._put_rule, eventbridge._put_targets

    # claim: rules-have-quotas
    def limited_rule(data: Mapping[str, Any]) -> Any:
        if len(data.get("EventPattern") or "") > PATTERN_CHARACTERS:
            message = f"EventPattern has at most {PATTERN_CHARACTERS} characters by default."
            return error_response_json("LimitExceededException", message, 400)
        return put_rule(data)

    # claim: rules-have-quotas
    def limited_targets(data: Mapping[str, Any]) -> Any:
        stored = eventbridge._targets.get(
            eventbridge._rule_key(data.get("Rule"), data.get("EventBusName", "default")), []
        )
        if len({target["Id"] for target in (*stored, *data.get("Targets", []))}) > TARGETS:
            message = "The requested resource exceeds the maximum number allowed."
            return error_response_json("LimitExceededException", message, 400)
        return put_targets(data)

    def check_rule(name: str, _old: Properties, new: Properties) -> None:
        pattern = new.get("EventPattern", "")
        text = pattern if isinstance(pattern, str) else json.dumps(pattern, separators=(",", ":"))
        bus = provisioners._eb_rule_bus_name(new)
        eventbridge._ensure_default_bus()  # MiniStack creates it with the first call
        done(limited_rule({**new, "Name": name, "EventBusName": bus, "EventPattern": text, "Tags": []}))
        done(limited_targets({"Rule": name, "EventBusName": bus, "Targets": new.get("Targets") or []}))

    eventbridge._put_rule, eventbridge._put_targets = limited_rule, limited_targets
    complete("AWS::Events::Rule", check_rule)


def _send_across() -> None:
    """Deliver to bus targets in other accounts or Regions; an event received from a bus is not sent to a third one."""
    to_bus = eventbridge._dispatch_to_event_bus

    def across(
        spec: Any, event: Mapping[str, Any], rule: Mapping[str, Any], path: set[str], payload: str | None = None
    ) -> None:
        # claim: events-take-one-hop
        if path:
            LOGGER.warning("event not sent on to %s: it was received from another bus", spec)
            return
        if (spec.account_id, spec.region) == (get_account_id(), get_region()):
            to_bus(spec, event, rule, path, payload)
            return
        bus = spec.resource.partition(_BUS)[2]
        key = eventbridge._rule_key(rule.get("Name"), rule.get("EventBusName", "default"))
        sent = {
            "Account": get_account_id(),
            "Region": get_region(),
            **event,
            "EventBusName": bus,
            "_DispatchPath": [key],
        }
        if payload is not None:
            sent["Detail"] = payload
        with scope_of(Owner(spec.account_id, spec.region)):
            if bus not in eventbridge._event_buses:
                LOGGER.warning("event not sent to %s: the bus does not exist", spec)
                return
            eventbridge._dispatch_event(sent)
            eventbridge._archive_event({name: value for name, value in sent.items() if name != "_DispatchPath"})

    eventbridge._dispatch_to_event_bus = across


def _foreign(name: str) -> Owner | None:
    """Return the other account that a bus ARN names; ``None`` for the caller's own account and for another Region's bus."""
    found = owner(name) if name.startswith("arn:") else None
    is_other = found is not None and found.account != get_account_id() and found.region == get_region()
    return found if is_other else None


def _policy_of(arn: str) -> Any:
    return eventbridge._event_bus_policies.get(arn.partition(_BUS)[2]) if _BUS in arn else None


def _create(_logical_id: str, properties: Properties, _stack: str) -> tuple[str, Properties]:
    # claim: bus-policies-of-templates-are-statements
    bus = str(properties.get("EventBusName") or "default").rpartition("/")[2]
    if bus not in eventbridge._event_buses:
        raise ValueError(f"Event bus {bus} does not exist.")
    identifier = properties["StatementId"]
    set_policy(bus, _with(bus, identifier, _statement(bus, properties)))
    return f"{bus}|{identifier}", {}


def _update(physical_id: str, _old: Properties, new: Properties, stack: str, logical_id: str) -> tuple[str, Properties]:
    made = _create(logical_id, new, stack)
    if made[0] != physical_id:
        _delete(physical_id, new)
    return made


def _delete(physical_id: str, _properties: Properties) -> None:
    bus, _, identifier = physical_id.partition("|")
    set_policy(bus, _with(bus, identifier, None))


def _with(bus: str, identifier: str, statement: Mapping[str, Any] | None) -> Properties:
    """Return a bus's policy with the statement of an id replaced or removed."""
    found = eventbridge._event_bus_policies.get(bus) or {"Version": "2012-10-17", "Statement": []}
    others = [row for row in found["Statement"] if row.get("Sid") != identifier]
    return {**found, "Statement": [*others, *([] if statement is None else [statement])]}


def _statement(bus: str, properties: Mapping[str, Any]) -> Properties:
    given = properties.get("Statement")
    if given is not None:
        return {**(json.loads(given) if isinstance(given, str) else given), "Sid": properties["StatementId"]}
    principal = str(properties.get("Principal", "*"))
    condition = properties.get("Condition")
    return {
        "Sid": properties["StatementId"],
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{principal}:root"} if _ACCOUNT.fullmatch(principal) else principal,
        "Action": properties.get("Action", "events:PutEvents"),
        "Resource": f"arn:aws:events:{get_region()}:{get_account_id()}:event-bus/{bus}",
        **({"Condition": {condition["Type"]: {condition["Key"]: condition["Value"]}}} if condition else {}),
    }
