"""States that decide whether a live fleet stays: no alarm is in ALARM, it is not worse and served enough; else roll back."""

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

# what a person does about too few calls; in a string of JSONata
NEEDS_TRAFFIC = (
    "; evidence needs traffic while it bakes: mlops traffic replay FILE --time COLUMN --now sends the rows of a file"
)
# alarms in ALARM, as a sentence; $ringing is set by ``look_at_alarms``
RINGING = "$ringing"
RINGING_REASON = 200  # characters of an alarm's reason in it
_RINGING = f"""{{% (
    $rings := [$states.result.MetricAlarms, $states.result.CompositeAlarms][StateValue = 'ALARM'];
    $count($rings) = 0 ? '' : 'in ALARM: ' & $join(
        $map($rings, function($a) {{ $a.AlarmName & ' (' & $substring($a.StateReason & '', 0, {RINGING_REASON}) & ')' }}), ', ')
) %}}"""
# SageMaker and the polls between slots only see alarms that are there: one that is deleted meanwhile watches nothing any more
# claim: a-deleted-alarm-watches-nothing
GONE = "$gone"
_GONE = """{% (
    $there := [$states.result.MetricAlarms, $states.result.CompositeAlarms].AlarmName;
    $absent := [$plan.watched][$not($ in $there)];
    $count($absent) = 0 ? '' : '; deleted meanwhile, so no longer watched: ' & $join($absent, ', ')
) %}"""


def put_alarms_states(*, next_state: str, catch: str, partition: str) -> dict[str, State]:
    """Return the state ``PutAlarms``, which makes ``$plan.alarms``: what they watch has a name that is known only now.

    Args:
        next_state: Where to go on.
        catch: Where to go when one cannot be made, with the error in ``$caught``.
        partition: AWS partition, may be a token.
    """
    alarm = task(
        "aws-sdk:cloudwatch:putMetricAlarm",
        "{% $states.input %}",
        partition=partition,
        next_state="",
        catch="AlarmFailed",
    )
    del alarm["Next"]
    # a round has variables of its own; under a name of its own it hides none of the machine's
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
    """Return the state that stores in ``$ringing`` which of ``$plan.watched`` are in ALARM, as a sentence; empty if none is.

    ``$gone`` gets those that do not exist, which they did when the rollout began: the record says so.
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

    SageMaker watches alarms until the old fleet is gone. An alarm in its last seconds, or a user's abort, counts as well; a
    rollback is final regardless of alarms.

    Args:
        endpoint_name: Name of the endpoint.
        verdict_arn: Function ``rollout_verdict``.
        limit: Seconds that going back may take.
        partition: AWS partition, may be a token.
        promoted: Where what is good enough goes. Default: it is promoted.
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
        # what has begun goes on whether it can be read or not: only time ends the wait
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
