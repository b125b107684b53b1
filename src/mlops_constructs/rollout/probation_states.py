"""States that begin a probation: the alarm on errors, with the previous model's error share, and the schedule that watches.

CloudWatch also evaluates a new alarm over the minutes before its creation, which belong to the previous model, or to one that was
rolled back for its errors. So the alarm counts only periods that begin after the promotion.
"""

from mlops_constructs._state_machine import NOW, State, assign, choose, invoke, task
from mlops_runtime.rollout.probation_alarm import LEAST_ERRORS, probation_alarm, probation_rule
from mlops_runtime.rollout.probation_share import LEAST_SHARE

_SECONDS = 60
_BEGINS = "$plan.probation > 0 and $exists($plan.probation_alarm.AlarmName)"
_ALARM = f"""{{% (
    $known := $exists($compared.allowed_share) and $compared.allowed_share != null;
    $share := $known ? $compared.allowed_share : {LEAST_SHARE};
    $since := 60 * $ceil($toMillis($now()) / 60000);
    $merge([$plan.probation_alarm, {{
        'AlarmDescription': 'model on probation: 5xx at least {LEAST_ERRORS} times and on more than '
            & $string($round(100 * $share, 2)) & ' % of the calls '
            & 'in each of three periods of five minutes; the Deploy machine rolls back to the previous model',
        'Metrics': $append($plan.probation_alarm.Metrics, [{{
            'Id': 'often',
            'Expression': 'IF(errors >= {LEAST_ERRORS} AND errors > ' & $string($share) & ' * calls, EPOCH(calls) >= '
                & $string($since) & ', 0)',
            'Label': 'often',
            'ReturnData': true
        }}])
    }}])
) %}}"""


def alarm_states(*, endpoint_name: str, verdict_arn: str, next_state: str) -> tuple[str, dict[str, State]]:
    """Return the name of the first state and the states that recreate the alarm of a probation, before the promotion is recorded.

    The alarm is deleted first: that of an earlier probation may still be in ALARM, and only a change to ALARM rolls back. If the
    previous model's error share cannot be computed, the smallest share is used.

    Args:
        verdict_arn: ARN of the function ``rollout_verdict``, which computes the share.
    """
    return "BeginsProbation", {
        "BeginsProbation": choose((_BEGINS, "AskShare"), default=next_state),
        "AskShare": invoke(
            verdict_arn,
            {"share": "{% $plan.probation_share %}", "now": NOW},
            next_state="DropProbationAlarm",
            catch="DropProbationAlarm",
            assign={"compared": "{% $merge([$compared, $states.result.Payload]) %}"},
            timeout=_SECONDS,
        ),
        "DropProbationAlarm": task(
            "aws-sdk:cloudwatch:deleteAlarms",
            {"AlarmNames": [probation_alarm(endpoint_name)]},
            next_state="PutProbationAlarm",
            catch="IsProbationAlarmGone",
        ),
        "IsProbationAlarmGone": choose(
            ("$contains($caught, 'NotFound')", "PutProbationAlarm"), default="ProbationAlarmKept"
        ),
        "ProbationAlarmKept": assign(
            "PutProbationAlarm",
            reason="{% $reason & '; the alarm of an earlier probation could not be deleted: it rolls back only if it "
            "changes to ALARM again. ' & $caught %}",
        ),
        "PutProbationAlarm": task(
            "aws-sdk:cloudwatch:putMetricAlarm",
            _ALARM,
            next_state=next_state,
            catch="ProbationUnwatched",
        ),
        "ProbationUnwatched": assign(
            next_state, reason="{% $reason & '; the alarm of its probation could not be created: ' & $caught %}"
        ),
    }


def schedule_states(*, endpoint_name: str, next_state: str) -> tuple[str, dict[str, State]]:
    """Return the name of the first state and the state that enables the schedule, which disables itself without a probation.

    Each execution enables it, with any outcome, and so makes up for executions that died before they could.
    """
    return "Watch", {
        "Watch": task(
            "aws-sdk:eventbridge:enableRule",
            {"Name": probation_rule(endpoint_name)},
            next_state=next_state,
            catch=next_state,
        )
    }
