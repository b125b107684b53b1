"""Permissions that an API request needs: actions, resources, condition keys and dependent permissions.

MiniStack's evaluator decides; this module derives the checks from the request alone.

A call without a known action must not pass unchecked. MiniStack derives a Lambda action from the last part of the path, so many
operations get a wrong action or none, and it serves calls without an action to every signed caller. Here Lambda's operations are
derived from botocore's routes, and a signed call without a known action gets an action that no policy allows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

from ministack.core import iam_actions
from ministack.core.router import extract_access_key_id

from mlops_local.iam import role_sessions, sagemaker_requests

# action -> (service principal that receives the role, member that names it)
_PASSED_ROLES = {
    "states:CreateStateMachine": ("states.amazonaws.com", "roleArn"),
    "states:UpdateStateMachine": ("states.amazonaws.com", "roleArn"),
    "lambda:CreateFunction": ("lambda.amazonaws.com", "Role"),
    "scheduler:CreateSchedule": ("scheduler.amazonaws.com", "RoleArn"),
    "scheduler:UpdateSchedule": ("scheduler.amazonaws.com", "RoleArn"),
    "events:PutTargets": ("events.amazonaws.com", "RoleArn"),
    "glue:CreateTableOptimizer": ("glue.amazonaws.com", "roleArn"),
}
_LOG_STREAM_ACTIONS = frozenset({
    "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams", "logs:GetLogEvents",
    "logs:DeleteLogStream", "logs:FilterLogEvents",
})  # fmt: skip

_ALARM_ACTIONS = frozenset({"cloudwatch:DescribeAlarms", "cloudwatch:DescribeAlarmHistory", "cloudwatch:DeleteAlarms"})
_WORD = re.compile(r"[#:]?\w+|\S")
# EKS assigns the id when it creates an access entry; policies that name one end with a wildcard
_EKS_ENTRY = "00000000-0000-0000-0000-000000000000"
_EKS_KEYS = {"principalArn": "eks:principalArn", "policyArn": "eks:policyArn"}
# claim: resources-of-a-call-are-documented

UNKNOWN = "UnknownOperation"
# operations whose IAM action has another name
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_awslambda.html
_LAMBDA_ACTIONS = {
    "Invoke": "InvokeFunction",
    "InvokeWithResponseStream": "InvokeFunction",
    "GetLayerVersionByArn": "GetLayerVersion",
}

Extract = Callable[..., str | None]


@dataclass(frozen=True)
class Call:
    """One API request, as received, or as a service makes it for a role."""

    service: str  # MiniStack's name of the service: `s3`, `sagemaker`, `monitoring`
    action: str  # the IAM action, `s3:PutObject`
    resource: str  # the ARN that the request names, else `*`
    region: str  # Region of the call
    account: str  # account of the call
    body: Mapping[str, Any] = field(default_factory=dict)  # the parsed JSON body; empty for other protocols
    path: str = "/"  # the request path
    headers: Mapping[str, str] = field(default_factory=dict)  # headers with lower-case names
    # query parameters, including the form of a query-protocol call
    params: Mapping[str, Any] = field(default_factory=dict)
    partition_key: str | None = None  # name of the table's partition key, for DynamoDB calls

    @property
    def operation(self) -> str:
        """The action without its service."""
        return self.action.partition(":")[2]

    def arn_prefix(self, service: str) -> str:
        """Return `arn:aws:<service>:<region>:<account>:`."""
        return f"arn:aws:{service}:{self.region}:{self.account}:"


@dataclass(frozen=True)
class Check:
    """One check for the evaluator."""

    action: str  # the IAM action
    resource: str  # the ARN
    context: Mapping[str, Any] = field(default_factory=dict)  # condition keys


def is_content(service: str, path: str, headers: Mapping[str, str]) -> bool:
    """Return whether a request's body is opaque content: an object, or the input of a model.

    A model's input must not set condition keys, and may be megabytes.
    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
    """
    return service == "s3" or (
        service == "sagemaker" and path.startswith("/endpoints/") and "x-amz-target" not in headers
    )


def parse_body(body: bytes | str) -> dict[str, Any]:
    """Parse a JSON request body; empty for any other body."""
    try:
        parsed = json.loads(body or b"{}")
    except (json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def actions(call: Call) -> list[Call]:
    """Return the calls by which a call is evaluated: a transaction by its members, grouped by table; else the call itself."""
    # claim: transactions-are-evaluated-by-member
    if call.action not in ("dynamodb:TransactWriteItems", "dynamodb:TransactGetItems"):
        return [call]
    found: dict[tuple[str, str], list[Any]] = {}
    for member in call.body.get("TransactItems") or ():
        for kind, requested in member.items() if isinstance(member, Mapping) else ():
            table = str(requested.get("TableName")).rpartition("/")[2]
            found.setdefault((f"dynamodb:{kind}Item", table), []).append(
                requested.get("Key") or requested.get("Item") or {}
            )
    return [
        replace(
            call,
            action=action,
            resource=f"{call.arn_prefix('dynamodb')}table/{table}",
            body={"RequestItems": {table: {"Keys": keys}}},
        )
        for (action, table), keys in found.items()
    ]


def resources(call: Call) -> list[str]:
    """Return every ARN on which the call must be allowed, most specific first."""
    if call.service == "sagemaker":
        return _sagemaker_resources(call)
    if call.service == "glue":
        return _glue_resources(call)
    if call.service == "ecr" and "repositoryName" in call.body:
        # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html
        *start, account, _ = call.arn_prefix("ecr").split(":")
        registry = call.body.get("registryId", account)
        return [f"{':'.join(start)}:{registry}:repository/{call.body['repositoryName']}"]
    if call.service == "eks":
        return eks_resources(call.path, call.arn_prefix("eks"))
    if call.service == "elasticloadbalancing":
        return _load_balancer_resources(call)
    if call.service == "events" and call.operation != "PutEvents":
        return _event_resources(call)
    if call.service == "application-autoscaling":
        # target ids are in no request; policies distinguish targets by condition keys
        is_any = call.operation.startswith("Describe")
        return ["*"] if is_any else [f"{call.arn_prefix('application-autoscaling')}scalable-target/*"]
    if call.service == "dynamodb" and call.body.get("RequestItems"):
        # a batch names its tables together with their items
        return [f"{call.arn_prefix('dynamodb')}table/{name}" for name in call.body["RequestItems"]]
    if call.service == "ssm" and call.resource == "*":
        named = [*call.body.get("Names", []), *([call.body["Path"]] if "Path" in call.body else [])]
        return [f"{call.arn_prefix('ssm')}parameter/{name.strip('/')}" for name in named] or ["*"]
    if call.action in _LOG_STREAM_ACTIONS and call.body.get("logGroupName"):
        # claim: log-calls-are-evaluated-on-streams
        group, stream = call.body["logGroupName"], call.body.get("logStreamName", "")
        return [f"{call.arn_prefix('logs')}log-group:{group}:log-stream:{stream}"]
    if call.action in _ALARM_ACTIONS and "CompositeAlarm" not in call.body.get("AlarmTypes", ()):
        # claim: alarms-are-described-by-name-or-all
        alarms = call.body.get("AlarmNames") or [call.body.get("AlarmName", "*")]
        return [f"{call.arn_prefix('cloudwatch')}alarm:{name}" for name in alarms]
    return [call.resource]


_LISTS = ("s3:ListBucket", "s3:ListBucketVersions")


def context(call: Call) -> dict[str, Any]:
    """Return the condition keys of the request that MiniStack does not provide."""
    keys: dict[str, Any] = {}
    if call.service == "sagemaker":
        keys.update(sagemaker_requests.context(call.operation, call.body, call.arn_prefix("sagemaker")))
    elif call.service == "eks":
        keys.update(eks_context(call.body))
    elif call.service == "s3":
        # claim: conditional-writes-have-condition-keys
        # claim: buckets-may-ask-for-conditional-writes
        keys.update(
            {f"s3:{name}": call.headers[name] for name in ("if-match", "if-none-match") if name in call.headers}
        )
        if call.action in _LISTS:
            # MiniStack sets these for HTTP requests, not for calls by a machine's task
            listed = {f"s3:{name}": _param(call, name) for name in ("prefix", "delimiter", "max-keys")}
            keys.update({name: value for name, value in listed.items() if value is not None})
    elif call.service == "monitoring":
        namespace = _param(call, "Namespace")
        if namespace:
            keys["cloudwatch:namespace"] = namespace
    elif call.service == "application-autoscaling":
        members = {"service-namespace": "ServiceNamespace", "scalable-dimension": "ScalableDimension"}
        keys.update({f"application-autoscaling:{key}": call.body[m] for key, m in members.items() if m in call.body})
    elif call.service == "kms":
        keys.update(kms_context(call.body.get("EncryptionContext") or {}, account=call.account))
        # claim: a-signature-names-its-algorithm
        members = {"kms:MessageType": "MessageType", "kms:SigningAlgorithm": "SigningAlgorithm"}
        keys.update({key: call.body[member] for key, member in members.items() if member in call.body})
    elif call.service == "dynamodb":
        leading = _leading_keys(call)
        if leading:
            keys["dynamodb:LeadingKeys"] = leading
    elif call.action == "events:PutEvents":
        entries = call.body.get("Entries") or []
        keys["events:source"] = _one_or_all(str(entry.get("Source", "")) for entry in entries)
        keys["events:detail-type"] = _one_or_all(str(entry.get("DetailType", "")) for entry in entries)
    return keys


def kms_context(encryption: Mapping[str, str], *, account: str, via: str | None = None) -> dict[str, Any]:
    """Return the `kms:` condition keys of a cryptographic call.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html

    Args:
        encryption: The encryption context.
        account: The calling account (`kms:CallerAccount`).
        via: The service that calls on the principal's behalf (`kms:ViaService`). Default: a direct call, without that key.
    """
    keys: dict[str, Any] = {"kms:CallerAccount": account}
    if via is not None:
        keys["kms:ViaService"] = via
    if encryption:
        keys["kms:EncryptionContextKeys"] = sorted(encryption)
    keys.update({f"kms:EncryptionContext:{name}": value for name, value in encryption.items()})
    return keys


def dependents(call: Call) -> list[Check]:
    """Return the additional permissions that AWS requires: passing roles, and tagging created resources."""
    checks: list[Check] = []
    if call.service == "sagemaker":
        role, service = sagemaker_requests.passed_role(call.operation, call.body), "sagemaker.amazonaws.com"
        if role:
            checks.append(_pass_role(role, service))
        if sagemaker_requests.sets_tags(call.operation, call.body):
            checks.append(Check("sagemaker:AddTags", resources(call)[0], _tags(call.body["Tags"])))
    elif call.action == "sts:AssumeRole":
        caller = extract_access_key_id(dict(call.headers), dict(call.params)) or ""
        given = role_sessions.requested_identity(call.params) or role_sessions.kept(caller)
        checks += [] if given is None else [Check(role_sessions.SET, call.resource, {"sts:SourceIdentity": given})]
    elif call.action in _PASSED_ROLES:
        service, member = _PASSED_ROLES[call.action]
        checks += [_pass_role(role, service) for role in sorted(set(_roles(call.body, member)))]
    return checks


def _one_or_all(values: Iterable[str]) -> str | list[str]:
    """Return a single value shared by all as itself, for single-valued operators; else the list."""
    found = sorted(set(values))
    return found[0] if len(found) == 1 else found


def _pass_role(role: str, service: str) -> Check:
    return Check("iam:PassRole", role, {"iam:PassedToService": service})


def _roles(body: Any, member: str) -> list[str]:
    if isinstance(body, Mapping):
        found = [body[member]] if isinstance(body.get(member), str) else []
        return found + [role for value in body.values() for role in _roles(value, member)]
    if isinstance(body, list):
        return [role for item in body for role in _roles(item, member)]
    return []


def _tags(tags: list[Mapping[str, str]]) -> dict[str, Any]:
    keys: dict[str, Any] = {f"aws:RequestTag/{tag['Key']}": tag.get("Value", "") for tag in tags}
    keys["aws:TagKeys"] = [tag["Key"] for tag in tags]
    return keys


def _sagemaker_resources(call: Call) -> list[str]:
    prefix = call.arn_prefix("sagemaker")
    parts = [part for part in call.path.split("/") if part]
    if parts[:1] == ["endpoints"] and len(parts) > 2:  # the runtime API names the endpoint in the path
        return [f"{prefix}endpoint/{parts[1]}"]
    return sagemaker_requests.resources(call.operation, call.body, prefix)


def _glue_resources(call: Call) -> list[str]:
    """Return the ARNs of a catalog call; AWS requires the table, its database and the catalog."""
    # https://docs.aws.amazon.com/glue/latest/dg/glue-specifying-resource-arns.html
    prefix = call.arn_prefix("glue")
    body = call.body
    if "JobRun" in call.operation and body.get("JobName"):
        return [f"{prefix}job/{body['JobName']}"]
    if "Database" in call.operation:
        database = body.get("Name") or (body.get("DatabaseInput") or {}).get("Name")
        return [f"{prefix}database/{database}", f"{prefix}catalog"] if database else [f"{prefix}catalog"]
    database = body.get("DatabaseName")
    if not database:
        return [call.resource]
    table = body.get("TableName") or body.get("Name") or (body.get("TableInput") or {}).get("Name")
    chain = [f"{prefix}database/{database}", f"{prefix}catalog"]
    if call.operation == "GetTables":
        return [f"{prefix}table/{database}/*", *chain]
    return [f"{prefix}table/{database}/{table}", *chain] if table else chain


def _event_resources(call: Call) -> list[str]:
    """Return the resources of a call on a rule or bus; rules of the default bus have no bus in their ARN."""
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoneventbridge.html
    prefix, body = call.arn_prefix("events"), call.body
    if call.operation.endswith("EventBus"):
        name = body.get("Name") or "default"
        return [name if name.startswith("arn:") else f"{prefix}event-bus/{name}"]
    rule = body.get("Rule") or (body.get("Name") if call.operation.endswith("Rule") else None)
    if rule is None:
        return [body.get("ResourceARN") or call.resource]
    bus = (body.get("EventBusName") or "default").rpartition("/")[2]
    return [f"{prefix}rule/{rule}" if bus == "default" else f"{prefix}rule/{bus}/{rule}"]


def _load_balancer_resources(call: Call) -> list[str]:
    """Return the resource of a call: `*` for descriptions, which have no resource type, else the most specific one."""
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancingv2.html
    if call.operation.startswith("Describe"):
        return ["*"]
    members = ("RuleArn", "ListenerArn", "TargetGroupArn", "LoadBalancerArn")
    return [next((found for member in members if (found := _param(call, member))), call.resource)]


def _param(call: Call, name: str) -> str | None:
    value = call.body.get(name, call.params.get(name))
    if isinstance(value, list):
        value = value[0] if value else None
    return str(value) if value else None


def _leading_keys(call: Call) -> list[str] | None:
    """Return the partition key values in an item call or a query."""
    name = call.partition_key
    if name is None:
        return None
    if call.body.get("RequestItems"):
        return _batch_keys(call.body["RequestItems"], name)
    value = (call.body.get("Key") or call.body.get("Item") or {}).get(name)
    if value is None:
        names = call.body.get("ExpressionAttributeNames") or {}
        words = _WORD.findall(str(call.body.get("KeyConditionExpression", "")))
        for left, sign, right in zip(words, words[1:], words[2:], strict=False):
            if sign == "=" and names.get(left, left) == name:
                value = (call.body.get("ExpressionAttributeValues") or {}).get(right)
    return [str(next(iter(value.values())))] if isinstance(value, Mapping) and value else None


def _batch_keys(items: Mapping[str, Any], name: str) -> list[str] | None:
    """Return the partition key values of a BatchGetItem or BatchWriteItem."""
    found: list[str] = []
    for requested in items.values():
        if isinstance(requested, Mapping):
            keys = list(requested.get("Keys", ()))
        else:
            requests = [next(iter(request.values())) for request in requested]
            keys = [request.get("Key") or request.get("Item") or {} for request in requests]
        found += [str(next(iter(key[name].values()))) for key in keys if key.get(name)]
    return sorted(set(found)) or None


def eks_resources(path: str, prefix: str) -> list[str]:
    """Return the ARNs on which a call must be allowed.

    Args:
        path: Path of the request, such as ``/clusters/retail/access-entries/<principal>``.
        prefix: ``arn:aws:eks:<region>:<account>:``.

    Example:
        >>> eks_resources("/clusters/retail", "arn:aws:eks:us-east-1:123456789012:")
        ['arn:aws:eks:us-east-1:123456789012:cluster/retail']
    """
    parts = unquote(path).strip("/").split("/")
    if parts[0] != "clusters" or len(parts) < 2:
        return ["*"]
    cluster = parts[1]
    if len(parts) > 3 and parts[2] == "access-entries":
        # arn:aws:iam::<account>:role/<path>/<name>
        account, kind = parts[3].split(":")[4], parts[3].split(":")[5]
        rest = parts[4 : parts.index("access-policies")] if "access-policies" in parts else parts[4:]
        name = rest[-1] if rest else ""
        return [f"{prefix}access-entry/{cluster}/{kind}/{account}/{name}/{_EKS_ENTRY}"]
    return [f"{prefix}cluster/{cluster}"]


def eks_context(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the condition keys of a call.

    Example:
        >>> eks_context({"principalArn": "arn:aws:iam::123456789012:role/a", "type": "STANDARD"})
        {'eks:principalArn': 'arn:aws:iam::123456789012:role/a'}
    """
    keys: dict[str, Any] = {key: body[member] for member, key in _EKS_KEYS.items() if member in body}
    if body.get("kubernetesGroups"):
        keys["eks:kubernetesGroups"] = list(body["kubernetesGroups"])
    scope = body.get("accessScope")
    if isinstance(scope, Mapping):
        keys["eks:accessScope"] = scope.get("type", "cluster")
        if scope.get("namespaces"):
            keys["eks:namespaces"] = list(scope["namespaces"])
    return keys


