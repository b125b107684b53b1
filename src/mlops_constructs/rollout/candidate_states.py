"""States that test a candidate: golden requests on a temporary endpoint (rehearsal), shadow traffic, golden requests in service."""

from collections.abc import Mapping

from mlops_constructs._state_machine import EXECUTION, NOW, State, assign, choose, invoke, on_error, task, wait
from mlops_constructs.rollout.captured_answers import pair_states
from mlops_constructs.rollout.evidence_states import (
    CAN_STOP,
    COUNTED,
    IS_DOUBTED,
    NEEDS_TRAFFIC,
    NO_VERDICT,
    STOPPED,
    WHY_DOUBTED,
    describe_endpoint,
    stop_states,
    verdict_state,
)
from mlops_constructs.rollout.rollout_policy import FAILED, PROMOTED, TURNED_DOWN

_SDK = "aws-sdk:sagemaker:"
# seconds to start instances; an endpoint whose container never responds is in Creating for up to an hour, and cannot be deleted
_START_SECONDS = 1800
_END_SECONDS = 5400
# the function's timeout is 15 minutes
CHECK_SECONDS = 920
_TRAFFIC_SECONDS = 300
REHEARSAL_SECONDS = _END_SECONDS + CHECK_SECONDS
AGAIN_SECONDS = 2 * CHECK_SECONDS
# SageMaker has no specific error for missing resources: deletions retry briefly instead of by the default policy
THRICE_MORE: State = {
    "ErrorEquals": ["SageMaker.SageMakerException"],
    "IntervalSeconds": 2,
    "BackoffRate": 1,
    "MaxAttempts": 3,
}
_SERVES = "$endpoint.EndpointStatus = 'InService' and $not($exists($endpoint.PendingDeploymentSummary))"
_BROKEN = "$endpoint.EndpointStatus in ['Failed', 'OutOfService', 'UpdateRollbackFailed']"
# result before golden requests are sent again
NOT_REPEATED = {"sent": False, "passed": True, "reason": ""}
# suffix of a promotion's reason
AGAIN_PASSED = "; golden requests passed again on the serving fleet"
# why a rollout was stopped; empty if it was not
WHY_UNLIKE = "($again.passed ? '' : 'golden requests, sent again: ' & $again.reason)"
# https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html: all traffic is on the new fleet
# claim: the-bake-of-all-traffic-has-a-name
_SERVES_ALONE = (
    "$count($endpoint.PendingDeploymentSummary.ProductionVariants.VariantStatus"
    "[Status = 'Baking' and $contains(StatusMessage & '', 'full capacity')]) > 0"
)
_IS_REPEATED = "$exists($plan.again.golden)"


