"""The Deploy machine as data: the one writer of what is live."""

from collections.abc import Collection

from mlops_constructs._state_machine import EXECUTION, NOW, NULL, State, assign, choose, invoke, put_event, task, wait
from mlops_constructs.rollout.evidence_states import GONE
from mlops_constructs.rollout.probation_states import alarm_states, schedule_states
from mlops_constructs.rollout.quota_states import UNASKED, quota_states
from mlops_constructs.rollout.rollout_policy import (
    FAILED,
    POLL_GRACE_SECONDS,
    PROMOTED,
    ROLLED_BACK,
    TURNED_DOWN,
    RolloutTarget,
)
from mlops_constructs.rollout.verdict_states import PROMOTED_ON, RECORDED
from mlops_constructs.rollout.verdict_states import UNASKED as NO_VERDICT
from mlops_runtime.contracts.events import DetailType, event_source
from mlops_runtime.contracts.rollout import RolloutSpec
from mlops_runtime.rollout.definition_hash import FIELD
from mlops_runtime.rollout.deploy_plan import look_seconds

_LOCK_INTERVAL_SECONDS = 30
# each attempt is three events of a history that may have 25,000
_LOCK_ATTEMPTS = 500
# a minute a call is generous for the steps around the rollout itself: plan, record, clean-up
_OVERHEAD_SECONDS = 900
# what came of it, and which alarms no longer watched it
_REASON = f"{{% $reason & {GONE} %}}"


def hold_seconds(maximum: int, lead: int = 0) -> int:
    """Return how long one execution may hold the endpoint.

    That is waiting for another execution, the steps before the rollout, the rollout, a rollback, and what is
    around them.

    Args:
        maximum: Seconds that a rollout may take.
        lead: Seconds of what comes before it. Default: none.
    """
    return 3 * (maximum + POLL_GRACE_SECONDS) + lead + _OVERHEAD_SECONDS


