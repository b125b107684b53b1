"""States that stop a rollout of SageMaker: they set the alarm of the new fleet, which the guardrail watches.

While SageMaker updates an endpoint it takes no other update, so an alarm is the only way to stop it.
"""

from mlops_constructs._state_machine import State, task

# a plan without a guardrail has no alarm: its rollout is evaluated at its end
CAN_STOP = "$exists($plan.stop.alarm)"
_MAXIMUM_REASON = 1023


def stop_states(why: str, *, names: tuple[str, str], next_state: str, partition: str) -> dict[str, State]:
    """Return two states: the first publishes the value that keeps the alarm in ALARM, the second sets it.

    Args:
        why: The reason, as an expression without its braces.
        names: Of the states.
        next_state: Where to go on, whether it could be set or not.
        partition: AWS partition, may be a token.
    """

    def call(action: str, arguments: object, after: str) -> State:
        state = task(f"aws-sdk:cloudwatch:{action}", arguments, partition=partition, next_state=after, catch=after)
        del state["Catch"][0]["Assign"]
        return state

    keep, stop = names
    reason = f"{{% $substring({why}, 0, {_MAXIMUM_REASON}) %}}"
    alarm = {"AlarmName": "{% $plan.stop.alarm %}", "StateValue": "ALARM", "StateReason": reason}
    return {
        keep: call("putMetricData", "{% $plan.stop.metric %}", stop),
        stop: call("setAlarmState", alarm, next_state),
    }
