"""States that send golden requests again to the serving fleet: in the bake with full traffic, and before a promotion.

While both fleets serve, a call cannot be addressed to one of them: ``TargetVariant`` selects a variant of one config, and both
fleets have the same variants. So the requests are first sent when only the new fleet serves and the old one is still running.
"""

from mlops_constructs._state_machine import EXECUTION, NOW, State, assign, choose, invoke
from mlops_constructs.rollout.candidate_states import CHECK_SECONDS
from mlops_constructs.rollout.rollout_policy import PROMOTED
from mlops_constructs.rollout.stop_states import CAN_STOP, stop_states

AGAIN_SECONDS = 2 * CHECK_SECONDS
# result before the requests are sent
UNASKED = {"asked": False, "passed": True, "reason": ""}
# suffix of a promotion's reason
AGAIN_PASSED = "; golden requests were answered rightly again by the fleet that serves"
# why a rollout was stopped; empty if it was not
WHY_UNLIKE = "($again.passed ? '' : 'golden requests, asked again: ' & $again.reason)"
# https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html: all traffic is on the new fleet
# claim: the-bake-of-all-traffic-has-a-name
_ALONE = (
    "$count($endpoint.PendingDeploymentSummary.ProductionVariants.VariantStatus"
    "[Status = 'Baking' and $contains(StatusMessage & '', 'full capacity')]) > 0"
)
_IS_ASKED = "$exists($plan.again.golden)"


def bake_states(
    *, golden_arn: str, endpoint_name: str, next_state: str, partition: str
) -> tuple[tuple[str, str], dict[str, State]]:
    """Return a choice rule and the states that send the requests once in the bake with full traffic, after enough other calls.

    The alarm of a fleet that fails is set, so that SageMaker rolls back to the old fleet, which is still running.

    Args:
        golden_arn: ARN of the function ``rollout_golden``.
        endpoint_name: Name of the endpoint.
        next_state: Next state.
        partition: AWS partition; may be a token.
    """
    ask = _ask(golden_arn, endpoint_name, partition, next_state="IsStillGolden", catch=next_state)
    # after an error, the requests before the promotion decide
    ask["Catch"][0]["Assign"] = {"again": {**UNASKED, "asked": True}}
    is_time = f"{_IS_ASKED} and $not($again.asked) and {_ALONE} and $compared.calls >= $plan.min_invocations"
    return (is_time, "AskInBake"), {
        "AskInBake": ask,
        "IsStillGolden": choose((f"$not($again.passed) and {CAN_STOP}", "KeepStopped"), default=next_state),
        **stop_states(WHY_UNLIKE, names=("KeepStopped", "StopFleet"), next_state=next_state, partition=partition),
    }


def promotion_states(*, golden_arn: str, endpoint_name: str, partition: str) -> tuple[str, dict[str, State]]:
    """Return the name of the first state and the states that send the requests before a promotion; failures lead to ``Revert``.

    Args:
        golden_arn: ARN of the function ``rollout_golden``.
        endpoint_name: Name of the endpoint.
        partition: AWS partition; may be a token.
    """
    return "IsAskedAgain", {
        "IsAskedAgain": choose(("$not($again.passed)", "Unlike"), (_IS_ASKED, "AskAgain"), default=PROMOTED),
        "AskAgain": _ask(golden_arn, endpoint_name, partition, next_state="IsGoldenAgain", catch="AgainUnknown"),
        "IsGoldenAgain": choose(("$again.passed", "GoldenAgain"), default="Unlike"),
        "GoldenAgain": assign(PROMOTED, shown=f"{{% $shown & '{AGAIN_PASSED}' %}}"),
        "Unlike": assign("Revert", reason=f"{{% {WHY_UNLIKE} %}}"),
        "AgainUnknown": assign("Revert", reason="{% 'golden requests could not be asked again: ' & $caught %}"),
    }


def _ask(golden_arn: str, endpoint_name: str, partition: str, *, next_state: str, catch: str) -> State:
    return invoke(
        golden_arn,
        {
            "mode": "again",
            "endpoint": endpoint_name,
            "golden": "{% $plan.again.golden %}",
            "answers": "{% $plan.again.answers %}",
            "now": NOW,
            "execution": EXECUTION,
        },
        partition=partition,
        next_state=next_state,
        catch=catch,
        assign={"again": "{% $merge([$states.result.Payload, {'asked': true}]) %}"},
        timeout=CHECK_SECONDS,
    )
