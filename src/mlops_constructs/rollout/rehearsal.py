"""States in which a candidate answers golden requests on an endpoint of its own, and those that send synthetic calls."""

from mlops_constructs._states import EXECUTION, NOW, State, assign, choose, invoke, task, wait
from mlops_constructs.rollout.policy import FAILED, TURNED_DOWN

_SDK = "aws-sdk:sagemaker:"
# starting instances; a container that never answers keeps SageMaker busy for up to an hour, and nothing can be deleted before
_START_SECONDS = 1800
_END_SECONDS = 5400
# the function itself ends after 15 minutes
_CHECK_SECONDS = 920
_TRAFFIC_SECONDS = 300
REHEARSAL_SECONDS = _END_SECONDS + _CHECK_SECONDS
# SageMaker has no error of its own for what is gone: where that is what is wanted, asking for long would only take time
THRICE_MORE: State = {
    "ErrorEquals": ["SageMaker.SageMakerException"],
    "IntervalSeconds": 2,
    "BackoffRate": 1,
    "MaxAttempts": 3,
}


def rehearsal_states(*, golden_arn: str, next_state: str, partition: str) -> tuple[str, dict[str, State]]:
    """Return the first state's name and the states of a rehearsal, whose endpoint is deleted in every path.

    Args:
        golden_arn: Function ``rollout_golden``.
        next_state: Where to go on after it was passed, or where the plan has none.
        partition: AWS partition, may be a token.
    """

    def until(seconds: int) -> str:
        return f"{{% $toMillis($now()) + {seconds * 1000} %}}"

    started = {"deadline": until(_START_SECONDS), "rehearsal_until": until(_END_SECONDS)}
    name = "{% $plan.rehearsal.endpoint.EndpointName %}"
    return "HasRehearsal", {
        "HasRehearsal": choose(("$exists($plan.rehearsal.golden)", "CreateRehearsalConfig"), default=next_state),
        "CreateRehearsalConfig": task(
            f"{_SDK}createEndpointConfig",
            "{% $plan.rehearsal.config %}",
            partition=partition,
            next_state="CreateRehearsal",
            catch="RehearsalConfigExists",
            assign_caught=started,
        ),
        "RehearsalConfigExists": choose(
            ("$contains($caught, 'already exist')", "CreateRehearsal"), default="RehearsalBroke"
        ),
        # whatever the call answered, the endpoint itself says whether it is there
        "CreateRehearsal": task(
            f"{_SDK}createEndpoint",
            "{% $plan.rehearsal.endpoint %}",
            partition=partition,
            next_state="AwaitRehearsal",
            catch="AwaitRehearsal",
            assign=started,
            assign_caught=started,
        ),
        "AwaitRehearsal": wait("{% $plan.poll_seconds %}", "DescribeRehearsal"),
        "DescribeRehearsal": task(
            f"{_SDK}describeEndpoint",
            {"EndpointName": name},
            partition=partition,
            next_state="JudgeRehearsal",
            catch="RehearsalBroke",
            assign={"rehearsal": "{% $states.result %}"},
        ),
        "JudgeRehearsal": choose(
            ("$rehearsal.EndpointStatus = 'InService'", "CheckGolden"),
            ("$rehearsal.EndpointStatus in ['Failed', 'OutOfService', 'Deleting']", "RehearsalFailed"),
            ("$toMillis($now()) > $deadline", "RehearsalLate"),
            default="AwaitRehearsal",
        ),
        "CheckGolden": _check(golden_arn, name, partition),
        "IsGolden": choose(("$golden.passed", "Rehearsed"), default="NotGolden"),
        **_verdicts(),
        **_end_states(name, next_state, partition),
    }


