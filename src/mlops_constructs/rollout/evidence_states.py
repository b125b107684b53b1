"""States that decide whether a new fleet stays: no alarm in ALARM, not worse than the old fleet, and enough calls."""

from mlops_constructs._state_machine import CAUGHT, NOW, State, assign, choose, each, fail, invoke, on_error, task, wait
from mlops_constructs.rollout.rollout_policy import FAILED, PROMOTED, ROLLED_BACK
from mlops_runtime.rollout.verdict import BAD_ODDS

# how to fix too few calls; inside a JSONata string
NEEDS_TRAFFIC = (
    "; evidence needs traffic while it bakes: mlops traffic replay FILE --time COLUMN --now sends the rows of a file"
)
# sentence with the alarms in ALARM, set by ``look_at_alarms``
FIRING = "$firing"
FIRING_REASON = 200  # maximum characters of an alarm's reason in the sentence
_FIRING = f"""{{% (
    $alarms := [$states.result.MetricAlarms, $states.result.CompositeAlarms][StateValue = 'ALARM'];
    $count($alarms) = 0 ? '' : 'in ALARM: ' & $join(
        $map($alarms, function($a) {{ $a.AlarmName & ' (' & $substring($a.StateReason & '', 0, {FIRING_REASON}) & ')' }}), ', ')
) %}}"""
# an alarm that is deleted during a rollout can no longer stop it
# claim: a-deleted-alarm-watches-nothing
DELETED_ALARMS = "$gone"
_DELETED_ALARMS = """{% (
    $there := [$states.result.MetricAlarms, $states.result.CompositeAlarms].AlarmName;
    $absent := [$plan.watched][$not($ in $there)];
    $count($absent) = 0 ? '' : '; deleted meanwhile, so no longer watched: ' & $join($absent, ', ')
) %}"""
# result before the first comparison
NO_VERDICT = {"action": "continue", "calls": 0, "evidence": 1, "minutes": 0, "sentence": ""}
STOPPED = "$compared.action = 'stop'"
# why a rollout was stopped; empty if it was not
WHY_STOPPED = f"({STOPPED} ? 'stopped ' & $compared.sentence : '')"
# a promotion requires calls, and odds of less than ten to one against the new fleet
IS_DOUBTED = f"$compared.evidence >= {BAD_ODDS:g}"
WHY_DOUBTED = (
    "'evidence of ' & $string($floor($compared.evidence)) & ' to 1 against the new fleet ' & $compared.sentence"
)
# suffix of a promotion's reason: its evidence
PROMOTED_ON = "($compared.minutes > 0 ? '; promoted ' & $compared.sentence : '')"
# counts, for reasons about too few calls or too many failures
COUNTED = "($compared.minutes > 0 ? ', ' & $compared.sentence : '')"
# argument of the recorder: the comparison, if there was one
RECORDED = "{% $compared.minutes > 0 ? $compared : null %}"
# whether the plan compares two fleets
COMPARES = "$exists($plan.verdict.fleet)"
_VERDICT_SECONDS = 60
# plans without deployment guardrails have no alarm; their rollouts are evaluated at the end
CAN_STOP = "$exists($plan.stop.alarm)"
_MAXIMUM_REASON = 1023


def put_alarms_states(*, next_state: str, catch: str) -> dict[str, State]:
    """Return the state ``PutAlarms``, which creates ``$plan.alarms``, whose dimensions are known only at run time.

    Args:
        catch: Next state after an error, which is in ``$caught``.
    """
    alarm = task("aws-sdk:cloudwatch:putMetricAlarm", "{% $states.input %}", next_state="", catch="AlarmFailed")
    del alarm["Next"]
    states = {
        "PutAlarm": on_error(alarm, alarm_error=CAUGHT) | {"End": True},
        "AlarmFailed": fail("PutAlarmFailed", "{% $alarm_error %}"),
    }
    return {"PutAlarms": each("{% [$plan.alarms] %}", states, next_state=next_state, catch=catch)}


