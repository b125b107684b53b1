"""States in which a candidate gets copies of calls beside the live model, which alone answers, and is judged by them.

The endpoint is brought to a config with a shadow variant and back again: the rollout itself then starts from the live config, as
SageMaker moves traffic in steps between equal sets of variants only.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-shadow-deployment.html
and https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-exclusions.html
"""

from collections.abc import Mapping

from mlops_constructs._states import NOW, State, assign, choose, task, wait
from mlops_constructs.rollout.policy import FAILED, TURNED_DOWN

_SDK = "aws-sdk:sagemaker:"
_SERVES = "$endpoint.EndpointStatus = 'InService' and $not($exists($endpoint.PendingDeploymentSummary))"
_BROKEN = "$endpoint.EndpointStatus in ['Failed', 'OutOfService', 'UpdateRollbackFailed']"


def shadow_states(*, endpoint_name: str, limit: int, next_state: str, partition: str) -> tuple[str, dict[str, State]]:
    """Return the first state's name and the states from a config with a shadow back to the live one.

    Args:
        endpoint_name: The endpoint.
        limit: Seconds that each of the two updates may take.
        next_state: Where to go on after it was passed, or where the plan has none.
        partition: AWS partition, may be a token.
    """
    return "HasShadow", {
        "HasShadow": choose(("$exists($plan.shadow.config)", "CreateShadowConfig"), default=next_state),
        **_start_states(endpoint_name, limit, partition),
        **_judge_states(endpoint_name, partition),
        **_end_states(endpoint_name, limit, next_state, partition),
    }


def _start_states(endpoint_name: str, limit: int, partition: str) -> dict[str, State]:
    # as long as the shadow may serve, the candidate's model is in use
    applied = {"deadline": _until(limit), "applied": True, "orphan": False}
    return {
        "CreateShadowConfig": task(
            f"{_SDK}createEndpointConfig",
            "{% $plan.shadow.config %}",
            partition=partition,
            next_state="StartShadow",
            catch="ShadowConfigExists",
        ),
        "ShadowConfigExists": choose(("$contains($caught, 'already exist')", "StartShadow"), default="Caught"),
        "StartShadow": task(
            f"{_SDK}updateEndpoint",
            "{% $plan.shadow.update %}",
            partition=partition,
            next_state="AwaitShadow",
            catch="AwaitShadow",
            assign={**applied, "shadow_from": NOW},
            assign_caught={**applied, "shadow_from": NOW},
        ),
        "AwaitShadow": wait("{% $plan.poll_seconds %}", "DescribeShadow"),
        "DescribeShadow": _describe(endpoint_name, "JudgeShadow", "IsShadowLate", partition),
        # what has begun goes on whether it can be read or not: only time ends the wait
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
        "BakeShadow": wait("{% $plan.shadow.bake %}", "CountShadowCalls"),
    }


def _judge_states(endpoint_name: str, partition: str) -> dict[str, State]:
    def ask(metric: str, statistic: Mapping[str, object], read: str, variable: str, next_state: str) -> State:
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
            partition=partition,
            next_state=next_state,
            catch="ShadowUnknown",
            assign={variable: f"{{% $count($states.result.Datapoints) = 0 ? [] : [{values}] %}}"},
        )

    summed = {"Statistics": ["Sum"]}
    return {
        "CountShadowCalls": ask("Invocations", summed, "$d.Sum", "shadow_calls", "CountShadowErrors"),
        "CountShadowErrors": ask("InvocationModelErrors", summed, "$d.Sum", "shadow_errors", "AskShadowLatency"),
        "AskShadowLatency": ask(
            "ModelLatency",
            {"ExtendedStatistics": ["p95"]},
            "$d.ExtendedStatistics.p95",
            "shadow_latency",
            "IsShadowGood",
        ),
        "IsShadowGood": choose(
            ("$sum($append(0, $shadow_calls)) < $plan.min_invocations", "TooFewShadowCalls"),
            ("$max($append(0, $shadow_errors)) > $plan.shadow.max_errors", "ShadowErred"),
            (
                "$plan.shadow.max_latency > 0 and $max($append(0, $shadow_latency)) > $plan.shadow.max_latency",
                "ShadowSlow",
            ),
            default="ShadowPassed",
        ),
        "ShadowPassed": assign("EndShadow", shadowed="passed"),
        "TooFewShadowCalls": assign(
            "EndShadow",
            shadowed="turned down",
            reason="{% 'the shadow got ' & $string($sum($append(0, $shadow_calls))) & ' calls, a promotion needs ' & "
            "$string($plan.min_invocations) %}",
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
        "ShadowUnknown": assign(
            "EndShadow", shadowed="failed", reason="{% 'the shadow could not be judged: ' & $caught %}"
        ),
    }


def _end_states(endpoint_name: str, limit: int, next_state: str, partition: str) -> dict[str, State]:
    deadline = {"deadline": _until(limit)}
    return {
        "EndShadow": task(
            f"{_SDK}updateEndpoint",
            "{% $plan.revert_endpoint %}",
            partition=partition,
            next_state="AwaitShadowEnd",
            catch="AwaitShadowEnd",
            assign=deadline,
            assign_caught=deadline,
        ),
        "AwaitShadowEnd": wait("{% $plan.poll_seconds %}", "DescribeShadowEnd"),
        "DescribeShadowEnd": _describe(endpoint_name, "JudgeShadowEnd", "IsShadowEndLate", partition),
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
            partition=partition,
            next_state="AfterShadow",
            catch="AfterShadow",
        ),
        "AfterShadow": choose(
            ("$shadowed = 'passed'", "ForgetShadow"), ("$shadowed = 'turned down'", TURNED_DOWN), default=FAILED
        ),
        "ForgetShadow": assign(next_state, caught=""),
    }


def _until(seconds: int) -> str:
    return f"{{% $toMillis($now()) + {seconds * 1000} %}}"


def _describe(endpoint_name: str, next_state: str, catch: str, partition: str) -> State:
    return task(
        f"{_SDK}describeEndpoint",
        {"EndpointName": endpoint_name},
        partition=partition,
        next_state=next_state,
        catch=catch,
        assign={"endpoint": "{% $states.result %}"},
    )
