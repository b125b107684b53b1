"""``SageMakerTarget``: SageMaker endpoints as a rollout target, with states to update, recover and clean up a fleet."""

from collections.abc import Sequence
from dataclasses import dataclass

from mlops_constructs._arguments import checked
from mlops_constructs._state_machine import CAUGHT, NOW, State, assign, choose, each, on_error, task, wait
from mlops_constructs.rollout.candidate_states import (
    AGAIN_SECONDS,
    NOT_REPEATED,
    REHEARSAL_SECONDS,
    THRICE_MORE,
    WHY_UNLIKE,
    bake_states,
    promotion_states,
    rehearsal_states,
    shadow_states,
    synthetic_states,
)
from mlops_constructs.rollout.captured_answers import (
    PAIRS_SECONDS,
    UNREAD,
    WHY_UNREADABLE,
    captured_body_states,
    last_body_states,
)
from mlops_constructs.rollout.evidence_states import (
    FIRING,
    FIRING_REASON,
    WHY_STOPPED,
    describe_endpoint,
    evidence_states,
    look_at_alarms,
    poll_verdict_states,
    put_alarms_states,
)
from mlops_constructs.rollout.rollout_policy import (
    FAILED,
    POLL_GRACE_SECONDS,
    PROMOTED,
    ROLLED_BACK,
    RolloutKind,
    RolloutPolicy,
)
from mlops_constructs.rollout.scaling_states import deregister_scaling_states, register_scaling_states
from mlops_runtime.contracts.rollout import RolloutSpec
from mlops_runtime.rollout.serving_limits import MAX_WAIT, steps

_SDK = "aws-sdk:sagemaker:"
# alarms in ALARM, without reasons of this machine and its functions, which the reason of the alarm that they set repeats
_ALSO_FIRING = f"""$reduce([{WHY_STOPPED}, {WHY_UNLIKE}, {WHY_UNREADABLE}], function($rest, $why) {{
    $replace($rest, ' (' & $substring($why, 0, {FIRING_REASON}) & ')', '')
}}, {FIRING})"""


def clean_up_states(*, endpoint_name: str, next_state: str) -> tuple[str, dict[str, State]]:
    """Return the name of the first state and the states that register scaling, and delete alarms and unused versions.

    Deleted are the new fleet's alarms, the versions beyond those retained, a version that was not promoted, and leftovers of an
    execution that died. The next execution retries failed deletions.
    """

    def delete(integration: str, arguments: object, after: str) -> State:
        return task(integration, arguments, next_state=after, catch=after)

    first, scaling = register_scaling_states(next_state="HasAlarms")
    return "HasPlan", {
        "HasPlan": choose(
            ("$plan = null", next_state),
            # a dead execution may have removed scaling
            ("$applied and ($outcome = 'PROMOTED' or $plan.action = 'update') or $exists($request.died)", first),
            default="HasAlarms",
        ),
        **scaling,
        "HasAlarms": choose(
            ("$count($plan.alarm_names) + $count($plan.leftovers.alarms) > 0", "DeleteAlarms"),
            default="IsEndpointUnused",
        ),
        "DeleteAlarms": delete(
            "aws-sdk:cloudwatch:deleteAlarms",
            {"AlarmNames": "{% [$plan.alarm_names, $plan.leftovers.alarms] %}"},
            "IsEndpointUnused",
        ),
        "IsEndpointUnused": choose(
            (
                "$outcome != 'PROMOTED' and $applied and $orphan and $plan.action in ['create', 'discard']",
                "DeleteEndpoint",
            ),
            default="WhatIsUnused",
        ),
        "DeleteEndpoint": delete(f"{_SDK}deleteEndpoint", {"EndpointName": endpoint_name}, "WhatIsUnused"),
        # the versions include configs of rehearsals, which are in use until their endpoint is deleted
        "WhatIsUnused": assign(
            "DeleteRehearsals",
            unused="{% [$plan.leftovers.versions, $outcome = 'PROMOTED' ? $plan.expired : "
            "($orphan and $plan.config_name != null ? [$plan.config_name] : [])] %}",
        ),
        "DeleteRehearsals": _each("{% [$plan.leftovers.rehearsals] %}", _delete_rehearsal(), "DeleteVersions"),
        "DeleteVersions": _each("{% [$unused] %}", _delete_version(), next_state),
    }


