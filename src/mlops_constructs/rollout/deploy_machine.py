"""Definition of the Deploy state machine, the only writer of an endpoint's live version, with its quota checks."""

from collections.abc import Collection

from mlops_constructs._state_machine import (
    EXECUTION,
    NOW,
    NULL,
    State,
    assign,
    choose,
    fail,
    invoke,
    machine,
    put_event,
    task,
    wait,
)
from mlops_constructs.rollout.evidence_states import DELETED_ALARMS, NO_VERDICT, PROMOTED_ON, RECORDED
from mlops_constructs.rollout.probation_states import alarm_states, schedule_states
from mlops_constructs.rollout.rollout_policy import (
    FAILED,
    POLL_GRACE_SECONDS,
    PROMOTED,
    ROLLED_BACK,
    TURNED_DOWN,
    RolloutTarget,
)
from mlops_runtime.contracts.events import DetailType, event_source
from mlops_runtime.contracts.rollout import RolloutSpec
from mlops_runtime.rollout.definition_hash import FIELD
from mlops_runtime.rollout.deploy_plan import look_seconds
from mlops_runtime.rollout.instance_quota import quota_name

_LOCK_INTERVAL_SECONDS = 30
# each attempt adds three events to the execution history, which may have 25,000
_LOCK_ATTEMPTS = 500
# for the steps other than the rollout itself: plan, record, clean-up
_OVERHEAD_SECONDS = 900
# the outcome's reason, and alarms that were deleted meanwhile
_REASON = f"{{% $reason & {DELETED_ALARMS} %}}"
# quotas of requests that are not checked against any
NO_QUOTAS: dict[str, object] = {"instances": {}, "unread": ""}
# no retries of a missing permission; the rollout continues without quotas
_DENIED: State = {"ErrorEquals": ["ServiceQuotas.AccessDeniedException"], "MaxAttempts": 0}


def hold_seconds(maximum: int, lead: int = 0) -> int:
    """Return the maximum time, in seconds, for which one execution may hold the endpoint's lock.

    It covers waiting for another execution, the steps before the rollout, the rollout, a rollback, and the other steps.

    Args:
        maximum: Maximum duration of a rollout in seconds.
        lead: Maximum duration of the steps before it in seconds. Default: 0.
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
    """Return the definition of the machine that executes one request and records its outcome.

    Every path from Lock leads to Unlock, which releases only the execution's own lock. An execution waits for a busy endpoint; the
    lock of an execution that died is taken over by the guard, or expires.

    Args:
        unit_name: Name of the business unit, for the event's source.
        target: Target of the rollout.
        rollout: Rollout policy in the serving spec's form.
        table_name: Name of the rollout table.
        preflight_arn: ARN of the function ``rollout_preflight``.
        record_arn: ARN of the function ``rollout_record``.
        verdict_arn: ARN of the function ``rollout_verdict``.
        bus_name: Name of the unit's event bus.
        golden_arn: ARN of the function ``rollout_golden``. Default: no golden requests.
        answers_arn: ARN of the function ``rollout_answers``. Default: captures are not read.
        has_watch: Whether a schedule watches models on probation. Default: no.
        instance_types: Instance types whose quotas preflight checks. Default: none.
        machine_sha256: Hash of this definition, for the recorder (``rollout.definition_hash``). Default: empty, as when hashing.
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
    )
    first_busy, busy = target.busy(next_state="IsPatient")
    first_record, last, probation = "Record", "Unlock", dict[str, State]()
    if has_watch:
        first_record, made = alarm_states(endpoint_name=endpoint_name, verdict_arn=verdict_arn, next_state="Record")
        # also without a record: the schedule then deletes the alarm, since no probation is active
        last, watched = schedule_states(endpoint_name=endpoint_name, next_state="Unlock")
        probation = {**made, **watched}
    first_clean_up, clean_up = target.clean_up(next_state=last)
    first_unrecorded, unrecorded = target.unrecorded(next_state=last)
    quota_checks = quota_states(instance_types, next_state="Preflight") if instance_types else {}
    states: dict[str, State] = {
        "Start": assign(
            "Lock",
            request="{% $states.input %}",
            execution=EXECUTION,
            plan=NULL,
            outcome="FAILED",
            reason="",
            caught="",
            firing="",
            gone="",
            scaling_failure="",
            orphan=True,
            applied=False,
            quotas=NO_QUOTAS,
            page="",
            shown="",
            compared=NO_VERDICT,
            since="",
        ),
        "Lock": _lock(endpoint_name, table_name, hold, patience, next_state=next(iter(quota_checks), "Preflight")),
        "LockFailed": assign(FAILED, reason="{% 'the endpoint could not be locked: ' & $caught %}"),
        **quota_checks,
        "Preflight": invoke(
            preflight_arn,
            {"request": "{% $request %}", "execution": "{% $execution %}", "now": NOW, "quotas": "{% $quotas %}"},
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
        # wait for updates that this execution did not start: maintenance by SageMaker, or a rollout of an execution that died
        "IsPatient": choose(("$toMillis($now()) > $patience", "StillBusy"), default="AwaitRest"),
        "AwaitRest": wait(look_seconds(rollout.maximum), "Preflight"),
        "StillBusy": assign(
            TURNED_DOWN, reason=f"{{% $plan.reason & ', unchanged after {patience} s; request the rollout again' %}}"
        ),
        "Unchanged": assign("Record", outcome="UNCHANGED", reason="{% $plan.reason %}"),
        "Refused": assign("Record", outcome="REFUSED", reason="{% $plan.reason %}"),
        "UnknownAction": assign(
            FAILED, reason="{% 'preflight returned an unknown action: ' & $string($plan.action) %}"
        ),
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
            next_state=first_clean_up,
            catch="RecordFailed",
            # the record contains the actual live version, which may differ from the intended one: clean up by the record
            assign={
                "orphan": "{% $orphan or ($outcome = 'PROMOTED' and $states.result.Payload.outcome = 'ROLLED_BACK') %}",
                "outcome": "{% $states.result.Payload.outcome %}",
                "reason": _REASON,
            },
        ),
        # no clean-up without a record, as the live version is then unknown
        "RecordFailed": assign(
            first_unrecorded,
            reason="{% $outcome & ' could not be recorded: ' & $caught & '. ' & $reason %}",
            outcome="FAILED",
        ),
        **unrecorded,
        **clean_up,
        **probation,
        "Unlock": _unlock(endpoint_name, table_name),
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
            next_state="Finish",
        ),
        "Finish": choose(("$outcome in ['PROMOTED', 'UNCHANGED']", "Done"), default="DidNotDeploy"),
        "Done": {"Type": "Pass", "Output": {"outcome": "{% $outcome %}", "reason": "{% $reason %}"}, "End": True},
        "DidNotDeploy": fail("{% $outcome %}", "{% $reason %}"),
    }
    comment = f"Deploy {endpoint_name}: lock, preflight, roll out, record, clean up, unlock"
    return machine(comment=comment, seconds=2 * hold, states=states, partition=partition)


