"""Authorization of every request, by MiniStack's evaluator, including permissions on the keys of encrypted resources."""

from __future__ import annotations

import contextvars
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ministack import app
from ministack.core import iam_actions, iam_evaluator
from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.core.router import extract_access_key_id
from ministack.services import athena, dynamodb, kms, s3, sns, sqs, sts
from ministack.services import iam as roles

from mlops_local import settings
from mlops_local.documents import converted
from mlops_local.iam import owner_policies, owners, request, resource_tags, source_keys
from mlops_local.iam.request import Call, Check, kms_context
from mlops_local.iam.signatures import session_keys

_SSE = "x-amz-server-side-encryption"
_SSE_KEY = "x-amz-server-side-encryption-aws-kms-key-id"
_S3_WRITES = frozenset({"s3:PutObject", "s3:ReplicateObject"})
_S3_READS = frozenset({"s3:GetObject", "s3:GetObjectVersion"})


# claim: encrypted-data-need-their-key
def key_checks(call: Call) -> list[Check]:
    """Return the KMS permissions that a call needs besides its own."""
    finder = _FINDERS.get(call.service)
    if finder is None:
        return []
    theirs = owners.owner(call.resource)
    with owners.scope_of(theirs):
        # KMS is called in the resource's Region
        return finder(call if theirs is None else replace(call, region=theirs.region))


def delivery_checks(target: str, *, region: str, account: str) -> list[Check]:
    """Return the KMS permissions that a service needs on the key of a queue or topic to deliver to it."""
    service = target.split(":")[2]
    call = Call(service, f"{service}:{'SendMessage' if service == 'sqs' else 'Publish'}", target, region, account)
    return key_checks(call)


def bus_checks(bus: str, key: str, *, region: str, account: str) -> list[Check]:
    """Return the KMS permissions that EventBridge needs on a bus's key: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-encryption-event-bus-cmkey.html."""
    call = Call("events", "events:PutEvents", bus, region, account)
    return _key_checks(call, key, ("GenerateDataKey", "Decrypt"), {"aws:events:event-bus:arn": bus})


def key_arn(key: str) -> str | None:
    """Resolve a key id, alias or ARN to the ARN of a key of this account.

    Returns:
        The ARN, or `None` for a key managed by AWS (`alias/aws/s3`), whose policy allows the whole account.
    """
    record = _key(key)
    if record is None or record.get("KeyManager") == "AWS":
        return None
    return str(record["Arn"])


def _key(key: str) -> Mapping[str, Any] | None:
    with owners.scope_of(owners.owner(key)):
        found: Mapping[str, Any] | None = kms._resolve_key(key)
        return found


def _key_checks(call: Call, key: str | None, operations: tuple[str, ...], encryption: Mapping[str, str]) -> list[Check]:
    arn = key_arn(key) if key else None
    if arn is None:
        return []
    keys = kms_context(encryption, account=call.account, via=f"{call.service}.{call.region}.amazonaws.com")
    # a permissions boundary may deny roles the use of keys with another owner's tag
    # https://docs.aws.amazon.com/kms/latest/developerguide/tag-authorization.html
    tags = (_key(arn) or {}).get("Tags") or ()
    keys |= {f"aws:ResourceTag/{tag['TagKey']}": tag["TagValue"] for tag in tags}
    return [Check(f"kms:{operation}", arn, keys) for operation in operations]


def _s3(call: Call) -> list[Check]:
    bucket, _, name = call.resource.removeprefix("arn:aws:s3:::").partition("/")
    if not name:
        return []
    if call.action in _S3_WRITES:
        written = call.headers if call.headers.get(_SSE) else s3._bucket_default_sse_headers(bucket)
        # parts and the completion of an upload decrypt the parts that are joined
        parts = "uploadId" in call.params
        return _s3_checks(call, bucket, written, ("Decrypt",) if parts else ("GenerateDataKey",))
    if call.action in _S3_READS:
        record = s3._buckets.get(bucket, {}).get("objects", {}).get(name) or {}
        return _s3_checks(call, bucket, record.get("preserved_headers") or {}, ("Decrypt",))
    return []


def _s3_checks(call: Call, bucket: str, headers: Mapping[str, str], operations: tuple[str, ...]) -> list[Check]:
    if headers.get(_SSE) != "aws:kms":
        return []
    # with a bucket key the encryption context is the bucket, else the object
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-key.html
    bucket_key = "<BucketKeyEnabled>true</BucketKeyEnabled>" in (s3._bucket_encryption.get(bucket) or "")
    encrypted = f"arn:aws:s3:::{bucket}" if bucket_key else call.resource
    return _key_checks(call, headers.get(_SSE_KEY), operations, {"aws:s3:arn": encrypted})


