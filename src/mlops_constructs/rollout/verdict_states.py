"""States that ask how the new fleet compares with the old one, and the sentence of the answer."""

from mlops_constructs._state_machine import NOW, State, choose, invoke
from mlops_runtime.rollout.verdict import BAD_ODDS

# what is known before the first answer
UNASKED = {"action": "continue", "calls": 0, "evidence": 1, "minutes": 0, "sentence": ""}
STOPPED = "$compared.action = 'stop'"
# why a rollout was stopped; empty where it was not
WHY_STOPPED = f"({STOPPED} ? 'stopped ' & $compared.sentence : '')"
# a promotion needs calls, and no evidence of ten to one against it
IS_DOUBTED = f"$compared.evidence >= {BAD_ODDS:g}"
WHY_DOUBTED = "'evidence of ' & $string($floor($compared.evidence)) & ' to one speaks against the new fleet ' & $compared.sentence"
# the evidence of a promotion, as the end of its reason
PROMOTED_ON = "($compared.minutes > 0 ? '; promoted ' & $compared.sentence : '')"
# what was counted where that is too little, or all of it failed
COUNTED = "($compared.minutes > 0 ? ', ' & $compared.sentence : '')"
# the argument of the recorder: what was compared, if anything was
RECORDED = "{% $compared.minutes > 0 ? $compared : null %}"
ASKS = "$exists($plan.verdict.fleet)"
_SECONDS = 60


def ask_states(*, verdict_arn: str, next_state: str, partition: str) -> tuple[str, dict[str, State]]:
    """Return the first state's name and the states that ask once a poll, where the plan compares two fleets.

    An error is passed over: the next poll asks again, and the alarm on a dead fleet needs no answer.

    Args:
        verdict_arn: Function ``rollout_verdict``.
        next_state: Where to go on.
        partition: AWS partition, may be a token.
    """
    asked = ask_verdict(verdict_arn=verdict_arn, next_state=next_state, catch=next_state, partition=partition)
    del asked["Catch"][0]["Assign"]
    # a function that hangs is asked again by the next poll, and delays the endpoint's own state by one time limit only
    asked["Retry"] = [{"ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 2, "BackoffRate": 1, "MaxAttempts": 1}]
    # an answer that stopped the rollout is the one that its record has
    is_open = f"{ASKS} and $not({STOPPED})"
    return "HasVerdict", {"HasVerdict": choose((is_open, "AskVerdict"), default=next_state), "AskVerdict": asked}


def ask_verdict(
    *, verdict_arn: str, next_state: str, catch: str, partition: str, what: str = "$plan.verdict", since: str = "$since"
) -> State:
    """Return the state that stores the answer in ``$compared``; one that stops has set the alarm of the new fleet too.

    Args:
        verdict_arn: Function ``rollout_verdict``.
        next_state: Where to go on.
        catch: Where to go on if it does not answer.
        partition: AWS partition, may be a token.
        what: Expression of what is compared.
        since: Expression of the time since when; empty where the plan's own counts.
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
