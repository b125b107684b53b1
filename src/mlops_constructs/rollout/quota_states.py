"""Service Quotas asked by the Deploy machine itself: the preflight's function runs in a network that has no way to it.

Service Quotas has no interface endpoint, and Step Functions calls it from outside of any network.

See: https://docs.aws.amazon.com/vpc/latest/privatelink/aws-services-privatelink-support.html
https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html
https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_ListServiceQuotas.html
"""

from collections.abc import Collection

from mlops_constructs._state_machine import State, assign, choose, task
from mlops_runtime.rollout.instance_quota import quota_name

# what preflight gets of a request that is held to no quota
UNASKED: dict[str, object] = {"instances": {}, "unread": ""}
# a right that is missing is not there a second later either, and the rollout goes on without
_DENIED: State = {"ErrorEquals": ["ServiceQuotas.AccessDeniedException"], "MaxAttempts": 0}


def quota_states(instance_types: Collection[str], *, next_state: str, partition: str) -> dict[str, State]:
    """Return the states that read how many instances the account may have, the first one first.

    They set ``$quotas`` to what ``Quotas`` has: instances by type, and why they could not be read. SageMaker has hundreds of quotas
    and the list has no filter, so it is read page by page until all types are found.

    Args:
        instance_types: Types that a new fleet may need.
        next_state: Where to go on, in every case.
        partition: AWS partition, may be a token.

    Example:
        >>> list(quota_states(["ml.m5.large"], next_state="Preflight", partition="aws"))
        ['IsHeldToQuotas', 'ListQuotas', 'HasMoreQuotas', 'QuotasUnread']
    """
    types = {quota_name(kind): kind for kind in sorted(set(instance_types))}
    named = ", ".join(f"'{name}': '{kind}'" for name, kind in types.items())
    # an object of the page's quotas that are wanted, by type
    wanted = "$states.result.Quotas[$exists($lookup($wanted, QuotaName))].{$lookup($wanted, QuotaName): Value}"
    page = f"($wanted := {{{named}}}; {wanted})"
    return {
        # a way back is never held to a quota
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
