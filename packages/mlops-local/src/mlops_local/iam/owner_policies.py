"""The resource side of cross-account calls: the policy of the resource must allow them too.

The caller's policies and boundary are evaluated in the caller's account; this module evaluates the resource's policy in its owner's
account. A service without resource policies always denies other accounts.

See: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic-cross-account.html
"""

from collections.abc import Callable, Mapping
from typing import Any

from ministack.core import iam_evaluator
from ministack.core.responses import request_scope

from mlops_local import settings
from mlops_local.iam.owners import Owner, owner, scope_of

# for services whose policies MiniStack does not store: returns the policy of a resource of the current scope by its ARN
POLICIES: dict[str, Callable[[str], Any]] = {}


def install() -> None:
    """Add a bucket's account and the caller's organization to conditions, and name the denying side for key policies."""
    resolve, combine = iam_evaluator._resolve_condition_key, iam_evaluator.combine_resource_policy

    def resolved(key: str, context: Any) -> Any:
        # claim: resource-account-is-the-buckets
        if key.lower() in {"aws:resourceaccount", "s3:resourceaccount"} and (found := owner(context.resource_arn)):
            return found.account
        return resolve(key, context)

    def combined(identity: Any, context: Any, *rest: Any, **named: Any) -> Any:
        result = combine(identity, context, *rest, **named)
        if identity.decision == "Allow" and result.decision != "Allow":
            result.resource_policy_arn = context.resource_arn
        return result

    organization = iam_evaluator._principal_org_id

    # claim: accounts-are-of-one-organization
    def principal_organization(account: str) -> str | None:
        found: str | None = organization(account) or organization(settings.ACCOUNT)
        return found

    iam_evaluator._resolve_condition_key = resolved
    iam_evaluator._principal_org_id = principal_organization
    iam_evaluator.combine_resource_policy = combined


# claim: both-sides-must-allow
# claim: repositories-admit-roles-by-condition
def refusal(
    access_key: str, caller: str, action: str, resource: str, keys: Mapping[str, Any], *, theirs: Owner, region: str
) -> Any:
    """Return why the policy of another account's resource denies a call, or None.

    Returns:
        The evaluator's result, whose `resource_policy_arn` is the resource.
    """
    with request_scope(caller, region):
        principal = iam_evaluator.resolve_principal(access_key, caller)
    if isinstance(principal, iam_evaluator.AuthError):
        return principal
    question = iam_evaluator.EvalContext(
        principal_arn=principal.arn, principal_type=principal.type, principal_account=principal.account, action=action,
        resource_arn=resource, region=region, principal_keys=principal.keys,
        service_context={"aws:tagkeys": None, **{key.lower(): value for key, value in keys.items()}},
    )  # fmt: skip
    with scope_of(theirs):
        result = iam_evaluator.evaluate_resource_policy(_policy(action.partition(":")[0], resource), question)
    if result.decision == "Allow":
        return None
    result.principal_arn, result.resource_policy_arn = principal.arn, resource
    return result


def _policy(service: str, resource: str) -> Any:
    if service in POLICIES:
        return POLICIES[service](resource)
    found = iam_evaluator._resource_policy(service, resource)
    return None if found is None else found[0]