def rehearsal_states(*, golden_arn: str, next_state: str) -> tuple[str, dict[str, State]]:
    """Return the name of the first state and the states of a rehearsal, whose endpoint is deleted on every path.

    Args:
        golden_arn: ARN of the function ``rollout_golden``.
        next_state: Next state after a passed rehearsal, or if the plan has none.
    """
    started = {"deadline": _until(_START_SECONDS), "rehearsal_until": _until(_END_SECONDS)}
    name = "{% $plan.rehearsal.endpoint.EndpointName %}"
    return "HasRehearsal", {
        "HasRehearsal": choose(("$exists($plan.rehearsal.golden)", "CreateRehearsalConfig"), default=next_state),
        "CreateRehearsalConfig": task(
            f"{_SDK}createEndpointConfig",
            "{% $plan.rehearsal.config %}",
            next_state="CreateRehearsal",
            catch="RehearsalConfigExists",
            assign_caught=started,
        ),
        "RehearsalConfigExists": choose(
            ("$contains($caught, 'already exist')", "CreateRehearsal"), default="RehearsalBroke"
        ),
        # regardless of the call's response, the endpoint's own state is authoritative
        "CreateRehearsal": task(
            f"{_SDK}createEndpoint",
            "{% $plan.rehearsal.endpoint %}",
            next_state="AwaitRehearsal",
            catch="AwaitRehearsal",
            assign=started,
            assign_caught=started,
        ),
        "AwaitRehearsal": wait("{% $plan.look_seconds %}", "DescribeRehearsal"),
        "DescribeRehearsal": task(
            f"{_SDK}describeEndpoint",
            {"EndpointName": name},
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
        "CheckGolden": _check(golden_arn, name),
        "IsGolden": choose(("$golden.passed", "Rehearsed"), default="NotGolden"),
        **_verdicts(),
        **_end_states(name, next_state),
    }


def synthetic_states(*, golden_arn: str, endpoint_name: str, next_state: str) -> tuple[str, dict[str, State]]:
    """Return the name of the first state and the states that send synthetic calls once per poll, if the plan has any.

    Failed calls are evaluated by the alarms, not by these states.

    Args:
        golden_arn: ARN of the function ``rollout_golden``.
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
        next_state=next_state,
        catch=next_state,
        timeout=_TRAFFIC_SECONDS,
    )
    return "HasSynthetic", {
        "HasSynthetic": choose(("$exists($plan.synthetic.golden)", "Synthesize"), default=next_state),
        "Synthesize": on_error(traffic),
    }


def _check(golden_arn: str, name: str) -> State:
    return invoke(
        golden_arn,
        {
            "mode": "check",
            "endpoint": name,
            "golden": "{% $plan.rehearsal.golden %}",
            "live_endpoint": "{% $plan.rehearsal.live_endpoint %}",
            "answers": "{% $plan.rehearsal.answers %}",
            "now": NOW,
            "execution": EXECUTION,
        },
        next_state="IsGolden",
        catch="RehearsalBroke",
        assign={"golden": "{% $states.result.Payload %}"},
        timeout=CHECK_SECONDS,
    )


def _verdicts() -> dict[str, State]:
    """Return the states of a rehearsal's results: passed, candidate rejected, or failed."""
    return {
        "Rehearsed": assign(
            "EndRehearsal",
            rehearsed="passed",
            # requests for which no comparison with the live model was possible
            shown="{% $shown & ($golden.note = '' ? '' : '; ' & $golden.note) %}",
        ),
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
        "RehearsalBroke": assign("EndRehearsal", rehearsed="failed", reason="{% 'the rehearsal failed: ' & $caught %}"),
    }


def _end_states(name: str, next_state: str) -> dict[str, State]:
    return {
        "EndRehearsal": task(
            f"{_SDK}deleteEndpoint",
            {"EndpointName": name},
            next_state="DeleteRehearsalConfig",
            catch="RehearsalStays",
            retry=[THRICE_MORE],
        ),
        # SageMaker cannot delete an endpoint while it creates it
        "RehearsalStays": choose(
            ("$contains($caught, 'ould not find')", "DeleteRehearsalConfig"),
            ("$toMillis($now()) > $rehearsal_until", "AfterRehearsal"),
            default="AwaitRehearsalEnd",
        ),
        "AwaitRehearsalEnd": wait("{% $plan.look_seconds %}", "EndRehearsal"),
        "DeleteRehearsalConfig": task(
            f"{_SDK}deleteEndpointConfig",
            {"EndpointConfigName": name},
            next_state="AfterRehearsal",
            catch="AfterRehearsal",
        ),
        # after a pass the endpoint can disappear during the rollout; before any other end, wait until it is deleted
        "AfterRehearsal": choose(("$rehearsed = 'passed'", "ForgetRehearsal"), default="LookForRehearsal"),
        "ForgetRehearsal": assign(next_state, caught=""),
        "LookForRehearsal": task(
            f"{_SDK}describeEndpoint",
            {"EndpointName": name},
            next_state="IsRehearsalGone",
            catch="RehearsalGone",
            retry=[THRICE_MORE],
        ),
        "IsRehearsalGone": choose(
            ("$toMillis($now()) > $rehearsal_until", "RehearsalGone"), default="AwaitRehearsalGone"
        ),
        "AwaitRehearsalGone": wait("{% $plan.look_seconds %}", "LookForRehearsal"),
        "RehearsalGone": choose(("$rehearsed = 'turned down'", TURNED_DOWN), default=FAILED),
    }


def bake_states(*, golden_arn: str, endpoint_name: str, next_state: str) -> tuple[tuple[str, str], dict[str, State]]:
    """Return a choice rule and the states that send golden requests once in the bake with full traffic, after enough other calls.

    While both fleets serve, a call cannot be addressed to one of them: ``TargetVariant`` selects a variant of one config, and both
    fleets have the same variants. So the requests are sent when only the new fleet serves and the old one is still running: if they
    fail, the new fleet's alarm is set, and SageMaker rolls back to the old fleet.

    Args:
        golden_arn: ARN of the function ``rollout_golden``.
    """
    repeat = _repeat_golden(golden_arn, endpoint_name, next_state="IsStillGolden", catch=next_state)
    is_time = f"{_IS_REPEATED} and $not($again.sent) and {_SERVES_ALONE} and $compared.calls >= $plan.min_invocations"
    return (is_time, "AskInBake"), {
        # after an error, the requests before the promotion decide
        "AskInBake": on_error(repeat, again={**NOT_REPEATED, "sent": True}),
        "IsStillGolden": choose((f"$not($again.passed) and {CAN_STOP}", "KeepStopped"), default=next_state),
        **stop_states(WHY_UNLIKE, names=("KeepStopped", "StopFleet"), next_state=next_state),
    }


def promotion_states(*, golden_arn: str, endpoint_name: str) -> tuple[str, dict[str, State]]:
    """Return the name of the first state and the states that send golden requests before a promotion; failures lead to ``Revert``.

    Args:
        golden_arn: ARN of the function ``rollout_golden``.
    """
    return "IsAskedAgain", {
        "IsAskedAgain": choose(("$not($again.passed)", "Unlike"), (_IS_REPEATED, "AskAgain"), default=PROMOTED),
        "AskAgain": _repeat_golden(golden_arn, endpoint_name, next_state="IsGoldenAgain", catch="AgainUnknown"),
        "IsGoldenAgain": choose(("$again.passed", "GoldenAgain"), default="Unlike"),
        "GoldenAgain": assign(PROMOTED, shown=f"{{% $shown & '{AGAIN_PASSED}' %}}"),
        "Unlike": assign("Revert", reason=f"{{% {WHY_UNLIKE} %}}"),
        "AgainUnknown": assign("Revert", reason="{% 'golden requests could not be sent again: ' & $caught %}"),
    }


def _repeat_golden(golden_arn: str, endpoint_name: str, *, next_state: str, catch: str) -> State:
    return golden_state(
        golden_arn,
        {"mode": "again", "endpoint": endpoint_name},
        part="again",
        next_state=next_state,
        catch=catch,
        answer={"again": "{% $merge([$states.result.Payload, {'sent': true}]) %}"},
    )


def golden_state(
    golden_arn: str,
    arguments: Mapping[str, object],
    *,
    part: str,
    next_state: str,
    catch: str,
    answer: Mapping[str, object],
) -> State:
    """Return the state that sends the golden requests of a part of the plan and compares the answers.

    Args:
        golden_arn: ARN of the function ``rollout_golden``.
        arguments: Mode of the function, and where it sends the requests.
        part: Field of the plan: ``rehearsal`` or ``again``.
        catch: Next state after an error.
        answer: Variables to set from the result.
    """
    return invoke(
        golden_arn,
        {
            **arguments,
            "golden": f"{{% $plan.{part}.golden %}}",
            "answers": f"{{% $plan.{part}.answers %}}",
            "now": NOW,
            "execution": EXECUTION,
        },
        next_state=next_state,
        catch=catch,
        assign=answer,
        timeout=CHECK_SECONDS,
    )


def shadow_states(
    *,
    endpoint_name: str,
    verdict_arn: str,
    limit: int,
    next_state: str,
    answers_arn: str | None = None,
) -> tuple[str, dict[str, State]]:
    """Return the name of the first state and the states from a config with a shadow back to the live config.

    Args:
        verdict_arn: ARN of the function ``rollout_verdict``.
        limit: Maximum duration of each of the two updates in seconds.
        next_state: Next state after a passed shadow, or if the plan has none.
        answers_arn: ARN of the function ``rollout_answers``. Default: captures are not read.
    """
    passed, pairs = ("ShadowPassed", {}) if answers_arn is None else pair_states(answers_arn=answers_arn)
    return "HasShadow", {
        "HasShadow": choose(("$exists($plan.shadow.config)", "CreateShadowConfig"), default=next_state),
        **_start_states(endpoint_name, limit),
        **_compare_states(verdict_arn, passed),
        **_limit_states(endpoint_name, passed),
        **pairs,
        **_shadow_end_states(endpoint_name, limit, next_state),
    }


def _start_states(endpoint_name: str, limit: int) -> dict[str, State]:
    # the candidate's model is in use while the shadow may exist
    applied = {"deadline": _until(limit), "applied": True, "orphan": False}
    return {
        "CreateShadowConfig": task(
            f"{_SDK}createEndpointConfig",
            "{% $plan.shadow.config %}",
            next_state="StartShadow",
            catch="ShadowConfigExists",
        ),
        "ShadowConfigExists": choose(("$contains($caught, 'already exist')", "StartShadow"), default="Caught"),
        "StartShadow": task(
            f"{_SDK}updateEndpoint",
            "{% $plan.shadow.update %}",
            next_state="AwaitShadow",
            catch="AwaitShadow",
            assign={**applied, "shadow_from": NOW},
            assign_caught={**applied, "shadow_from": NOW},
        ),
        "AwaitShadow": wait("{% $plan.look_seconds %}", "DescribeShadow"),
        "DescribeShadow": describe_endpoint(endpoint_name, "JudgeShadow", catch="IsShadowLate"),
        # errors of the call do not stop the update, so only the deadline ends the wait
        "IsShadowLate": choose(("$toMillis($now()) > $deadline", "ShadowBroke"), default="AwaitShadow"),
        "JudgeShadow": choose(
            (f"{_SERVES} and $endpoint.EndpointConfigName = $plan.shadow.config.EndpointConfigName", "BakeShadow"),
            (_SERVES, "ShadowNotStarted"),
            (_BROKEN, "ShadowBroke"),
            ("$toMillis($now()) > $deadline", "ShadowBroke"),
            default="AwaitShadow",
        ),
        "ShadowNotStarted": assign(
            "ShadowEnded",
            shadowed="turned down",
            reason="{% $join(['the candidate did not start as a shadow', $endpoint.FailureReason, $caught][$ != ''], '. ') %}",
        ),
        "ShadowBroke": assign(
            FAILED,
            reason="{% $join([$reason, 'with a shadow: endpoint is ' & $endpoint.EndpointStatus][$ != ''], '. ') %}",
        ),
        "BakeShadow": wait("{% $plan.shadow.bake %}", "CompareShadow"),
    }


def _compare_states(verdict_arn: str, passed: str) -> dict[str, State]:
    """Return the states that compare the shadow with the live model over the same minutes, as for a new fleet."""
    return {
        "CompareShadow": verdict_state(
            verdict_arn=verdict_arn,
            next_state="IsShadowWorse",
            catch="ShadowUnknown",
            what="$plan.shadow.verdict",
            since="$shadow_from",
        ),
        "IsShadowWorse": choose(
            (STOPPED, "ShadowWorse"),
            (IS_DOUBTED, "ShadowDoubted"),
            ("$compared.calls < $plan.min_invocations", "TooFewShadowCalls"),
            ("$plan.shadow.max_errors >= 0 or $plan.shadow.max_latency > 0", "CountShadowErrors"),
            default=passed,
        ),
        "ShadowWorse": assign(
            "EndShadow",
            shadowed="turned down",
            reason="{% 'the shadow was rejected ' & $compared.sentence %}",
        ),
        "ShadowDoubted": assign("EndShadow", shadowed="turned down", reason=f"{{% {WHY_DOUBTED} %}}"),
        "ShadowPassed": assign("EndShadow", shadowed="passed"),
        "TooFewShadowCalls": assign(
            "EndShadow",
            shadowed="turned down",
            reason="{% 'the shadow answered ' & $string($compared.calls) & ' calls, a promotion needs ' & "
            f"$string($plan.min_invocations) & {COUNTED} & '{NEEDS_TRAFFIC}' %}}",
        ),
        "ShadowUnknown": assign(
            "EndShadow", shadowed="failed", reason="{% 'the shadow could not be evaluated: ' & $caught %}"
        ),
    }


def _limit_states(endpoint_name: str, passed: str) -> dict[str, State]:
    def query(metric: str, statistic: Mapping[str, object], read: str, variable: str, next_state: str) -> State:
        dimensions = {"EndpointName": endpoint_name, "VariantName": "{% $plan.shadow.variant %}"}
        values = f"$map([$states.result.Datapoints], function($d) {{ $number({read}) }})"
        return task(
            "aws-sdk:cloudwatch:getMetricStatistics",
            {
                "Namespace": "AWS/SageMaker",
                "MetricName": metric,
                "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
                "StartTime": "{% $shadow_from %}",
                "EndTime": NOW,
                "Period": "{% $plan.shadow.period %}",
                **statistic,
            },
            next_state=next_state,
            catch="ShadowUnknown",
            assign={variable: f"{{% $count($states.result.Datapoints) = 0 ? [] : [{values}] %}}"},
        )

    summed = {"Statistics": ["Sum"]}
    return {
        "CountShadowErrors": query("InvocationModelErrors", summed, "$d.Sum", "shadow_errors", "AskShadowLatency"),
        "AskShadowLatency": query(
            "ModelLatency",
            {"ExtendedStatistics": ["p95"]},
            "$d.ExtendedStatistics.p95",
            "shadow_latency",
            "IsShadowGood",
        ),
        "IsShadowGood": choose(
            (
                "$plan.shadow.max_errors >= 0 and $max($append(0, $shadow_errors)) > $plan.shadow.max_errors",
                "ShadowErred",
            ),
            (
                "$plan.shadow.max_latency > 0 and $max($append(0, $shadow_latency)) > $plan.shadow.max_latency",
                "ShadowSlow",
            ),
            default=passed,
        ),
        "ShadowErred": assign(
            "EndShadow",
            shadowed="turned down",
            reason="{% 'the shadow had ' & $string($max($append(0, $shadow_errors))) & ' errors in ' & "
            "$string($plan.shadow.period) & ' s, at most ' & $string($plan.shadow.max_errors) & ' are accepted' %}",
        ),
        "ShadowSlow": assign(
            "EndShadow",
            shadowed="turned down",
            reason="{% 'the shadow took ' & $string($max($append(0, $shadow_latency)) / 1000) & ' ms (95th percentile), at most '"
            " & $string($plan.shadow.max_latency / 1000) & ' are accepted' %}",
        ),
    }


def _shadow_end_states(endpoint_name: str, limit: int, next_state: str) -> dict[str, State]:
    deadline = {"deadline": _until(limit)}
    return {
        "EndShadow": task(
            f"{_SDK}updateEndpoint",
            "{% $plan.revert_endpoint %}",
            next_state="AwaitShadowEnd",
            catch="AwaitShadowEnd",
            assign=deadline,
            assign_caught=deadline,
        ),
        "AwaitShadowEnd": wait("{% $plan.look_seconds %}", "DescribeShadowEnd"),
        "DescribeShadowEnd": describe_endpoint(endpoint_name, "JudgeShadowEnd", catch="IsShadowEndLate"),
        "IsShadowEndLate": choose(("$toMillis($now()) > $deadline", "ShadowBroke"), default="AwaitShadowEnd"),
        "JudgeShadowEnd": choose(
            (f"{_SERVES} and $endpoint.EndpointConfigName = $plan.previous_config", "ShadowEnded"),
            (_SERVES, "ShadowBroke"),
            (_BROKEN, "ShadowBroke"),
            ("$toMillis($now()) > $deadline", "ShadowBroke"),
            default="AwaitShadowEnd",
        ),
        "ShadowEnded": assign("DeleteShadowConfig", orphan=True),
        "DeleteShadowConfig": task(
            f"{_SDK}deleteEndpointConfig",
            {"EndpointConfigName": "{% $plan.shadow.config.EndpointConfigName %}"},
            next_state="AfterShadow",
            catch="AfterShadow",
        ),
        "AfterShadow": choose(
            ("$shadowed = 'passed'", "ForgetShadow"), ("$shadowed = 'turned down'", TURNED_DOWN), default=FAILED
        ),
        # the rollout is compared over its own minutes only
        "ForgetShadow": assign(next_state, caught="", compared=NO_VERDICT),
    }


def _until(seconds: int) -> str:
    return f"{{% $toMillis($now()) + {seconds * 1000} %}}"