def _delete_version() -> dict[str, State]:
    """Return the states that delete a config and the model of the same name; errors are ignored."""
    config = task(
        f"{_SDK}deleteEndpointConfig",
        {"EndpointConfigName": "{% $states.input %}"},
        next_state="DeleteModel",
        catch="DeleteModel",
        retry=[THRICE_MORE],
    )
    # both states need the name, so the first passes it on
    config["Output"] = config["Catch"][0]["Output"] = "{% $states.input %}"
    model = task(
        f"{_SDK}deleteModel",
        {"ModelName": "{% $states.input %}"},
        next_state="Deleted",
        catch="Deleted",
        retry=[THRICE_MORE],
    )
    return {"DeleteConfig": on_error(config), "DeleteModel": on_error(model), "Deleted": {"Type": "Succeed"}}


def _delete_rehearsal() -> dict[str, State]:
    state = task(
        f"{_SDK}deleteEndpoint",
        {"EndpointName": "{% $states.input %}"},
        next_state="RehearsalDeleted",
        catch="RehearsalDeleted",
    )
    return {"DeleteRehearsal": on_error(state), "RehearsalDeleted": {"Type": "Succeed"}}


def _each(items: str, states: dict[str, State], next_state: str) -> State:
    return on_error(each(items, states, next_state=next_state, catch=next_state))


def recovery_states(*, endpoint_name: str, next_state: str) -> tuple[str, dict[str, State]]:
    """Return the name of the first state and the states that recover from an execution that died.

    A live candidate without a record is evaluated like one of this execution, or rolled back; a first endpoint that failed is
    deleted, and created again if a package is approved.

    Args:
        next_state: Next state of plans that need no recovery.
    """
    deadline = {"deadline": f"{{% $toMillis($now()) + {POLL_GRACE_SECONDS * 1000} %}}"}
    return "Begin", {
        "Begin": choose(
            ("$plan.action = 'adopt'", "Adopt"),
            ("$plan.action = 'revert'", "GoBack"),
            ("$plan.action = 'discard'", "Discard"),
            ("$plan.remove != null", "RemoveFailed"),
            default=next_state,
        ),
        "Adopt": assign("IsWatched", applied=True, orphan=False, again=NOT_REPEATED, firing="", **UNREAD),
        "GoBack": assign("Revert", applied=True, orphan=False, reason="{% $plan.reason %}"),
        "Discard": assign(FAILED, applied=True, reason="{% $plan.reason %}"),
        # regardless of the call's response, the endpoint's own state is authoritative
        "RemoveFailed": task(
            f"{_SDK}deleteEndpoint",
            {"EndpointName": endpoint_name},
            next_state="AwaitRemoved",
            catch="AwaitRemoved",
            assign=deadline,
            assign_caught=deadline,
            retry=[THRICE_MORE],
        ),
        "AwaitRemoved": wait("{% $plan.look_seconds %}", "LookForRemoved"),
        "LookForRemoved": task(
            f"{_SDK}describeEndpoint",
            {"EndpointName": endpoint_name},
            next_state="IsRemovedLate",
            catch="IsRemoved",
            retry=[THRICE_MORE],
        ),
        "IsRemoved": choose(("$contains($caught, 'ould not find')", "Removed"), default="IsRemovedLate"),
        "Removed": assign(next_state, caught=""),
        "IsRemovedLate": choose(("$toMillis($now()) > $deadline", "RemovalFailed"), default="AwaitRemoved"),
        "RemovalFailed": assign(
            FAILED,
            reason=f"{{% 'the failed endpoint could not be deleted within {POLL_GRACE_SECONDS} s. ' & $caught %}}",
        ),
    }


