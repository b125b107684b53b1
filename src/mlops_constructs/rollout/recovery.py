"""States that come before an endpoint is changed, where an execution that died has left something: judge it, go back, remove."""

from mlops_constructs._states import State, assign, choose, task, wait
from mlops_constructs.rollout.policy import FAILED, POLL_GRACE_SECONDS
from mlops_constructs.rollout.rehearsal import THRICE_MORE

_SDK = "aws-sdk:sagemaker:"


def recovery_states(*, endpoint_name: str, next_state: str, partition: str) -> tuple[str, dict[str, State]]:
    """Return the first state's name and the states that lead a plan to where it belongs.

    A candidate that serves unrecorded is judged like one of this execution, or taken back; a first endpoint that failed is deleted,
    and made anew where a package is approved.

    Args:
        endpoint_name: The endpoint.
        next_state: Where a plan begins that has nothing of the kind.
        partition: AWS partition, may be a token.
    """
    deadline = {"deadline": f"{{% $toMillis($now()) + {POLL_GRACE_SECONDS * 1000} %}}"}
    return "Begin", {
        "Begin": choose(
            ("$plan.action = 'adopt'", "Adopt"),
            ("$plan.action = 'revert'", "GoBack"),
            ("$plan.action = 'discard'", "Discard"),
            ("$plan.remove != null", "RemoveFailed"),
            default=next_state,
        ),
        "Adopt": assign("IsWatched", applied=True, orphan=False),
        "GoBack": assign("Revert", applied=True, orphan=False, reason="{% $plan.reason %}"),
        "Discard": assign(FAILED, applied=True, reason="{% $plan.reason %}"),
        # whatever the call answered, the endpoint itself says whether it is there
        "RemoveFailed": task(
            f"{_SDK}deleteEndpoint",
            {"EndpointName": endpoint_name},
            partition=partition,
            next_state="AwaitRemoved",
            catch="AwaitRemoved",
            assign=deadline,
            assign_caught=deadline,
            retry=[THRICE_MORE],
        ),
        "AwaitRemoved": wait("{% $plan.poll_seconds %}", "LookForRemoved"),
        "LookForRemoved": task(
            f"{_SDK}describeEndpoint",
            {"EndpointName": endpoint_name},
            partition=partition,
            next_state="IsRemovedLate",
            catch="IsRemoved",
            retry=[THRICE_MORE],
        ),
        "IsRemoved": choose(("$contains($caught, 'ould not find')", "Removed"), default="IsRemovedLate"),
        "Removed": assign(next_state, caught=""),
        "IsRemovedLate": choose(("$toMillis($now()) > $deadline", "RemovalFailed"), default="AwaitRemoved"),
        "RemovalFailed": assign(
            FAILED,
            reason=f"{{% 'the endpoint that failed could not be deleted within {POLL_GRACE_SECONDS} s. ' & $caught %}}",
        ),
    }