def _dynamodb(call: Call) -> list[Check]:
    table = call.resource.partition(":table/")[2].partition("/")[0]
    description = (dynamodb._tables.get(table) or {}).get("SSEDescription") or {}
    encryption = {"aws:dynamodb:tableName": table, "aws:dynamodb:subscriberId": call.account}
    if not call.operation.endswith(("Item", "Query", "Scan", "Items")):
        return []
    return _key_checks(call, description.get("KMSMasterKeyArn"), ("Decrypt",), encryption)


def _sqs(call: Call) -> list[Check]:
    operations = {"SendMessage": ("GenerateDataKey", "Decrypt"), "ReceiveMessage": ("Decrypt",)}.get(call.operation)
    queue = sqs._queue_by_arn(call.resource)
    if operations is None or queue is None:
        return []
    return _key_checks(call, queue["attributes"].get("KmsMasterKeyId"), operations, {"aws:sqs:arn": call.resource})


def _sns(call: Call) -> list[Check]:
    topic = sns._topic_by_arn_any_scope(call.resource) if call.operation == "Publish" else None
    key = (topic or {}).get("attributes", {}).get("KmsMasterKeyId")
    return _key_checks(call, key, ("GenerateDataKey", "Decrypt"), {"aws:sns:topicArn": call.resource})


_FINDERS: dict[str, Callable[[Call], list[Check]]] = {"s3": _s3, "dynamodb": _dynamodb, "sqs": _sqs, "sns": _sns}


_VARIABLE = re.compile(r"\$\{([A-Za-z0-9-]+:[A-Za-z0-9/_.-]+)\}")
_evaluate = iam_evaluator.enforce
_call: contextvars.ContextVar[Call | None] = contextvars.ContextVar("mlops_call", default=None)
# returns the session of a service that acts for a role on this thread; takes precedence over the request's caller
acting: contextvars.ContextVar[Callable[[], Session] | None] = contextvars.ContextVar("mlops_acting", default=None)
_IDENTITY, _RESOURCE = "identity-based policy", "resource-based policy"
_by_resource: contextvars.ContextVar[bool] = contextvars.ContextVar("mlops_by_resource", default=False)
_denied: contextvars.ContextVar[Check | None] = contextvars.ContextVar("mlops_denied", default=None)


class AccessDeniedError(Exception):
    """IAM denied a call.

    Attributes:
        principal: ARN of the caller.
        action: The denied action.
        resource: The resource of the denied action.
    """

    def __init__(
        self, principal: str, action: str, resource: str, *, explicit: bool = False, by_resource: bool = False
    ) -> None:
        super().__init__(_words(action, principal, resource, explicit=explicit, by_resource=by_resource))
        self.principal = principal
        self.action = action
        self.resource = resource


