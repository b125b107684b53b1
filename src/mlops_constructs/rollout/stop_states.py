"""States that stop a SageMaker rollout by setting the new fleet's alarm, which the deployment guardrails watch.

SageMaker accepts no other update while it updates an endpoint, so an alarm is the only way to stop one.
"""

from mlops_constructs._state_machine import State, task

# plans without deployment guardrails have no alarm; their rollouts are evaluated at the end
CAN_STOP = "$exists($plan.stop.alarm)"
_MAXIMUM_REASON = 1023


def stop_states(why: str, *, names: tuple[str, str], next_state: str, partition: str) -> dict[str, State]:
    """Return two states: the first publishes a metric value that keeps the alarm in ALARM, the second sets its state.

    Args:
        why: Reason, as an expression without delimiters.
        names: Names of the states.
        next_state: Next state, also after errors.
        partition: AWS partition; may be a token.
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