def synthetic_states(
    *, golden_arn: str, endpoint_name: str, next_state: str, partition: str
) -> tuple[str, dict[str, State]]:
    """Return the first state's name and the states that send synthetic calls once a poll, where the plan has any.

    A call that fails is for the alarms to judge, not for these states.

    Args:
        golden_arn: Function ``rollout_golden``.
        endpoint_name: The endpoint.
        next_state: Where to go on.
        partition: AWS partition, may be a token.
    """
    traffic = invoke(
        golden_arn,
        {
            "mode": "traffic",
            "endpoint": endpoint_name,
            "golden": "{% $plan.synthetic.golden %}",
            "calls": "{% $plan.synthetic.calls %}",
            "now": NOW,
            "execution": EXECUTION,
        },
        partition=partition,
        next_state=next_state,
        catch=next_state,
        timeout=_TRAFFIC_SECONDS,
    )
    del traffic["Catch"][0]["Assign"]
    return "HasSynthetic", {
        "HasSynthetic": choose(("$exists($plan.synthetic.golden)", "Synthesize"), default=next_state),
        "Synthesize": traffic,
    }


def _check(golden_arn: str, name: str, partition: str) -> State:
    return invoke(
        golden_arn,
        {
            "mode": "check",
            "endpoint": name,
            "golden": "{% $plan.rehearsal.golden %}",
            "live_endpoint": "{% $plan.rehearsal.live_endpoint %}",
            "now": NOW,
            "execution": EXECUTION,
        },
        partition=partition,
        next_state="IsGolden",
        catch="RehearsalBroke",
        assign={"golden": "{% $states.result.Payload %}"},
        timeout=_CHECK_SECONDS,
    )


def _verdicts() -> dict[str, State]:
    """Return what a rehearsal may come to: passed, a candidate that is no good, or nothing known of it."""
    return {
        "Rehearsed": assign("EndRehearsal", rehearsed="passed"),
        "NotGolden": assign(
            "EndRehearsal", rehearsed="turned down", reason="{% 'golden requests: ' & $golden.reason %}"
        ),
        "RehearsalFailed": assign(
            "EndRehearsal",
            rehearsed="turned down",
            reason="{% 'the candidate did not start: its rehearsal is ' & $rehearsal.EndpointStatus & "
            "($exists($rehearsal.FailureReason) ? '. ' & $rehearsal.FailureReason : '') %}",
        ),
        "RehearsalLate": assign(
            "EndRehearsal",
            rehearsed="failed",
            reason=f"{{% 'the rehearsal is still ' & $rehearsal.EndpointStatus & ' after {_START_SECONDS} s' %}}",
        ),
        "RehearsalBroke": assign(
            "EndRehearsal", rehearsed="failed", reason="{% 'the rehearsal broke off: ' & $caught %}"
        ),
    }


def _end_states(name: str, next_state: str, partition: str) -> dict[str, State]:
    return {
        "EndRehearsal": task(
            f"{_SDK}deleteEndpoint",
            {"EndpointName": name},
            partition=partition,
            next_state="DeleteRehearsalConfig",
            catch="RehearsalStays",
            retry=[THRICE_MORE],
        ),
        # SageMaker deletes no endpoint that it is still creating
        "RehearsalStays": choose(
            ("$contains($caught, 'ould not find')", "DeleteRehearsalConfig"),
            ("$toMillis($now()) > $rehearsal_until", "AfterRehearsal"),
            default="AwaitRehearsalEnd",
        ),
        "AwaitRehearsalEnd": wait("{% $plan.poll_seconds %}", "EndRehearsal"),
        "DeleteRehearsalConfig": task(
            f"{_SDK}deleteEndpointConfig",
            {"EndpointConfigName": name},
            partition=partition,
            next_state="AfterRehearsal",
            catch="AfterRehearsal",
        ),
        # one that passed has the whole rollout to be gone in; before any other end nothing of it is left
        "AfterRehearsal": choose(("$rehearsed = 'passed'", "ForgetRehearsal"), default="LookForRehearsal"),
        "ForgetRehearsal": assign(next_state, caught=""),
        "LookForRehearsal": task(
            f"{_SDK}describeEndpoint",
            {"EndpointName": name},
            partition=partition,
            next_state="IsRehearsalGone",
            catch="RehearsalGone",
            retry=[THRICE_MORE],
        ),
        "IsRehearsalGone": choose(
            ("$toMillis($now()) > $rehearsal_until", "RehearsalGone"), default="AwaitRehearsalGone"
        ),
        "AwaitRehearsalGone": wait("{% $plan.poll_seconds %}", "LookForRehearsal"),
        "RehearsalGone": choose(("$rehearsed = 'turned down'", TURNED_DOWN), default=FAILED),
    }
