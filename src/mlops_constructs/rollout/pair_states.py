"""States that compare captured responses of a shadow with the live model's responses to the same requests."""

from mlops_constructs._state_machine import NOW, State, assign, choose, invoke, wait

# https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture.html: captures come some minutes late
_LATE_SECONDS = 300
_SECONDS = 70
PAIRS_SECONDS = _LATE_SECONDS + _SECONDS


def pair_states(*, answers_arn: str, partition: str) -> tuple[str, dict[str, State]]:
    """Return the name of the first state and the states between a shadow's other checks and ``ShadowPassed``.

    Args:
        answers_arn: ARN of the function ``rollout_answers``.
        partition: AWS partition; may be a token.
    """

    def rejected(reason: str) -> State:
        return assign("EndShadow", shadowed="turned down", reason=f"{{% {reason} %}}")

    return "HasPairs", {
        "HasPairs": choose(("$exists($plan.shadow.pairs.tolerance)", "AwaitCaptures"), default="ShadowPassed"),
        "AwaitCaptures": wait(_LATE_SECONDS, "ComparePairs"),
        "ComparePairs": invoke(
            answers_arn,
            {"pairs": "{% $plan.shadow.pairs %}", "since": "{% $shadow_from %}", "now": NOW},
            partition=partition,
            next_state="ArePairsGood",
            catch="ShadowUnknown",
            assign={"pairs": "{% $states.result.Payload %}"},
            timeout=_SECONDS,
        ),
        "ArePairsGood": choose(
            ("$pairs.pairs < $plan.min_invocations", "TooFewPairs"),
            ("$pairs.passed", "PairsPassed"),
            default="PairsApart",
        ),
        "PairsPassed": assign("ShadowPassed", shown="{% $shown & '; ' & $pairs.sentence %}"),
        "PairsApart": rejected("'the shadow was rejected: ' & $pairs.sentence"),
        "TooFewPairs": rejected(
            "'captures have ' & $string($pairs.pairs) & ' pairs of answers of the shadow and the live model, a promotion needs ' "
            "& $string($plan.min_invocations)"
        ),
    }
