"""States that read Service Quotas in the Deploy machine, as the network of preflight's function cannot reach them.

Service Quotas has no interface endpoint; Step Functions calls it from outside the network.

See: https://docs.aws.amazon.com/vpc/latest/privatelink/aws-services-privatelink-support.html
https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html
https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_ListServiceQuotas.html
"""

from collections.abc import Collection

from mlops_constructs._state_machine import State, assign, choose, task
from mlops_runtime.rollout.instance_quota import quota_name

# quotas of requests that are not checked against any
UNASKED: dict[str, object] = {"instances": {}, "unread": ""}
# no retries of a missing permission; the rollout continues without quotas
_DENIED: State = {"ErrorEquals": ["ServiceQuotas.AccessDeniedException"], "MaxAttempts": 0}


def quota_states(instance_types: Collection[str], *, next_state: str, partition: str) -> dict[str, State]:
    """Return the states that read the account's instance quotas, in order.

    They set ``$quotas`` to the fields of ``Quotas``: instances by type, and the error if they could not be read. SageMaker has
    hundreds of quotas and the list has no filter, so it is read page by page until all types are found.

    Args:
        instance_types: Instance types that a new fleet may need.
        next_state: Next state, also after errors.
        partition: AWS partition; may be a token.

    Example:
        >>> list(quota_states(["ml.m5.large"], next_state="Preflight", partition="aws"))
        ['IsHeldToQuotas', 'ListQuotas', 'HasMoreQuotas', 'QuotasUnread']
    """
    types = {quota_name(kind): kind for kind in sorted(set(instance_types))}
    named = ", ".join(f"'{name}': '{kind}'" for name, kind in types.items())
    # object with the page's relevant quotas by type
    wanted = "$states.result.Quotas[$exists($lookup($wanted, QuotaName))].{$lookup($wanted, QuotaName): Value}"
    page = f"($wanted := {{{named}}}; {wanted})"
    return {
        # rollbacks are not checked against quotas
        "IsHeldToQuotas": choose(("$request.reason in ['approval', 'spec']", "ListQuotas"), default=next_state),
        "ListQuotas": task(
            "aws-sdk:servicequotas:listServiceQuotas",
            "{% $merge([{'ServiceCode': 'sagemaker', 'MaxResults': 100}, $page = '' ? {} : {'NextToken': $page}]) %}",
            partition=partition,
            next_state="HasMoreQuotas",
            catch="QuotasUnread",
            assign={
                "quotas": {"instances": f"{{% $merge($append([$quotas.instances], {page})) %}}", "unread": ""},
                "page": "{% $states.result.NextToken & '' %}",
            },
            retry=[_DENIED],
        ),
        "HasMoreQuotas": choose(
            (f"$page != '' and $count($keys($quotas.instances)) < {len(types)}", "ListQuotas"), default=next_state
        ),
        "QuotasUnread": assign(
            next_state,
            quotas={"instances": "{% $quotas.instances %}", "unread": "{% $substringBefore($caught, ':') %}"},
        ),
    }