def deploy_machine(
    *,
    endpoint_name: str,
    unit_name: str,
    target: RolloutTarget,
    rollout: RolloutSpec,
    table_name: str,
    preflight_arn: str,
    record_arn: str,
    verdict_arn: str,
    bus_name: str,
    golden_arn: str | None = None,
    answers_arn: str | None = None,
    has_watch: bool = False,
    instance_types: Collection[str] = (),
    machine_sha256: str = "",
    partition: str = "aws",
) -> dict[str, object]:
    """Return the machine that takes one request to a recorded outcome.

    In every case Lock is followed by Unlock, and Unlock names its holder. A busy endpoint is waited for; an
    execution that dies leaves a lock that the guard takes, and that ends by itself.

    Args:
        endpoint_name: Name of the endpoint.
        unit_name: The business unit, for the event's source.
        target: How this kind of endpoint does each step.
        rollout: The policy: how long a rollout may take, and what comes before it.
        table_name: Rollout table.
        preflight_arn: Function ``rollout_preflight``.
        record_arn: Function ``rollout_record``.
        verdict_arn: Function ``rollout_verdict``.
        bus_name: The unit's event bus.
        golden_arn: Function ``rollout_golden``. Default: candidates are not rehearsed.
        answers_arn: Function ``rollout_answers``. Default: no captures are read.
        has_watch: Whether a schedule watches models on probation. Default: none does.
        instance_types: Types of instances whose quotas preflight gets. Default: none are asked for.
        machine_sha256: Hash of this definition, for the recorder (``rollout.definition_hash``). Default: empty, as it is hashed.
        partition: AWS partition. Default: ``aws``.

    Example:
        >>> from mlops_constructs.rollout import SageMakerTarget
        >>> target = SageMakerTarget(endpoint_name="demand-forecast", instance_count=2)
        >>> rollout = RolloutSpec(kind="CANARY", bake=600, maximum=3600, percent=50)
        >>> machine = deploy_machine(endpoint_name="demand-forecast", unit_name="demand", target=target, rollout=rollout,
        ...     table_name="rollout", preflight_arn="arn:aws:lambda:us-east-1:1:function:p",
        ...     record_arn="arn:aws:lambda:us-east-1:1:function:r", verdict_arn="arn:aws:lambda:us-east-1:1:function:v",
        ...     bus_name="demand")
        >>> machine["StartAt"]
        'Start'
    """
    patience = rollout.maximum + POLL_GRACE_SECONDS
    hold = hold_seconds(rollout.maximum, target.lead_seconds(rollout))
    first_step, steps = target.steps(
        rollout=rollout,
        golden_arn=golden_arn,
        verdict_arn=verdict_arn,
        answers_arn=answers_arn,
        partition=partition,
    )
    first_busy, busy = target.busy(next_state="IsPatient", partition=partition)
    first_record, last, probation = "Record", "Unlock", dict[str, State]()
    if has_watch:
        first_record, made = alarm_states(
            endpoint_name=endpoint_name, verdict_arn=verdict_arn, next_state="Record", partition=partition
        )
        # without a record too: the schedule then ends the alarm, since no probation is active
        last, watched = schedule_states(endpoint_name=endpoint_name, next_state="Unlock", partition=partition)
        probation = {**made, **watched}
    first_clean_up, clean_up = target.clean_up(next_state=last, partition=partition)
    first_unrecorded, unrecorded = target.unrecorded(next_state=last, partition=partition)
    asked = quota_states(instance_types, next_state="Preflight", partition=partition) if instance_types else {}
    states: dict[str, State] = {
        "Start": assign(
            "Lock",
            request="{% $states.input %}",
            execution=EXECUTION,
            plan=NULL,
            outcome="FAILED",
            reason="",
            caught="",
            ringing="",
            gone="",
            scaling_failure="",
            orphan=True,
            applied=False,
            quotas=UNASKED,
            page="",
            shown="",
            compared=NO_VERDICT,
            since="",
        ),
        "Lock": _lock(endpoint_name, table_name, hold, patience, partition, next_state=next(iter(asked), "Preflight")),
        "LockFailed": assign(FAILED, reason="{% 'the endpoint could not be locked: ' & $caught %}"),
        **asked,
        "Preflight": invoke(
            preflight_arn,
            {"request": "{% $request %}", "execution": "{% $execution %}", "now": NOW, "quotas": "{% $quotas %}"},
            partition=partition,
            next_state="Decide",
            catch="Caught",
            assign={"plan": "{% $states.result.Payload %}"},
        ),
        "Decide": choose(
            ("$plan.action = 'nothing'", "Unchanged"),
            ("$plan.action = 'refuse'", "Refused"),
            ("$plan.action = 'wait'", first_busy),
            ("$plan.action in ['create', 'update', 'adopt', 'revert', 'discard']", first_step),
            default="UnknownAction",
        ),
        **busy,
        # something that this execution did not begin ends first: SageMaker's own maintenance, a rollout that lost its machine
        "IsPatient": choose(("$toMillis($now()) > $patience", "StillBusy"), default="AwaitRest"),
        "AwaitRest": wait(look_seconds(rollout.maximum), "Preflight"),
        "StillBusy": assign(TURNED_DOWN, reason=f"{{% $plan.reason & ', still so after {patience} s; ask again' %}}"),
        "Unchanged": assign("Record", outcome="UNCHANGED", reason="{% $plan.reason %}"),
        "Refused": assign("Record", outcome="REFUSED", reason="{% $plan.reason %}"),
        "UnknownAction": assign(FAILED, reason="{% 'preflight gave no known action: ' & $string($plan.action) %}"),
        **steps,
        "Caught": assign(FAILED, reason="{% $caught %}"),
        PROMOTED: assign(first_record, outcome="PROMOTED", reason=f"{{% $plan.reason & {PROMOTED_ON} & $shown %}}"),
        ROLLED_BACK: assign("Record", outcome="ROLLED_BACK"),
        TURNED_DOWN: assign("Record", outcome="REFUSED"),
        FAILED: assign("Record", outcome="FAILED"),
        "Record": invoke(
            record_arn,
            {
                "plan": "{% $plan %}",
                "request": "{% $request %}",
                "outcome": "{% $outcome %}",
                "reason": _REASON,
                "execution": "{% $execution %}",
                "now": NOW,
                "verdict": RECORDED,
                FIELD: machine_sha256,
            },
            partition=partition,
            next_state=first_clean_up,
            catch="RecordFailed",
            # the record states the live version, which may differ from the intended one: clean up by the record
            assign={
                "orphan": "{% $orphan or ($outcome = 'PROMOTED' and $states.result.Payload.outcome = 'ROLLED_BACK') %}",
                "outcome": "{% $states.result.Payload.outcome %}",
                "reason": _REASON,
            },
        ),
        # without a record there is no clean-up: the live version is not recorded
        "RecordFailed": assign(
            first_unrecorded,
            reason="{% $outcome & ' could not be recorded: ' & $caught & '. ' & $reason %}",
            outcome="FAILED",
        ),
        **unrecorded,
        **clean_up,
        **probation,
        "Unlock": _unlock(endpoint_name, table_name, partition),
        "Announce": put_event(
            bus_name=bus_name,
            source=event_source(unit_name),
            detail_type=DetailType.ROLLOUT_FINISHED.value,
            detail={
                "version": "mlops.event/1",
                "id": "{% $execution %}",
                "subject": endpoint_name,
                "outcome": "{% $outcome %}",
                "reason": "{% $join([$reason, $scaling_failure][$ != ''], '. ') & '' %}",
                "attributes": {"requested_by": "{% $request.requested_by & '' %}"},
            },
            partition=partition,
            next_state="Finish",
        ),
        "Finish": choose(("$outcome in ['PROMOTED', 'UNCHANGED']", "Done"), default="DidNotDeploy"),
        "Done": {"Type": "Pass", "Output": {"outcome": "{% $outcome %}", "reason": "{% $reason %}"}, "End": True},
        "DidNotDeploy": {"Type": "Fail", "Error": "{% $outcome %}", "Cause": "{% $reason %}"},
    }
    return {
        "Comment": f"Deploy {endpoint_name}: lock, preflight, roll out, record, clean up, unlock",
        "QueryLanguage": "JSONata",
        "TimeoutSeconds": 2 * hold,
        "StartAt": "Start",
        "States": states,
    }


