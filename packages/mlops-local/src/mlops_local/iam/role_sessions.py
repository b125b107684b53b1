"""Sessions of roles: their source identity, and the role's ARN in conditions.

A source identity is the person behind a session, set once when a role is assumed, and kept through role chaining. MiniStack drops
``SourceIdentity`` of AssumeRole. A caller that sets one, or whose session has one, needs ``sts:SetSourceIdentity`` in its own
policies and in the role's trust policy. ``aws:PrincipalArn`` of a session is the role's ARN, with its path; MiniStack uses the
session's ARN.
"""

import contextvars
import dataclasses
import re
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from ministack.core import iam_evaluator
from ministack.core.router import extract_access_key_id
from ministack.services import iam, sts

SET = "sts:SetSourceIdentity"
_FIELD = "SourceIdentity"
_PATTERN = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
# source identity set by the current call, and whether the role's trust policy denied it
_given: contextvars.ContextVar[str | None] = contextvars.ContextVar("mlops_source_identity", default=None)
_refused: contextvars.ContextVar[bool] = contextvars.ContextVar("mlops_source_identity_refused", default=False)


def install() -> None:
    """Store source identities of sessions."""
    sts.handle_request = partial(_serve, sts.handle_request)
    sts.register_session = _registering(sts.register_session)
    iam_evaluator.evaluate_trust_policy = partial(_trusts, iam_evaluator.evaluate_trust_policy)
    keys = partial(_named, iam_evaluator._principal_keys)
    iam_evaluator._principal_keys = sts._principal_keys = keys
    _name_roles()


def kept(access_key: str) -> str | None:
    """Return the source identity of a session by its access key id."""
    found = (sts._sessions.get(access_key) or {}).get(_FIELD)
    return None if found is None else str(found)


def requested_identity(params: Mapping[str, Any]) -> str | None:
    """Return the source identity that a call of AssumeRole sets."""
    value = params.get(_FIELD)
    return value[0] if isinstance(value, list) else value


async def _serve(  # noqa: PLR0917 - MiniStack's own signature
    handle: Any, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
) -> Any:
    params = {**query, **parse_qs(body.decode("utf-8", "replace"))} if method == "POST" else query
    if requested_identity({_FIELD: params.get("Action")}) != "AssumeRole":
        return await handle(method, path, headers, body, query)
    before, new = kept(extract_access_key_id(headers, query) or ""), requested_identity(params)
    # claim: source-identities-have-a-pattern
    if new is not None and _PATTERN.fullmatch(new) is None:
        text = f"Value '{new}' at 'sourceIdentity' failed to satisfy constraint: {_PATTERN.pattern}"
        return sts._error(400, "ValidationError", f"1 validation error detected: {text}", ns="sts")
    # claim: source-identities-are-never-changed
    if before is not None and new not in (None, before):
        text = f"The source identity of the session is {before} and cannot be changed"
        return sts._error(403, "AccessDenied", text, ns="sts")
    given, refused = _given.set(new or before), _refused.set(False)
    try:
        status, found, content = await handle(method, path, headers, body, query)
        return status, found, _with_identity(content)
    finally:
        _refused.reset(refused)
        _given.reset(given)


def _with_identity(content: bytes) -> bytes:
    """Return a response with the source identity, or with the denied action."""
    if _refused.get():
        return content.replace(b"perform: sts:AssumeRole ", f"perform: {SET} ".encode())
    given = _given.get()
    end = b"</AssumeRoleResult>"
    return content if given is None else content.replace(end, f"<{_FIELD}>{given}</{_FIELD}>".encode() + end)


def _registering(register: Any) -> Any:
    # MiniStack iterates over all sessions to drop expired ones, which a concurrent registration would break
    lock = threading.Lock()

    def registered(access_key: str, session: dict[str, Any]) -> None:
        given = _given.get()
        with lock:
            register(access_key, session if given is None else {**session, _FIELD: given})

    return registered


def _trusts(evaluate: Any, document: Any, caller_arn: str, context: Any = None) -> bool:
    given = _given.get()
    if given is None or context is None:
        return bool(evaluate(document, caller_arn, context))
    # claim: source-identities-are-set-by-right
    known = {**context.service_context, "sts:sourceidentity": given}
    context = dataclasses.replace(context, service_context=known)
    if not evaluate(document, caller_arn, context):
        return False
    allowed = bool(evaluate(document, caller_arn, dataclasses.replace(context, action=SET)))
    _refused.set(not allowed)
    return allowed


def _named(principal_keys: Any, credential: Any) -> dict[str, Any]:
    keys: dict[str, Any] = principal_keys(credential)
    found = kept(credential.access_key_id)
    return keys if found is None else {**keys, "aws:sourceidentity": found}


def _name_roles() -> None:
    """Set the condition key to the role's ARN."""
    resolve = iam_evaluator._resolve_condition_key

    def resolved(key: str, context: Any) -> Any:
        found = resolve(key, context)
        # claim: principal-arn-is-of-the-role
        return _role_of(found) if key.lower() == "aws:principalarn" and isinstance(found, str) else found

    iam_evaluator._resolve_condition_key = resolved


def _role_of(arn: str) -> str:
    """Return the role's ARN for a session's ARN; any other ARN unchanged."""
    _, partition, _, _, account, rest = (*arn.split(":", 5), "", "", "", "", "", "")[:6]
    kind, _, session = rest.partition("/")
    if kind != "assumed-role":
        return arn
    name = session.partition("/")[0]
    known = iam._roles.get_scoped(account, None, name) or {}
    return str(known.get("Arn") or f"arn:{partition}:iam::{account}:role/{name}")