def look_at_alarms(*, next_state: str, catch: str) -> State:
    """Return the state that sets ``$firing`` to a sentence with the alarms of ``$plan.watched`` in ALARM, or to ''.

    ``$gone`` is set to a sentence with alarms that were deleted during the rollout, for the record.
    """
    return task(
        "aws-sdk:cloudwatch:describeAlarms",
        {"AlarmNames": "{% [$plan.watched] %}", "AlarmTypes": ["MetricAlarm", "CompositeAlarm"]},
        next_state=next_state,
        catch=catch,
        assign={"firing": _FIRING, "gone": _DELETED_ALARMS},
    )


def stop_states(why: str, *, names: tuple[str, str], next_state: str) -> dict[str, State]:
    """Return two states that stop a rollout: a metric value keeps the new fleet's alarm in ALARM, then its state is set.

    The deployment guardrails watch the alarm. SageMaker accepts no other update while it updates an endpoint, so an alarm is the
    only way to stop one.

    Args:
        why: Reason, as an expression without delimiters.
        names: Names of the states.
        next_state: Next state, also after errors.
    """

    def call(action: str, arguments: object, after: str) -> State:
        return on_error(task(f"aws-sdk:cloudwatch:{action}", arguments, next_state=after, catch=after))

    keep, stop = names
    reason = f"{{% $substring({why}, 0, {_MAXIMUM_REASON}) %}}"
    alarm = {"AlarmName": "{% $plan.stop.alarm %}", "StateValue": "ALARM", "StateReason": reason}
    return {
        keep: call("putMetricData", "{% $plan.stop.metric %}", stop),
        stop: call("setAlarmState", alarm, next_state),
    }


def describe_endpoint(endpoint_name: str, next_state: str, *, catch: str = "Caught") -> State:
    """Return the state that reads the endpoint into ``$endpoint``."""
    return task(
        "aws-sdk:sagemaker:describeEndpoint",
        {"EndpointName": endpoint_name},
        next_state=next_state,
        catch=catch,
        assign={"endpoint": "{% $states.result %}"},
    )


def evidence_states(*, endpoint_name: str, verdict_arn: str, limit: int, promoted: str = PROMOTED) -> dict[str, State]:
    """Return the states from ``IsWatched``, where the new config serves, to an exit.

    SageMaker watches alarms until the old fleet is removed. The states check once more for an alarm of the last seconds or a user's
    abort; a requested rollback is not checked.

    Args:
        verdict_arn: ARN of the function ``rollout_verdict``.
        limit: Maximum duration of rolling back in seconds.
        promoted: Next state of a fleet that passes. Default: its promotion.
    """
    return {
        "IsWatched": choose(
            (
                "$plan.action in ['update', 'adopt'] and $request.reason != 'rollback' and $count($plan.watched) > 0",
                "LastLook",
            ),
            default=promoted,
        ),
        "LastLook": look_at_alarms(next_state="IsQuiet", catch="NoEvidence"),
        "IsQuiet": choose(("$firing = ''", "NeedsEvidence"), default="AlarmFires"),
        "AlarmFires": assign("Revert", reason="{% $firing %}"),
        "NeedsEvidence": choose((f"{COMPARES} and {STOPPED}", "Stopped"), (COMPARES, "LastVerdict"), default=promoted),
        "LastVerdict": verdict_state(verdict_arn=verdict_arn, next_state="IsEvidenceEnough", catch="NoEvidence"),
        "IsEvidenceEnough": choose(
            (STOPPED, "Stopped"),
            (IS_DOUBTED, "Doubted"),
            ("$compared.calls >= $plan.min_invocations", promoted),
            default="TooLittleEvidence",
        ),
        "Stopped": assign("Revert", reason=f"{{% {WHY_STOPPED} %}}"),
        "Doubted": assign("Revert", reason=f"{{% {WHY_DOUBTED} %}}"),
        "NoEvidence": assign("Revert", reason="{% 'alarms or invocations could not be read: ' & $caught %}"),
        "TooLittleEvidence": assign(
            "Revert",
            reason="{% 'the new fleet served ' & $string($compared.calls) & ' invocations, a promotion needs ' & "
            f"$string($plan.min_invocations) & {COUNTED} & '{NEEDS_TRAFFIC}' %}}",
        ),
        **_revert_states(endpoint_name, limit),
    }