def _lock(endpoint_name: str, table_name: str, hold: int, patience: int, *, next_state: str) -> State:
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
                # kept from earlier executions that died with the lock, as their models may have served calls too
                ":at": {"S": NOW},
                ":now": {"N": "{% $string($floor($toMillis($now()) / 1000)) %}"},
                ":until": {"N": f"{{% $string($floor($toMillis($now()) / 1000) + {hold}) %}}"},
            },
        },
        next_state=next_state,
        catch="LockFailed",
        assign={"patience": f"{{% $toMillis($now()) + {patience * 1000} %}}"},
        retry=[waits],
    ) | {"Comment": "One rollout at a time: retries wait for the lock of another execution"}


def _unlock(endpoint_name: str, table_name: str) -> State:
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
        next_state="Announce",
        catch="Announce",
    )


def quota_states(instance_types: Collection[str], *, next_state: str) -> dict[str, State]:
    """Return the states that read the account's instance quotas, in order.

    They set ``$quotas`` to the fields of ``Quotas``: instances by type, and the error if they could not be read. SageMaker has
    hundreds of quotas and the list has no filter, so it is read page by page until all types are found.

    Service Quotas has no interface endpoint, so the network of preflight's function cannot reach it: Step Functions calls it from
    outside the network.

    See: https://docs.aws.amazon.com/vpc/latest/privatelink/aws-services-privatelink-support.html
    https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html
    https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_ListServiceQuotas.html

    Args:
        instance_types: Instance types that a new fleet may need.
        next_state: Next state, also after errors.

    Example:
        >>> list(quota_states(["ml.m5.large"], next_state="Preflight"))
        ['IsHeldToQuotas', 'ListQuotas', 'HasMoreQuotas', 'QuotasUnread']
    """
    types = {quota_name(kind): kind for kind in sorted(set(instance_types))}
    named = ", ".join(f"'{name}': '{kind}'" for name, kind in types.items())
    # object with the page's relevant quotas by type
    wanted = "$states.result.Quotas[$exists($lookup($wanted, QuotaName))].{$lookup($wanted, QuotaName): Value}"
    page = f"($wanted := {{{named}}}; {wanted})"
    return {
        # rollbacks are not checked against quotas
        "IsHeldToQuotas": choose(("$request.reason in ['approval', 'spec']", "ListQuotas"), default=next_state),
        "ListQuotas": task(
            "aws-sdk:servicequotas:listServiceQuotas",
            "{% $merge([{'ServiceCode': 'sagemaker', 'MaxResults': 100}, $page = '' ? {} : {'NextToken': $page}]) %}",
            next_state="HasMoreQuotas",
            catch="QuotasUnread",
            assign={
                "quotas": {"instances": f"{{% $merge($append([$quotas.instances], {page})) %}}", "unread": ""},
                "page": "{% $states.result.NextToken & '' %}",
            },
            retry=[_DENIED],
        ),
        "HasMoreQuotas": choose(
            (f"$page != '' and $count($keys($quotas.instances)) < {len(types)}", "ListQuotas"), default=next_state
        ),
        "QuotasUnread": assign(
            next_state,
            quotas={"instances": "{% $quotas.instances %}", "unread": "{% $substringBefore($caught, ':') %}"},
        ),
    }