@dataclass(frozen=True)
class Session:
    """Temporary credentials of a role that a service has assumed."""

    access_key: str  # the access key id; accepted by `require`
    secret_key: str  # the secret access key
    token: str  # the session token
    arn: str  # `arn:aws:sts::<account>:assumed-role/<role>/<session>`

    def environment(self) -> dict[str, str]:
        """Return environment variables with which boto3 in a child process acts as the role."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_SESSION_TOKEN": self.token,
        }


def install() -> None:
    """Install the checks for every request of this process; idempotent."""
    if iam_evaluator.enforce is enforce:
        return
    iam_evaluator.enforce = enforce
    iam_evaluator._request_origin = _Loopback(iam_evaluator._request_origin)
    iam_actions.SERVICE_TO_IAM_NAMESPACE.setdefault("sagemaker", "sagemaker")
    iam_actions._BOTOCORE_SERVICE_MAP.setdefault("sagemaker", ["sagemaker-runtime"])
    _wrap_dispatch()
    _wrap_denials()
    _put_in_variables()
    _parse_documents_once()
    _keep_root_out_of_service_roles()
    journal.open(settings.home / "iam.jsonl")


def assume(role_arn: str, *, service: str, source_arn: str, name: str, purpose: str = "") -> Session:
    """Assume a role as an AWS service does; return credentials without expiry, because the embedded clock may jump by months.

    Args:
        service: The service principal, `sagemaker.amazonaws.com`.
        source_arn: The resource on whose behalf the service acts: `aws:SourceArn` in the trust policy, if the service sends it.
        name: The session name.
        purpose: Purpose of the session; sessions of different purposes only differ in their keys. Default: running a workload.

    Raises:
        AccessDeniedError: If the role does not exist or its trust policy does not allow the service to assume it.

    Example:
        ```python
        session = iam.assume(role, service="sagemaker.amazonaws.com", source_arn=job_arn, name="SageMaker")
        subprocess.Popen(command, env={**os.environ, **session.environment()})
        ```
    """
    # claim: roles-are-assumed-by-trust
    account, role_name = role_arn.split(":")[4], role_arn.rpartition("/")[2]
    role = roles._roles.get_scoped(account, None, role_name)
    question = iam_evaluator.EvalContext(
        principal_arn=f"service:{service}", principal_type="Service", principal_account="", action="sts:AssumeRole",
        resource_arn=role_arn, region=get_region(),
        service_context=dict(source_keys.sent(service, "sts:AssumeRole", source_arn=source_arn, account=account)),
    )  # fmt: skip
    trust = (role or {}).get("AssumeRolePolicyDocument")
    answer = iam_evaluator.evaluate_resource_policy(trust, question, service=service)
    if role is None or answer.decision != "Allow":
        raise AccessDeniedError(service, "sts:AssumeRole", role_arn, explicit=answer.decision == "Deny")
    keys = session_keys(f"{role_arn}|{service}|{source_arn}|{name}|{purpose}")
    session = Session(*keys, arn=f"arn:aws:sts::{account}:assumed-role/{role_name}/{name[:64]}")
    record = {
        "Arn": session.arn, "UserId": f"{role['RoleId']}:{name[:64]}", "AccountId": account, "PrincipalType": "AssumedRole",
        "SecretAccessKey": session.secret_key, "SessionToken": session.token,
    }  # fmt: skip
    sts.register_session(session.access_key, record)
    return session


def caller() -> tuple[str, str]:
    """Return ARN and id of the caller of the request that this thread serves.

    Their formats are those of ``GetCallerIdentity``:
    https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
    """
    found = iam_evaluator.resolve_caller_identity(caller_key()) or {}
    return found.get("userArn") or f"arn:aws:iam::{get_account_id()}:root", found.get("userId") or get_account_id()


def caller_key() -> str:
    """Return the access key id of the request that this thread serves; root's without a request."""
    act, call = acting.get(), _call.get()
    if act is not None:
        return act().access_key
    return (
        extract_access_key_id(dict(call.headers), dict(call.params)) if call is not None else ""
    ) or settings.ROOT_KEY


def require(principal: str | Session, action: str, resource: str, context: Mapping[str, Any] | None = None) -> None:
    """Check whether a principal, a session or an access key id, may perform an action; root may do everything.

    Raises:
        AccessDeniedError: If IAM does not allow it.
    """
    # claim: denials-name-principal-action-and-resource
    key = principal.access_key if isinstance(principal, Session) else principal
    answer = _evaluate_check(key, Check(action, resource, context or {}), region=get_region())
    if answer is None:
        return
    arn, by_resource = getattr(answer, "principal_arn", "") or key, bool(getattr(answer, "resource_policy_arn", ""))
    explicit = getattr(answer, "decision", "") == "Deny"
    raise AccessDeniedError(arn, action, resource, explicit=explicit, by_resource=by_resource)


def require_call(principal: str | Session, call: Call) -> None:
    """Check whether a principal may make a call: on its resources, the roles it passes and the keys it needs.

    Raises:
        AccessDeniedError: For the first missing permission.
    """
    for each in request.actions(call):
        keys = request.context(each)
        questions = [Check(each.action, resource, keys) for resource in request.resources(each)]
        for check in [*questions, *request.dependents(each), *key_checks(each)]:
            require(principal, check.action, check.resource, check.context)


def describe(service: str, path: str, headers: Mapping[str, str], body: bytes, params: Mapping[str, Any]) -> Call:
    """Convert a request of MiniStack's; action and resource are filled in when it is checked."""
    members = {} if request.is_content(service, path, headers) else request.parse_body(body)
    return Call(service, "", "*", get_region(), get_account_id(), members, path, headers, params)


