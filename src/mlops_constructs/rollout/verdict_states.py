"""States that compare the new fleet with the old one, and expressions for the comparison's result."""

from mlops_constructs._state_machine import NOW, State, choose, invoke
from mlops_runtime.rollout.verdict import BAD_ODDS

# result before the first comparison
UNASKED = {"action": "continue", "calls": 0, "evidence": 1, "minutes": 0, "sentence": ""}
STOPPED = "$compared.action = 'stop'"
# why a rollout was stopped; empty if it was not
WHY_STOPPED = f"({STOPPED} ? 'stopped ' & $compared.sentence : '')"
# a promotion requires calls, and odds of less than ten to one against the new fleet
IS_DOUBTED = f"$compared.evidence >= {BAD_ODDS:g}"
WHY_DOUBTED = "'evidence of ' & $string($floor($compared.evidence)) & ' to one speaks against the new fleet ' & $compared.sentence"
# suffix of a promotion's reason: its evidence
PROMOTED_ON = "($compared.minutes > 0 ? '; promoted ' & $compared.sentence : '')"
# counts, for reasons about too few calls or too many failures
COUNTED = "($compared.minutes > 0 ? ', ' & $compared.sentence : '')"
# argument of the recorder: the comparison, if there was one
RECORDED = "{% $compared.minutes > 0 ? $compared : null %}"
ASKS = "$exists($plan.verdict.fleet)"
_SECONDS = 60


def ask_states(*, verdict_arn: str, next_state: str, partition: str) -> tuple[str, dict[str, State]]:
    """Return the name of the first state and the states that compare once per poll, if the plan compares two fleets.

    Errors are ignored: the next poll compares again, and the alarm on a dead fleet does not depend on the comparison.

    Args:
        verdict_arn: ARN of the function ``rollout_verdict``.
        next_state: Next state.
        partition: AWS partition; may be a token.
    """
    asked = ask_verdict(verdict_arn=verdict_arn, next_state=next_state, catch=next_state, partition=partition)
    del asked["Catch"][0]["Assign"]
    # no retries after a timeout: the next poll compares again, and polling of the endpoint is delayed by one timeout only
    asked["Retry"] = [{"ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 2, "BackoffRate": 1, "MaxAttempts": 1}]
    # after a stop, the result is kept for the record
    is_open = f"{ASKS} and $not({STOPPED})"
    return "HasVerdict", {"HasVerdict": choose((is_open, "AskVerdict"), default=next_state), "AskVerdict": asked}


def ask_verdict(
    *, verdict_arn: str, next_state: str, catch: str, partition: str, what: str = "$plan.verdict", since: str = "$since"
) -> State:
    """Return the state that stores the result in ``$compared``; on a stop, the function has set the new fleet's alarm too.

    Args:
        verdict_arn: ARN of the function ``rollout_verdict``.
        next_state: Next state.
        catch: Next state after an error.
        partition: AWS partition; may be a token.
        what: Expression of the fleets to compare.
        since: Expression of the start time; empty for the plan's own.
    """
    return invoke(
        verdict_arn,
        {"verdict": f"{{% {what} %}}", "since": f"{{% {since} %}}", "now": NOW},
        partition=partition,
        next_state=next_state,
        catch=catch,
        assign={"compared": "{% $states.result.Payload %}"},
        timeout=_SECONDS,
    )