def install() -> None:
    """Replace MiniStack's mapping of requests to actions; idempotent."""
    extract = iam_actions.extract_iam_action
    if getattr(extract, "covers_all_services", False):
        return
    iam_actions._BOTOCORE_SERVICE_MAP["lambda"] = ["lambda"]

    def naming(  # noqa: PLR0917 - MiniStack's own signature
        service: str, method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
    ) -> str | None:
        return request_action(extract, service, method, path, headers, body, query_params)

    naming.covers_all_services = True  # type: ignore[attr-defined]
    iam_actions.extract_iam_action = naming


# claim: every-call-has-an-action
def request_action(  # noqa: PLR0917 - MiniStack's own signature
    extract: Extract,
    service: str,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    query_params: Mapping[str, Any],
) -> str | None:
    """Return the IAM action of a request.

    Returns:
        The action; an action that no policy allows if a signed call has no known one; None if IAM does not apply.
    """
    if service == "lambda" and "x-amz-target" not in headers:
        operation = iam_actions._match_rest_action("lambda", method, path, query_params)
        if operation:
            return f"lambda:{_LAMBDA_ACTIONS.get(operation, operation)}"
    if service == "s3" and "abac" in query_params:  # MiniStack would map it to CreateBucket
        return "s3:PutBucketAbac" if method == "PUT" else "s3:GetBucketAbac"
    found = extract(service, method, path, headers, body, query_params)
    namespace = iam_actions.SERVICE_TO_IAM_NAMESPACE.get(service)
    is_signed = bool(extract_access_key_id(dict(headers), dict(query_params)))
    if found is None and namespace and is_signed and method != "OPTIONS":
        return f"{namespace}:{UNKNOWN}"
    return found