def _revert_states(endpoint_name: str, limit: int) -> dict[str, State]:
    deadline = {"deadline": f"{{% $toMillis($now()) + {limit * 1000} %}}"}
    settled = "$not($exists($endpoint.PendingDeploymentSummary))"
    return {
        "Revert": task(
            "aws-sdk:sagemaker:updateEndpoint",
            "{% $plan.revert_endpoint %}",
            next_state="AwaitRevert",
            catch="AwaitRevert",
            assign=deadline,
            assign_caught=deadline,
        ),
        "AwaitRevert": wait("{% $plan.look_seconds %}", "DescribeReverted"),
        "DescribeReverted": describe_endpoint(endpoint_name, "JudgeReverted", catch="IsRevertLate"),
        # errors of the call do not stop the update, so only the deadline ends the wait
        "IsRevertLate": choose(("$toMillis($now()) > $deadline", "RevertFailed"), default="AwaitRevert"),
        "JudgeReverted": choose(
            (
                "$endpoint.EndpointStatus = 'InService' and $endpoint.EndpointConfigName = $plan.previous_config and "
                + settled,
                "Reverted",
            ),
            (
                "$endpoint.EndpointStatus in ['InService', 'Failed', 'OutOfService', 'UpdateRollbackFailed'] and "
                + settled,
                "RevertFailed",
            ),
            ("$toMillis($now()) > $deadline", "RevertFailed"),
            default="AwaitRevert",
        ),
        "Reverted": assign(ROLLED_BACK, orphan=True),
        "RevertFailed": assign(
            FAILED,
            reason="{% $reason & '; the rollback failed: endpoint is ' & $endpoint.EndpointStatus & ' with ' & "
            "$endpoint.EndpointConfigName & '. ' & $caught %}",
        ),
    }


def poll_verdict_states(*, verdict_arn: str, next_state: str) -> tuple[str, dict[str, State]]:
    """Return the name of the first state and the states that compare once per poll, if the plan compares two fleets.

    Errors are ignored: the next poll compares again, and the alarm on a dead fleet does not depend on the comparison.

    Args:
        verdict_arn: ARN of the function ``rollout_verdict``.
    """
    compare = on_error(verdict_state(verdict_arn=verdict_arn, next_state=next_state, catch=next_state))
    # no retries after a timeout: the next poll compares again, and polling of the endpoint is delayed by one timeout only
    compare["Retry"] = [
        {"ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 2, "BackoffRate": 1, "MaxAttempts": 1}
    ]
    # after a stop, the result is kept for the record
    is_open = f"{COMPARES} and $not({STOPPED})"
    return "HasVerdict", {"HasVerdict": choose((is_open, "AskVerdict"), default=next_state), "AskVerdict": compare}


def verdict_state(
    *, verdict_arn: str, next_state: str, catch: str, what: str = "$plan.verdict", since: str = "$since"
) -> State:
    """Return the state that stores the result in ``$compared``; on a stop, the function has set the new fleet's alarm too.

    Args:
        verdict_arn: ARN of the function ``rollout_verdict``.
        catch: Next state after an error.
        what: Expression of the fleets to compare.
        since: Expression of the start time; empty for the plan's own.
    """
    return invoke(
        verdict_arn,
        {"verdict": f"{{% {what} %}}", "since": f"{{% {since} %}}", "now": NOW},
        next_state=next_state,
        catch=catch,
        assign={"compared": "{% $states.result.Payload %}"},
        timeout=_VERDICT_SECONDS,
    )
