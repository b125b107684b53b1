"""States that ask whether captured answers have readable numbers: while a rollout bakes, and before a promotion.

Metrics call an answer an error by its status alone; a body that says an error under 200 is one as well, which captures show.
"""

from mlops_constructs._state_machine import NOW, State, assign, choose, invoke
from mlops_constructs.rollout.stop_states import CAN_STOP, stop_states

# what is known before the first answer, and when to ask
UNREAD: dict[str, object] = {"bodies": {"is_stopped": False, "sentence": ""}, "bodies_at": 0}
# why a rollout was stopped; empty where it was not
WHY_UNREADABLE = "($bodies.is_stopped ? 'stopped ' & $bodies.sentence : '')"
_ASKS = "$exists($plan.bodies.destination)"
# the function itself ends after a minute
_SECONDS = 70
# of so many calls the events of the longest rollout's history have room
_CALLS, _LEAST_SECONDS = 60, 120


def ask_body_states(
    *, answers_arn: str, maximum: int, next_state: str, partition: str
) -> tuple[tuple[str, str], dict[str, State]]:
    """Return when to ask, as an arm of a choice, and the states that ask; an error is passed over.

    Args:
        answers_arn: Function ``rollout_answers``.
        maximum: Seconds that a rollout may take.
        next_state: Where to go on.
        partition: AWS partition, may be a token.
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
    """Return the first state's name and the states that ask the last time before a promotion; a stop goes to ``Revert``.

    Captures that cannot be read speak against no fleet: the record of the promotion says so.

    Args:
        answers_arn: Function ``rollout_answers``.
        next_state: Where to go on.
        partition: AWS partition, may be a token.
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