def enforce(  # noqa: PLR0917 - MiniStack's own signature
    access_key_id: str,
    iam_action: str,
    service: str,
    region: str,
    resource_arn: str = "*",
    service_context: Mapping[str, Any] | None = None,
) -> Any:
    """Replaces MiniStack's `enforce`: same result type, more checks.

    Returns:
        `None` when allowed, else MiniStack's authentication error or evaluation result.
    """
    _denied.set(None)
    _by_resource.set(False)
    described = _call.get()
    same = described is not None and described.service == service
    call = replace(described, action=iam_action, resource=resource_arn) if same and described is not None else Call(
        service, iam_action, resource_arn, region, get_account_id()
    )  # fmt: skip
    for each in request.actions(call):
        answer = _evaluate_call(access_key_id, each, service_context or {})
        if answer is not None:
            return answer
    return None


def _evaluate_call(access_key: str, call: Call, service_context: Mapping[str, Any]) -> Any:
    if call.service == "dynamodb":
        call = replace(call, partition_key=_partition_key(request.resources(call)[0]))
    if call.service == "athena" and "QueryExecutionId" in call.body:
        call = replace(call, resource=_workgroup_of(call))
    keys = {**service_context, **request.context(call)}
    checks = [Check(call.action, resource, keys) for resource in request.resources(call)]
    for position, check in enumerate([*checks, *request.dependents(call), *key_checks(call)]):
        answer = _evaluate_check(
            access_key, check, region=call.region, service=call.service if position < len(checks) else None
        )
        if answer is not None:
            _denied.set(check)
            _by_resource.set(bool(getattr(answer, "resource_policy_arn", "")))
            return answer
    return None


def _evaluate_check(access_key: str, check: Check, *, region: str, service: str | None = None) -> Any:
    name = service or check.action.partition(":")[0]
    is_root = iam_evaluator.is_root_access_key(access_key)
    theirs = None if name == "sts" else owners.owner(check.resource)  # STS evaluates a role's trust policy itself
    with owners.scope_of(theirs):
        tags = {} if is_root else _principal_tags(access_key) | resource_tags.keys(check.action, check.resource)
    keys, caller = {**tags, **check.context}, _account(access_key)
    is_foreign = theirs is not None and theirs.account != caller
    # policies of the account's own resources in other Regions are stored there
    with request_scope(caller, get_region() if theirs is None or is_foreign else theirs.region):
        answer = _evaluate(access_key, check.action, name, region, check.resource, keys)
    if answer is None and theirs is not None and is_foreign:
        answer = owner_policies.refusal(
            access_key, caller, check.action, check.resource, keys, theirs=theirs, region=region
        )
    if not is_root:
        journal.write(access_key, check, allowed=answer is None)
    return answer


def _account(access_key: str) -> str:
    """Return the account of an access key: of a session or root user; else of the request, in which a user's key is found."""
    session = sts._sessions.get(access_key)
    if session is not None:
        return owners.account_of(str(session.get("Arn", "")))
    return access_key if access_key in settings.accounts else get_account_id()


def _principal_tags(access_key: str) -> dict[str, str]:
    """Return the tags of a session's role as condition keys; session tags are not supported."""
    # claim: tags-of-a-role-are-tags-of-its-sessions
    arn = (sts._sessions.get(access_key) or {}).get("Arn", "")
    role = roles._roles.get_scoped(arn.split(":")[4], None, arn.split("/")[1]) if ":assumed-role/" in arn else None
    return {f"aws:PrincipalTag/{tag['Key']}": tag["Value"] for tag in (role or {}).get("Tags") or ()}


def _workgroup_of(call: Call) -> str:
    """Return the workgroup of a query, for calls that name only the query."""
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonathena.html
    # claim: athena-queries-are-of-their-workgroup
    found = athena._executions.get(call.body["QueryExecutionId"]) or {}
    return f"{call.arn_prefix('athena')}workgroup/{found.get('WorkGroup', 'primary')}"


def _partition_key(table_arn: str) -> str | None:
    table = dynamodb._tables.get(table_arn.partition(":table/")[2].partition("/")[0])
    return table.get("pk_name") if table else None


def _without_session(principal: str) -> str:
    """Return the role's ARN for an assumed role's ARN, else the principal."""
    account, role = principal.split(":")[4:6] if ":assumed-role/" in principal else ("", "")
    return f"arn:aws:iam::{account}:role/{role.split('/')[1]}" if role else principal


