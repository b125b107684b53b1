"""States that check whether captured responses contain readable numbers: during the bake, and before a promotion.

Metrics count errors by status code only; captures also show error bodies with status 200.
"""

from mlops_constructs._state_machine import NOW, State, assign, choose, invoke
from mlops_constructs.rollout.stop_states import CAN_STOP, stop_states

# result before the first check, and time of the next check
UNREAD: dict[str, object] = {"bodies": {"is_stopped": False, "sentence": ""}, "bodies_at": 0}
# why a rollout was stopped; empty if it was not
WHY_UNREADABLE = "($bodies.is_stopped ? 'stopped ' & $bodies.sentence : '')"
_ASKS = "$exists($plan.bodies.destination)"
# the function's timeout is one minute
_SECONDS = 70
# maximum number of checks, which the execution history of the longest rollout has room for, and minimum interval
_CALLS, _LEAST_SECONDS = 60, 120


def ask_body_states(
    *, answers_arn: str, maximum: int, next_state: str, partition: str
) -> tuple[tuple[str, str], dict[str, State]]:
    """Return a choice rule and the states that check captures during the bake; errors are ignored.

    Args:
        answers_arn: ARN of the function ``rollout_answers``.
        maximum: Maximum duration of a rollout in seconds.
        next_state: Next state.
        partition: AWS partition; may be a token.
    """
    every = max(_LEAST_SECONDS, -(-maximum // _CALLS))
    ask = _ask(answers_arn, partition, next_state="AreReadable", catch=next_state)
    later = {"bodies_at": f"{{% $toMillis($now()) + {1000 * every} %}}"}
    ask["Assign"] |= later
    ask["Catch"][0]["Assign"] = later
    is_time = f"{_ASKS} and $not($bodies.is_stopped) and $toMillis($now()) >= $bodies_at"
    return (is_time, "AskBodies"), {
        "AskBodies": ask,
        "AreReadable": choose((f"$bodies.is_stopped and {CAN_STOP}", "KeepUnread"), default=next_state),
        **stop_states(WHY_UNREADABLE, names=("KeepUnread", "StopUnread"), next_state=next_state, partition=partition),
    }


def last_body_states(*, answers_arn: str, next_state: str, partition: str) -> tuple[str, dict[str, State]]:
    """Return the name of the first state and the states that check captures before a promotion; a stop leads to ``Revert``.

    Captures that cannot be read do not stop the promotion, but its record mentions them.

    Args:
        answers_arn: ARN of the function ``rollout_answers``.
        next_state: Next state.
        partition: AWS partition; may be a token.
    """
    return "HasLastBodies", {
        "HasLastBodies": choose(("$bodies.is_stopped", "Unreadable"), (_ASKS, "LastBodies"), default=next_state),
        "LastBodies": _ask(answers_arn, partition, next_state="AreLastReadable", catch="BodiesUnknown"),
        "AreLastReadable": choose(("$bodies.is_stopped", "Unreadable"), default="Readable"),
        "Readable": assign(next_state, shown="{% $shown & '; ' & $bodies.sentence %}"),
        "BodiesUnknown": assign(next_state, shown="{% $shown & '; captured answers could not be read' %}"),
        "Unreadable": assign("Revert", reason=f"{{% {WHY_UNREADABLE} %}}"),
    }


def _ask(answers_arn: str, partition: str, *, next_state: str, catch: str) -> State:
    state = invoke(
        answers_arn,
        {"bodies": "{% $plan.bodies %}", "now": NOW},
        partition=partition,
        next_state=next_state,
        catch=catch,
        assign={"bodies": "{% $states.result.Payload %}"},
        timeout=_SECONDS,
    )
    del state["Catch"][0]["Assign"]
    return state