@checked("InvalidSageMakerTarget")
@dataclass(frozen=True, slots=True, kw_only=True)
class SageMakerTarget:
    """A SageMaker real-time, asynchronous or serverless endpoint.

    Args:
        endpoint_name: Name of the endpoint that the Deploy machine updates.
        instance_count: Number of instances of the variant, which steps move in part; 0 if serverless.

    Example:
        >>> SageMakerTarget(endpoint_name="demand-forecast", instance_count=3).effective_percent(50)
        33.3
    """

    endpoint_name: str
    instance_count: int

    @property
    def name(self) -> str:
        """Name for error messages and descriptions."""
        return "SageMaker"

    @property
    def kinds(self) -> frozenset[RolloutKind]:
        """Kinds of rollout that the target supports; only all at once for a serverless endpoint, which has no instances.

        See: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-exclusions.html
        """
        return frozenset(RolloutKind) if self.instance_count else frozenset({RolloutKind.ALL_AT_ONCE})

    @property
    def is_reset_by_stack(self) -> bool:
        """False, as no template contains the endpoint."""
        return False

    @property
    def functions(self) -> tuple[str, ...]:
        """Empty, as SageMaker executes the steps."""
        return ()

    def effective_percent(self, percent: int) -> float:
        """Return the share of instances that a step moves, in percent with one decimal; only whole instances move.

        See: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green-canary.html
        """
        if self.instance_count == 0:
            return 100.0
        return round(self.instance_count * percent // 100 / self.instance_count * 100, 1)

    def problems(self, policy: RolloutPolicy) -> list[str]:
        """Return why SageMaker does not support a policy."""
        if policy.kind not in self.kinds:
            return [
                f"rollout must be ALL_AT_ONCE on a serverless endpoint, which has no instances to move in steps, got "
                f"{policy.kind.value}; use RolloutPolicy.all_at_once"
            ]
        if policy.percent is None:
            return []
        if self.instance_count * policy.percent < 100:
            needed = -(-100 // policy.percent)
            what = "canary" if policy.kind is RolloutKind.CANARY else "step"
            return [
                f"a {what} of {policy.percent} % is less than one of {self.instance_count} instances; "
                f"use instance_count={needed} or more, or a larger percent (at most 50)"
            ]
        if policy.longest_bake > MAX_WAIT:
            return [f"max_bake must be at most {MAX_WAIT} s on SageMaker, got {policy.longest_bake} s; shorten it"]
        number = steps(policy.kind.value, policy.percent, self.instance_count)
        total, maximum = (
            number * policy.longest_bake,
            int(policy.max_execution_time.to_seconds(integral=False)),
        )
        if maximum <= total:
            return [
                f"SageMaker moves whole instances, so {policy.percent} % of {self.instance_count} takes {number} steps: "
                f"max_execution_time must be longer than their bakes ({total} s), got {maximum} s; lengthen it or shorten bake"
            ]
        return []

    def lead_seconds(self, rollout: RolloutSpec) -> int:
        """Return the maximum duration, in seconds, of the states before the first step."""
        rehearsal = REHEARSAL_SECONDS + AGAIN_SECONDS if rollout.golden is not None else 0
        if rollout.shadow is None:
            return rehearsal
        paired = 0 if rollout.shadow.tolerance is None else PAIRS_SECONDS
        return rehearsal + paired + rollout.shadow.bake + 2 * (rollout.maximum + POLL_GRACE_SECONDS)

    def busy(self, *, next_state: str) -> tuple[str, dict[str, State]]:
        """Return no states, as SageMaker completes its updates itself."""
        return next_state, {}

    def steps(
        self,
        *,
        rollout: RolloutSpec,
        golden_arn: str | None,
        verdict_arn: str,
        answers_arn: str | None = None,
    ) -> tuple[str, dict[str, State]]:
        """Return the states from the plan to one of the exits.

        After a rollback by SageMaker the endpoint is InService with the old config, often without a reason. A rollout succeeded if
        the endpoint is InService with the new config.
        """
        limit = rollout.maximum + POLL_GRACE_SECONDS
        first, before, synthetic = "PutAlarms", dict[str, State](), dict[str, State]()
        arms, promoted, again = list[tuple[str, str]](), PROMOTED, dict[str, State]()
        poll, verdict_states = poll_verdict_states(verdict_arn=verdict_arn, next_state="DescribeEndpoint")
        if rollout.shadow is not None:
            first, before = shadow_states(
                endpoint_name=self.endpoint_name,
                verdict_arn=verdict_arn,
                limit=limit,
                next_state=first,
                answers_arn=answers_arn,
            )
        if golden_arn is not None:
            first, rehearsal = rehearsal_states(golden_arn=golden_arn, next_state=first)
            before = {**rehearsal, **before}
            poll, synthetic = synthetic_states(golden_arn=golden_arn, endpoint_name=self.endpoint_name, next_state=poll)
            arm, repeated_in_bake = bake_states(
                golden_arn=golden_arn, endpoint_name=self.endpoint_name, next_state="AwaitEndpoint"
            )
            arms.append(arm)
            promoted, repeated_last = promotion_states(golden_arn=golden_arn, endpoint_name=self.endpoint_name)
            again = {**repeated_in_bake, **repeated_last}
        if answers_arn is not None:
            arm, read_in_bake = captured_body_states(
                answers_arn=answers_arn, maximum=rollout.maximum, next_state="AwaitEndpoint"
            )
            promoted, read_last = last_body_states(answers_arn=answers_arn, next_state=promoted)
            arms.append(arm)
            again |= {**read_in_bake, **read_last}
        update, deregister = deregister_scaling_states(next_state="UpdateEndpoint")
        begin, recovery = recovery_states(endpoint_name=self.endpoint_name, next_state="CreateModel")
        return begin, {
            **recovery,
            **self._make_states(first),
            **before,
            **self._alarm_states(update),
            **deregister,
            **self._apply_states(limit, poll),
            **synthetic,
            **verdict_states,
            **self._judge_states(limit, arms),
            **evidence_states(
                endpoint_name=self.endpoint_name,
                verdict_arn=verdict_arn,
                limit=limit,
                promoted=promoted,
            ),
            **again,
        }

    def unrecorded(self, *, next_state: str) -> tuple[str, dict[str, State]]:
        """Return no states, as SageMaker watched the rollout and the next execution adopts the version."""
        return next_state, {}

    def clean_up(self, *, next_state: str) -> tuple[str, dict[str, State]]:
        """Return the states that delete the new fleet's alarms and unused versions."""
        return clean_up_states(endpoint_name=self.endpoint_name, next_state=next_state)

    def _make_states(self, next_state: str) -> dict[str, State]:
        def is_made(kind: str, member: str, after: str) -> State:
            # names contain the execution's: an existing resource was created by an attempt whose response was lost; if it is
            # missing, the error of the creation is the reason
            return task(
                f"{_SDK}describe{kind}",
                {member: "{% $plan.config_name %}"},
                next_state=after,
                catch="Caught",
                assign_caught={"caught": "{% $caught %}"},
            )

        return {
            "CreateModel": task(
                f"{_SDK}createModel",
                "{% $plan.create_model %}",
                next_state="CreateEndpointConfig",
                catch="IsModelMade",
            ),
            "IsModelMade": is_made("Model", "ModelName", "CreateEndpointConfig"),
            "CreateEndpointConfig": task(
                f"{_SDK}createEndpointConfig",
                "{% $plan.create_endpoint_config %}",
                next_state=next_state,
                catch="IsConfigMade",
            ),
            "IsConfigMade": is_made("EndpointConfig", "EndpointConfigName", next_state),
        }

    def _alarm_states(self, update: str) -> dict[str, State]:
        return {
            # the new fleet's dimension is its config's name, known only at run time
            **put_alarms_states(next_state="IsNew", catch="Caught"),
            "IsNew": choose(("$plan.action = 'create'", "CreateEndpoint"), default=update),
        }

    def _apply_states(self, limit: int, poll: str) -> dict[str, State]:
        # from here on the endpoint's own state is authoritative, regardless of the call's response
        until = f"{{% $toMillis($now()) + {limit * 1000} %}}"
        applied = {
            "deadline": until,
            "orphan": False,
            "applied": True,
            "again": NOT_REPEATED,
            "since": NOW,
            "firing": "",
            **UNREAD,
        }

        def apply(action: str) -> State:
            return task(
                f"{_SDK}{action}Endpoint",
                f"{{% $plan.{action}_endpoint %}}",
                next_state="AwaitEndpoint",
                catch="AwaitEndpoint",
                assign={**applied, "refused": ""},
                assign_caught={**applied, "refused": CAUGHT},
            )

        return {
            "CreateEndpoint": apply("create"),
            "UpdateEndpoint": apply("update"),
            "AwaitEndpoint": wait("{% $plan.poll_seconds %}", poll),
            "DescribeEndpoint": describe_endpoint(self.endpoint_name, "JudgeEndpoint", catch="IsEndpointMade"),
            # errors of the call do not stop the update, so only the deadline or a missing endpoint ends the wait
            "IsEndpointMade": choose(
                ("$plan.action = 'create' and $contains($caught, 'ould not find')", "NeverMade"),
                ("$toMillis($now()) > $deadline", "Caught"),
                default="AwaitEndpoint",
            ),
            "NeverMade": assign(FAILED, orphan=True, reason="{% $refused = '' ? $caught : $refused %}"),
        }

    def _judge_states(self, limit: int, arms: Sequence[tuple[str, str]]) -> dict[str, State]:
        settled = "$not($exists($endpoint.PendingDeploymentSummary))"
        serves = "$endpoint.EndpointStatus = 'InService'"
        return {
            "JudgeEndpoint": choose(
                (f"{serves} and $endpoint.EndpointConfigName = $plan.config_name and {settled}", "IsWatched"),
                (f"{serves} and {settled} and $firing != ''", "TookBack"),
                (f"{serves} and {settled}", "AskWhatRang"),
                ("$endpoint.EndpointStatus in ['Failed', 'OutOfService', 'UpdateRollbackFailed']", "EndpointFailed"),
                ("$toMillis($now()) > $deadline", "TooLate"),
                ("$endpoint.EndpointStatus = 'RollingBack' and $firing = ''", "SeeWhatFires"),
                *arms,
                default="AwaitEndpoint",
            ),
            # an alarm may be OK again long before the rollback has ended
            "SeeWhatFires": look_at_alarms(next_state="AwaitEndpoint", catch="AwaitEndpoint"),
            # the alarms, which are about to be deleted, contain the reason: an abort, or a failed check
            "AskWhatRang": look_at_alarms(next_state="TookBack", catch="TookBack"),
            "TookBack": assign(
                ROLLED_BACK,
                orphan=True,
                reason=_sentences(
                    "'SageMaker rolled back to ' & $endpoint.EndpointConfigName",
                    WHY_STOPPED,
                    WHY_UNLIKE,
                    WHY_UNREADABLE,
                    _ALSO_FIRING,
                ),
            ),
            "EndpointFailed": assign(
                FAILED,
                # a failed creation left nothing in use; after a failed update the new config may still be in use
                orphan="{% $plan.action = 'create' %}",
                reason=_sentences("'endpoint is ' & $endpoint.EndpointStatus"),
            ),
            "TooLate": assign(
                FAILED, reason=f"{{% 'endpoint is still ' & $endpoint.EndpointStatus & ' after {limit} s' %}}"
            ),
        }


def _sentences(*parts: str) -> str:
    """Return an expression that joins the parts, SageMaker's failure reason and the last error, without empty ones."""
    sentences = ", ".join((*parts, "$endpoint.FailureReason", "$caught"))
    return f"{{% $join([{sentences}][$ != ''], '. ') %}}"