def _lock(endpoint_name: str, table_name: str, hold: int, patience: int, partition: str, *, next_state: str) -> State:
    interval = max(_LOCK_INTERVAL_SECONDS, -(-hold // _LOCK_ATTEMPTS))
    waits = {
        "ErrorEquals": ["DynamoDB.ConditionalCheckFailedException"],
        "IntervalSeconds": interval,
        "BackoffRate": 1,
        "MaxAttempts": hold // interval,
    }
    return task(
        "dynamodb:updateItem",
        {
            "TableName": table_name,
            "Key": {"endpoint": {"S": endpoint_name}},
            "UpdateExpression": "SET #owner = :me, lock_until = :until, locked_at = if_not_exists(locked_at, :at)",
            "ConditionExpression": "attribute_not_exists(#owner) OR lock_until < :now OR #owner = :me",
            "ExpressionAttributeNames": {"#owner": "owner"},
            "ExpressionAttributeValues": {
                ":me": {"S": "{% $execution %}"},
                # since the first of those that died with it: their models answered calls too
                ":at": {"S": NOW},
                ":now": {"N": "{% $string($floor($toMillis($now()) / 1000)) %}"},
                ":until": {"N": f"{{% $string($floor($toMillis($now()) / 1000) + {hold}) %}}"},
            },
        },
        partition=partition,
        next_state=next_state,
        catch="LockFailed",
        assign={"patience": f"{{% $toMillis($now()) + {patience * 1000} %}}"},
        retry=[waits],
    ) | {"Comment": "one rollout at a time; the retry waits for the other one"}


def _unlock(endpoint_name: str, table_name: str, partition: str) -> State:
    return task(
        "dynamodb:updateItem",
        {
            "TableName": table_name,
            "Key": {"endpoint": {"S": endpoint_name}},
            "UpdateExpression": "REMOVE #owner, lock_until, locked_at",
            "ConditionExpression": "#owner = :me",
            "ExpressionAttributeNames": {"#owner": "owner"},
            "ExpressionAttributeValues": {":me": {"S": "{% $execution %}"}},
        },
        partition=partition,
        next_state="Announce",
        catch="Announce",
    )
