"""`aws:PrincipalArn` of a role session is the role's ARN, with its path; MiniStack uses the session's ARN."""

from typing import Any

from ministack.core import iam_evaluator
from ministack.services import iam

from mlops_local import compat

compat.expect("ministack.core.iam_evaluator", EvalContext=type, _resolve_condition_key="(key, ctx)")
compat.expect("ministack.services.iam", _roles=object)


def install() -> None:
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
