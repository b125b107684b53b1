"""States that decide whether a new fleet stays: no alarm in ALARM, not worse than the old fleet, and enough calls."""

from mlops_constructs._state_machine import CAUGHT, State, assign, choose, task, wait
from mlops_constructs.rollout.rollout_policy import FAILED, PROMOTED, ROLLED_BACK
from mlops_constructs.rollout.verdict_states import (
    ASKS,
    COUNTED,
    IS_DOUBTED,
    STOPPED,
    WHY_DOUBTED,
    WHY_STOPPED,
    ask_verdict,
)

# how to fix too few calls; inside a JSONata string
NEEDS_TRAFFIC = (
    "; evidence needs traffic while it bakes: mlops traffic replay FILE --time COLUMN --now sends the rows of a file"
)
# sentence with the alarms in ALARM, set by ``look_at_alarms``
RINGING = "$ringing"
RINGING_REASON = 200  # maximum characters of an alarm's reason in the sentence
_RINGING = f"""{{% (
    $rings := [$states.result.MetricAlarms, $states.result.CompositeAlarms][StateValue = 'ALARM'];
    $count($rings) = 0 ? '' : 'in ALARM: ' & $join(
        $map($rings, function($a) {{ $a.AlarmName & ' (' & $substring($a.StateReason & '', 0, {RINGING_REASON}) & ')' }}), ', ')
) %}}"""
# an alarm that is deleted during a rollout can no longer stop it
# claim: a-deleted-alarm-watches-nothing
GONE = "$gone"
_GONE = """{% (
    $there := [$states.result.MetricAlarms, $states.result.CompositeAlarms].AlarmName;
    $absent := [$plan.watched][$not($ in $there)];
    $count($absent) = 0 ? '' : '; deleted meanwhile, so no longer watched: ' & $join($absent, ', ')
) %}"""


def put_alarms_states(*, next_state: str, catch: str, partition: str) -> dict[str, State]:
    """Return the state ``PutAlarms``, which creates ``$plan.alarms``, whose dimensions are known only at run time.

    Args:
        next_state: Next state.
        catch: Next state after an error, which is in ``$caught``.
        partition: AWS partition; may be a token.
    """
    alarm = task(
        "aws-sdk:cloudwatch:putMetricAlarm",
        "{% $states.input %}",
        partition=partition,
        next_state="",
        catch="AlarmFailed",
    )
    del alarm["Next"]
    # an iteration has its own variables, which must not have names of outer ones
    alarm["Catch"][0]["Assign"] = {"alarm_error": CAUGHT}
    return {
        "PutAlarms": {
            "Type": "Map",
            "Items": "{% [$plan.alarms] %}",
            "MaxConcurrency": 1,
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "INLINE"},
                "StartAt": "PutAlarm",
                "States": {
                    "PutAlarm": {**alarm, "End": True},
                    "AlarmFailed": {"Type": "Fail", "Error": "PutAlarmFailed", "Cause": "{% $alarm_error %}"},
                },
            },
            "Catch": [{"ErrorEquals": ["States.ALL"], "Assign": {"caught": CAUGHT}, "Output": {}, "Next": catch}],
            "Output": {},
            "Next": next_state,
        }
    }


def look_at_alarms(*, next_state: str, catch: str, partition: str) -> State:
    """Return the state that sets ``$ringing`` to a sentence with the alarms of ``$plan.watched`` in ALARM, or to ''.

    ``$gone`` is set to a sentence with alarms that were deleted during the rollout, for the record.
    """
    return task(
        "aws-sdk:cloudwatch:describeAlarms",
        {"AlarmNames": "{% [$plan.watched] %}", "AlarmTypes": ["MetricAlarm", "CompositeAlarm"]},
        partition=partition,
        next_state=next_state,
        catch=catch,
        assign={"ringing": _RINGING, "gone": _GONE},
    )


def evidence_states(
    *, endpoint_name: str, verdict_arn: str, limit: int, partition: str, promoted: str = PROMOTED
) -> dict[str, State]:
    """Return the states from ``IsWatched``, where the new config serves, to an exit.

    SageMaker watches alarms until the old fleet is removed. The states check once more for an alarm of the last seconds or a user's
    abort; a requested rollback is not checked.

    Args:
        endpoint_name: Name of the endpoint.
        verdict_arn: ARN of the function ``rollout_verdict``.
        limit: Maximum duration of rolling back in seconds.
        partition: AWS partition; may be a token.
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
        "LastLook": look_at_alarms(next_state="IsQuiet", catch="NoEvidence", partition=partition),
        "IsQuiet": choose(("$ringing = ''", "NeedsEvidence"), default="Rings"),
        "Rings": assign("Revert", reason="{% $ringing %}"),
        "NeedsEvidence": choose((f"{ASKS} and {STOPPED}", "Stopped"), (ASKS, "LastVerdict"), default=promoted),
        "LastVerdict": ask_verdict(
            verdict_arn=verdict_arn, next_state="IsEvidenceEnough", catch="NoEvidence", partition=partition
        ),
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
        **_revert_states(endpoint_name, limit, partition),
    }


def _revert_states(endpoint_name: str, limit: int, partition: str) -> dict[str, State]:
    deadline = {"deadline": f"{{% $toMillis($now()) + {limit * 1000} %}}"}
    settled = "$not($exists($endpoint.PendingDeploymentSummary))"
    return {
        "Revert": task(
            "aws-sdk:sagemaker:updateEndpoint",
            "{% $plan.revert_endpoint %}",
            partition=partition,
            next_state="AwaitRevert",
            catch="AwaitRevert",
            assign=deadline,
            assign_caught=deadline,
        ),
        "AwaitRevert": wait("{% $plan.look_seconds %}", "DescribeReverted"),
        "DescribeReverted": task(
            "aws-sdk:sagemaker:describeEndpoint",
            {"EndpointName": endpoint_name},
            partition=partition,
            next_state="JudgeReverted",
            catch="IsRevertLate",
            assign={"endpoint": "{% $states.result %}"},
        ),
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
            reason="{% $reason & '; going back failed: endpoint is ' & $endpoint.EndpointStatus & ' with ' & "
            "$endpoint.EndpointConfigName & '. ' & $caught %}",
        ),
    }