class Journal:
    """Log of the distinct permission checks of roles, one JSON object per line, for proofs of least privilege.

    Nothing is written until `open` names a file.
    """

    def __init__(self) -> None:
        self._path: Path | None = None
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def open(self, path: Path) -> None:
        """Write to a new file from now on."""
        with self._lock:
            self._path, self._seen = path, set()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("", "utf-8")

    def write(self, access_key: str, check: Check, *, allowed: bool) -> None:
        """Record a check, once."""
        if self._path is None:
            return
        row = {
            "principal": _without_session((sts._sessions.get(access_key) or {}).get("Arn", access_key)),
            "action": check.action,
            "resource": check.resource,
            "allowed": allowed,
        }
        line = json.dumps({**row, "context": dict(sorted(check.context.items()))}, sort_keys=True, default=str)
        with self._lock:
            if line in self._seen:
                return
            self._seen.add(line)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


journal = Journal()


class _Loopback:
    """MiniStack's variable of a request's origin, whose transport always counts as secure."""

    def __init__(self, variable: contextvars.ContextVar[tuple[str, bool]]) -> None:
        self._variable = variable

    def get(self) -> tuple[str, bool]:
        return self._variable.get()[0], True

    def set(self, value: tuple[str, bool]) -> Any:
        return self._variable.set(value)


def _wrap_dispatch() -> None:
    """Store each request while it is served, so that `enforce` can read its body."""
    dispatch = app._dispatch_service_request

    async def remembering(  # noqa: PLR0917 - MiniStack's own signature
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any], request_id: str
    ) -> Any:
        routing = app._routing_params(method, path, headers, body, query)
        service = app.detect_service(method, path, headers, routing)
        token = _call.set(describe(service, path, headers, body, routing))
        try:
            return await dispatch(method, path, headers, body, query, request_id)
        finally:
            _call.reset(token)

    app._dispatch_service_request = remembering


def _put_in_variables() -> None:
    """Substitute policy variables in conditions, which MiniStack compares literally."""
    # claim: variables-of-policies-are-replaced
    met = iam_evaluator._conditions_met

    def meeting(conditions: Mapping[str, Any], context: Any) -> bool:
        def value(found: re.Match[str]) -> str:
            known = iam_evaluator._resolve_condition_key(found[1], context)
            return known if isinstance(known, str) else "\0"  # matches no request

        if "${" in json.dumps(conditions):
            conditions = converted(
                conditions, lambda leaf: _VARIABLE.sub(value, leaf) if isinstance(leaf, str) else leaf
            )
        return bool(met(conditions, context))

    iam_evaluator._conditions_met = meeting


def _parse_documents_once() -> None:
    """Cache parsed policy documents: MiniStack parses every policy of a role for each of its requests."""
    parse = iam_evaluator.parse_policy_document
    parse_text = lru_cache(maxsize=2048)(parse)

    def parse_once(doc: Any) -> list[Any]:
        return list(parse_text(doc) if isinstance(doc, str) else parse(doc))

    iam_evaluator.parse_policy_document = parse_once


def _keep_root_out_of_service_roles() -> None:
    """Let a trusted service principal match only that service; MiniStack also lets the account's root user match."""
    matches = iam_evaluator._trust_principal_matches

    def matching(principal: Any, caller_arn: str, federated: bool) -> bool:
        if isinstance(principal, Mapping):
            principal = {kind: value for kind, value in principal.items() if kind != "Service"}
        return bool(matches(principal, caller_arn, federated))

    iam_evaluator._trust_principal_matches = matching


def _words(action: str, principal: str, resource: str, *, explicit: bool, by_resource: bool) -> str:
    """Return the message of a denial, naming the side that denies."""
    # claim: denials-name-the-side
    text = str(iam_actions.identity_denial_message(action, principal, resource, explicit))
    return text.replace(_IDENTITY, _RESOURCE) if by_resource else text


def _wrap_denials() -> None:
    """Name the resource in every denial, and the failed check if it is not the call's own."""
    respond = iam_actions.access_denied_response

    def naming(service: str, action: str, principal: str, request_id: str, **rest: Any) -> Any:
        failed = _denied.get()
        if failed is None or rest.get("error_code") or rest.get("message"):
            return respond(service, action, principal, request_id, **rest)
        if rest.get("explicit_deny") and rest.get("resource_policy_arn") and failed.action == action:
            return respond(service, action, principal, request_id, **rest)
        explicit, by_resource = bool(rest.get("explicit_deny")), _by_resource.get()
        message = _words(failed.action, principal, failed.resource, explicit=explicit, by_resource=by_resource)
        return respond(service, action, principal, request_id, **{**rest, "message": message})

    iam_actions.access_denied_response = naming
