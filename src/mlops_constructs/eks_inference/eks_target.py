"""Two slots on a cluster as a rollout target, and the states that send golden requests and shift traffic."""

from collections.abc import Mapping
from dataclasses import dataclass

from mlops_constructs._arguments import checked
from mlops_constructs._state_machine import NOW, State, assign, choose, invoke, task, wait
from mlops_constructs.rollout.candidate_states import (
    AGAIN_PASSED,
    CHECK_SECONDS,
    NOT_REPEATED,
    WHY_UNLIKE,
    golden_state,
)
from mlops_constructs.rollout.evidence_states import (
    COMPARES,
    COUNTED,
    IS_DOUBTED,
    STOPPED,
    WHY_DOUBTED,
    WHY_STOPPED,
    look_at_alarms,
    poll_verdict_states,
    put_alarms_states,
    verdict_state,
)
from mlops_constructs.rollout.rollout_policy import (
    FAILED,
    POLL_GRACE_SECONDS,
    PROMOTED,
    ROLLED_BACK,
    TURNED_DOWN,
    RolloutKind,
    RolloutPolicy,
)
from mlops_runtime.contracts.rollout import RolloutSpec
from mlops_runtime.contracts.serving import SLOTS
from mlops_runtime.eks.slot_limits import policy_problems
from mlops_runtime.rollout.verdict import DOUBTFUL

_ELB = "aws-sdk:elasticloadbalancingv2:"
# limit for pods of a slot to start: start a node, pull the image, fetch and load the model
START_SECONDS = 1800
# a load balancer still sends requests to targets without weight for some seconds
# https://github.com/argoproj/argo-rollouts/issues/4595
_DRAIN_SECONDS = 60
# a load balancer publishes the metrics of a minute some minutes later
# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
_EVIDENCE_SECONDS = 180
# the function's timeout and a margin
_SLOT_SECONDS = 150
_HEALTHY = "$count($states.result.TargetHealthDescriptions[TargetHealth.State = 'healthy'])"
# a step ends once the evidence shows that the new fleet is good. The last step has no comparison: it continues while evidence
# against the fleet exists, or until there are requests
_IS_DECIDED = (
    f"($not({COMPARES}) or ($step + 1 < $count($plan.eks.steps) ? $compared.action = 'enough' : "
    f"($compared.evidence < {DOUBTFUL:g} and $compared.calls >= $plan.min_invocations)))"
)
# golden requests before they are sent again, and the step of the last time
_NOT_REPEATED_YET = {**NOT_REPEATED, "step": -1}
_IS_REHEARSED = "$exists($plan.rehearsal.golden)"
_IS_REPEATED = "$exists($plan.again.golden)"
# half-way through the bake time with all traffic
_IS_TIME_TO_REPEAT = (
    f"{_IS_REPEATED} and $again.step < $step and $step + 1 = $count($plan.eks.steps) and "
    "$toMillis($now()) >= $bake_until - $plan.eks.bake * 500"
)
# start of the comparison of metrics
COMPARED_SINCE = f"{{% {_IS_REHEARSED} ? $fromMillis($toMillis($now()) + 60000) : $now() %}}"
_REPEATED_ANSWER = "{% $merge([$states.result.Payload, {'sent': true, 'step': $step}]) %}"
_NO_ANSWER = "{% {'sent': true, 'passed': true, 'reason': '', 'step': $step} %}"


@dataclass(frozen=True, slots=True)
class SlotGolden:
    """States that send golden requests to one slot: before it receives traffic, and again while it serves.

    Each slot has a listener of its own, so that a candidate is tested in place, next to the live slot. Its responses count in its
    target group's metrics, so metrics are compared from the first whole minute after the rehearsal.

    Args:
        golden_arn: ARN of the function ``rollout_golden``.
        endpoint_name: Name of the service.
    """

    golden_arn: str
    endpoint_name: str

    def check(self, *, next_state: str, catch: str) -> State:
        """Return the state that tests the candidate before it receives traffic, and the live slot; the result is ``$golden``."""
        slots = {"slot": "{% $plan.rehearsal.slot %}", "live_slot": "{% $plan.rehearsal.live_slot %}"}
        return golden_state(
            self.golden_arn,
            {"mode": "check", "endpoint": self.endpoint_name, **slots},
            part="rehearsal",
            next_state=next_state,
            catch=catch,
            answer={"golden": "{% $states.result.Payload %}"},
        )

    def again(self, *, next_state: str, catch: str) -> State:
        """Return the state that tests the candidate while it serves; the result is ``$again``."""
        state = golden_state(
            self.golden_arn,
            {"mode": "again", "endpoint": self.endpoint_name, "slot": "{% $plan.again.slot %}"},
            part="again",
            next_state=next_state,
            catch=catch,
            answer={"again": _REPEATED_ANSWER},
        )
        # a failure during the bake is ignored: the check before a promotion decides
        state["Catch"][0]["Assign"] |= {"again": _NO_ANSWER}
        return state


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotSteps:
    """The states of one service.

    Args:
        slot_arn: ARN of the function ``eks_slot``.
        verdict_arn: ARN of the function ``rollout_verdict``; empty if no state invokes it.
        limit: Seconds that the steps, and restoring the weights, may each take.
        golden: States for golden requests. Default: none are sent.
    """

    slot_arn: str
    verdict_arn: str
    limit: int
    golden: SlotGolden | None = None

    def steps(self) -> dict[str, State]:
        """Return the states from ``PutAlarms`` to an exit."""
        return {
            **put_alarms_states(next_state="ApplySlot", catch="NoAlarms"),
            "NoAlarms": self._back("FAILED", "'the alarms of the slot could not be created: ' & $caught"),
            **self._start_states(),
            **self._health_states(),
            **self._rehearsal_states(),
            **self._shift_states(),
            **self._judge_states(),
            **self._again_states(),
            **self._back_states(),
        }

    def take_back(self, *, next_state: str) -> dict[str, State]:
        """Return the state that cleans up after an execution that died: it sets the weights to those of its plan."""
        return {"TakeBack": self._weigh("$plan.eks.start", next_state=next_state, catch=next_state)}

    def unrecorded(self, *, next_state: str) -> dict[str, State]:
        """Return the states from ``IsUnrecorded``, which restore the weights when a promotion could not be recorded.

        A rollback is kept, as after any other end: traffic must not return to a bad version because a record failed. A first model
        has no earlier version.
        """
        back = "$reason & '. Slot ' & $plan.eks.live_slot & ' receives all traffic again'"
        return {
            "IsUnrecorded": choose(
                ("$not($applied) or $request.reason = 'rollback'", next_state),
                ("$plan.action = 'update'", "PutBackUnrecorded"),
                default=next_state,
            ),
            "PutBackUnrecorded": self._weigh(
                "$plan.eks.start",
                next_state=next_state,
                catch="StaysUnrecorded",
                assign={"reason": f"{{% {back} %}}"},
            ),
            "StaysUnrecorded": assign(
                next_state, reason="{% $reason & '. The weights could not be restored: ' & $caught %}"
            ),
        }

    def rest(self, *, next_state: str) -> dict[str, State]:
        """Return the states from ``HasPlan``, which delete the run's alarms and scale the slot without traffic to zero.

        The next execution repeats a step that fails.
        """
        return {
            "HasPlan": choose(("$plan = null", next_state), default="HasAlarms"),
            "HasAlarms": choose(
                ("$count($plan.alarm_names) + $count($plan.leftovers.alarms) > 0", "DeleteAlarms"),
                default="IsSlotLeft",
            ),
            "DeleteAlarms": task(
                "aws-sdk:cloudwatch:deleteAlarms",
                {"AlarmNames": "{% [$plan.alarm_names, $plan.leftovers.alarms] %}"},
                next_state="IsSlotLeft",
                catch="IsSlotLeft",
            ),
            # restored weights apply from now on
            "IsSlotLeft": choose(("$applied or $plan.eks.is_left", "AwaitDrained"), default=next_state),
            "AwaitDrained": wait(_DRAIN_SECONDS, "IdleSlot"),
            "IdleSlot": self._invoke_slot("idle", next_state=next_state, catch=next_state),
        }

    def _start_states(self) -> dict[str, State]:
        # from now on pods without traffic may run
        made = {
            "applied": True,
            "deadline": f"{{% $toMillis($now()) + {START_SECONDS * 1000} %}}",
            "observed": {"is_ready": False, "is_failed": False, "pods": 0, "reason": "its state could not be read"},
            "targets": "",
            "step": 0,
            **({} if self.golden is None else {"again": _NOT_REPEATED_YET}),
        }
        return {
            "ApplySlot": self._invoke_slot(
                "apply", next_state="HasAbort", catch="ApplyFailed", assign=made, caught=made
            ),
            "ApplyFailed": self._back("FAILED", "'slot ' & $plan.eks.slot & ' could not be deployed: ' & $caught"),
            # a person may abort while the pods start
            "HasAbort": choose(("$count($plan.watched) > 0", "LookBefore"), default="ObserveSlot"),
            "LookBefore": look_at_alarms(next_state="IsAborted", catch="IsSlotLate"),
            "IsAborted": choose(("$contains($firing, '-abort (')", "AlarmFires"), default="ObserveSlot"),
            "ObserveSlot": self._observe(next_state="IsSlotReady"),
            "IsSlotReady": choose(
                ("$observed.is_failed", "NeverReady"), ("$observed.is_ready", "DescribeTargets"), default="IsSlotLate"
            ),
            "IsSlotLate": choose(("$toMillis($now()) > $deadline", "NeverReady"), default="AwaitSlot"),
            "AwaitSlot": wait("{% $plan.poll_seconds %}", "HasAbort"),
            "NeverReady": self._back(
                "ROLLED_BACK",
                "'slot ' & $plan.eks.slot & ' got no traffic because it was not ready: ' & "
                "$join([$observed.reason, $targets, $firing, $caught][$ != ''], '. ')",
            ),
        }

    def _health_states(self) -> dict[str, State]:
        def describe(group: str, whose: str, next_state: str) -> State:
            return task(
                f"{_ELB}describeTargetHealth",
                {"TargetGroupArn": f"{{% $lookup($plan.eks.target_groups, {group}) %}}"},
                next_state=next_state,
                catch="IsSlotLate",
                assign={
                    "healthy": f"{{% {_HEALTHY} %}}",
                    "targets": f"{{% {whose} & ' has ' & $string({_HEALTHY}) & ' healthy targets' %}}",
                },
            )

        since = NOW if self.golden is None else COMPARED_SINCE
        confirmed = "ConfirmSlot" if self.golden is None else "HasRehearsal"
        return {
            "DescribeTargets": describe("$plan.eks.slot", "'slot ' & $plan.eks.slot", "IsSlotHealthy"),
            "IsSlotHealthy": choose(("$healthy >= $observed.pods", "HasLiveSlot"), default="IsSlotLate"),
            # a rollback leaves a slot that may be unhealthy, which must not prevent the rollback
            "HasLiveSlot": choose(
                ("$plan.action = 'update' and $request.reason != 'rollback'", "DescribeLiveTargets"),
                default=confirmed,
            ),
            "DescribeLiveTargets": describe("$plan.eks.live_slot", "'the live slot'", "IsLiveHealthy"),
            "IsLiveHealthy": choose(("$healthy >= 1 and $firing = ''", confirmed), default="IsSlotLate"),
            # a call of a stopped execution may have changed the slot meanwhile
            "ConfirmSlot": self._observe(next_state="IsSlotConfirmed"),
            "IsSlotConfirmed": choose(("$observed.is_ready", "AssertWeights"), default="IsSlotLate"),
            # a deployment of the stack may have reset the rule to its template
            "AssertWeights": self._weigh(
                "$plan.eks.start", next_state="Shift", catch="ShiftFailed", assign={**self._until(), "since": since}
            ),
            "ShiftFailed": self._back("FAILED", "'the weights could not be changed: ' & $caught"),
        }

    def _shift_states(self) -> dict[str, State]:
        baked = {
            "bake_until": "{% $toMillis($now()) + $plan.eks.bake * 1000 %}",
            "bake_limit": "{% $toMillis($now()) + $plan.eks.max_bake * 1000 %}",
        }
        ends = "($toMillis($now()) < $bake_until ? $bake_until : $bake_limit)"
        rest = f"$ceil(({ends} - $toMillis($now())) / 1000)"
        first, compared = poll_verdict_states(verdict_arn=self.verdict_arn, next_state="IsBaked")
        return {
            "Shift": self._weigh("$plan.eks.steps[$step]", next_state="IsWatched", catch="ShiftFailed", assign=baked),
            "IsWatched": choose(("$count($plan.watched) > 0", "LookAtAlarms"), default="IsNearEnd"),
            "LookAtAlarms": look_at_alarms(next_state="IsQuiet", catch="NoEvidence"),
            "IsQuiet": choose(("$firing != ''", "AlarmFires"), default=first),
            **compared,
            "IsBaked": choose(
                (STOPPED, "Stopped"),
                ("$toMillis($now()) > $deadline", "TooLate"),
                *(() if self.golden is None else ((_IS_TIME_TO_REPEAT, "AskInBake"),)),
                ("$toMillis($now()) >= $bake_limit", "IsNearEnd"),
                (f"$toMillis($now()) >= $bake_until and {_IS_DECIDED}", "IsNearEnd"),
                default="Bake",
            ),
            "Bake": wait(f"{{% $max([1, $min([$plan.poll_seconds, {rest}])]) %}}", "LookAtAlarms"),
            # all traffic is shifted, and kept, only with evidence
            "IsNearEnd": choose(("$step + 2 < $count($plan.eks.steps)", "NextStep"), default="NeedsEvidence"),
            "NextStep": assign("Shift", step="{% $step + 1 %}"),
            "AlarmFires": self._back("ROLLED_BACK", "$firing"),
            "Stopped": self._back("ROLLED_BACK", WHY_STOPPED),
            "TooLate": self._back("ROLLED_BACK", f"'the rollout did not finish within {self.limit} s'"),
        }

    def _rehearsal_states(self) -> dict[str, State]:
        if self.golden is None:
            return {}
        return {
            "HasRehearsal": choose((_IS_REHEARSED, "CheckGolden"), default="ConfirmSlot"),
            "CheckGolden": self.golden.check(next_state="IsGolden", catch="GoldenUnknown"),
            "IsGolden": choose(("$golden.passed", "Rehearsed"), default="NotGolden"),
            # values in which the live model could not be compared
            "Rehearsed": assign("ConfirmSlot", shown="{% $shown & ($golden.note = '' ? '' : '; ' & $golden.note) %}"),
            "NotGolden": self._back("REFUSED", "'golden requests: ' & $golden.reason"),
            "GoldenUnknown": self._back("FAILED", "'golden requests could not be sent: ' & $caught"),
        }

    def _again_states(self) -> dict[str, State]:
        """Test the slot again: half-way through the bake with all traffic, before all traffic is shifted, and before it is kept."""
        if self.golden is None:
            return {}
        return {
            "AskInBake": self.golden.again(next_state="IsStillGolden", catch="IsBaked"),
            "IsStillGolden": choose(("$again.passed", "IsBaked"), default="Unlike"),
            "HasAgain": choose((_IS_REPEATED, "AskAgain"), default="IsLastStep"),
            "AskAgain": self.golden.again(next_state="IsGoldenAgain", catch="AgainUnknown"),
            "IsGoldenAgain": choose(("$again.passed", "IsLastStep"), default="Unlike"),
            "GoldenAgain": assign(PROMOTED, shown=f"{{% $shown & '{AGAIN_PASSED}' %}}"),
            "Unlike": self._back("ROLLED_BACK", WHY_UNLIKE),
            "AgainUnknown": self._back("ROLLED_BACK", "'golden requests could not be sent again: ' & $caught"),
        }

    def _judge_states(self) -> dict[str, State]:
        evident = "IsLastStep" if self.golden is None else "HasAgain"
        kept = () if self.golden is None else (("$again.sent", "GoldenAgain"),)
        return {
            "NeedsEvidence": choose((COMPARES, "LastVerdict"), default=evident),
            "LastVerdict": verdict_state(
                verdict_arn=self.verdict_arn,
                next_state="IsEvidenceEnough",
                catch="NoEvidence",
            ),
            "IsEvidenceEnough": choose(
                (STOPPED, "Stopped"),
                (f"$compared.calls >= $plan.min_invocations and $not({IS_DOUBTED})", evident),
                (f"$toMillis($now()) < $bake_limit + {_EVIDENCE_SECONDS * 1000}", "AwaitEvidence"),
                default="TooLittleEvidence",
            ),
            "IsLastStep": choose(("$step + 1 < $count($plan.eks.steps)", "NextStep"), *kept, default=PROMOTED),
            # alarms are still checked
            "AwaitEvidence": wait("{% $plan.poll_seconds %}", "LookAtAlarms"),
            "NoEvidence": self._back("ROLLED_BACK", "'alarms or requests could not be read: ' & $caught"),
            "TooLittleEvidence": self._back(
                "ROLLED_BACK",
                f"{IS_DOUBTED} ? {WHY_DOUBTED} : "
                "'slot ' & $plan.eks.slot & ' answered ' & $string($compared.calls) & ' requests, a promotion needs ' & "
                f"$string($plan.min_invocations) & {COUNTED}",
            ),
        }

    def _back_states(self) -> dict[str, State]:
        return {
            "PutBack": self._weigh("$plan.eks.start", next_state="WhereTo", catch="IsBackLate"),
            "IsBackLate": choose(("$toMillis($now()) > $deadline", "BackFailed"), default="AwaitBack"),
            "AwaitBack": wait("{% $plan.poll_seconds %}", "PutBack"),
            "WhereTo": choose(
                *(() if self.golden is None else (("$verdict = 'REFUSED'", TURNED_DOWN),)),
                ("$verdict = 'ROLLED_BACK' and $plan.action = 'update'", ROLLED_BACK),
                default=FAILED,
            ),
            "BackFailed": assign(FAILED, reason="{% $reason & '; the weights could not be restored: ' & $caught %}"),
        }

    def _back(self, verdict: str, reason: str) -> State:
        """Store the verdict and its reason, and restore the weights; the exit follows."""
        return assign("PutBack", verdict=verdict, reason=f"{{% {reason} %}}", **self._until())

    def _until(self) -> dict[str, object]:
        return {"deadline": f"{{% $toMillis($now()) + {self.limit * 1000} %}}"}

    def _weigh(self, weights: str, *, next_state: str, catch: str, assign: Mapping[str, object] | None = None) -> State:
        """Write both weights in one call.

        See: https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_ModifyRule.html
        """
        groups = [
            {"TargetGroupArn": f"{{% $plan.eks.target_groups.{slot} %}}", "Weight": f"{{% {weights}.{slot} %}}"}
            for slot in SLOTS
        ]
        return task(
            f"{_ELB}modifyRule",
            {
                "RuleArn": "{% $plan.eks.rule %}",
                "Actions": [{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}],
            },
            next_state=next_state,
            catch=catch,
            assign=assign,
        )

    def _observe(self, *, next_state: str) -> State:
        answer = {"observed": "{% $states.result.Payload %}"}
        return self._invoke_slot("observe", next_state=next_state, catch="IsSlotLate", assign=answer)

    def _invoke_slot(
        self,
        action: str,
        *,
        next_state: str,
        catch: str,
        assign: Mapping[str, object] | None = None,
        caught: Mapping[str, object] | None = None,
    ) -> State:
        state = invoke(
            self.slot_arn,
            {
                "action": action,
                "plan": "{% $plan %}",
                "outcome": "{% $outcome %}",
                "execution": "{% $execution %}",
                "now": NOW,
            },
            next_state=next_state,
            catch=catch,
            assign=assign,
            timeout=_SLOT_SECONDS,
        )
        state["Catch"][0]["Assign"] |= dict(caught or {})
        return state


@checked("InvalidEksTarget")
@dataclass(frozen=True, slots=True, kw_only=True)
class EksTarget:
    """A service in two slots, with traffic shifted by the weights of its listener rule.

    Args:
        endpoint_name: Name of the service.
        slot_arn: ARN of the function ``eks_slot``, which the states invoke.

    Example:
        >>> EksTarget(endpoint_name="demand-forecast", slot_arn="arn:aws:lambda:us-east-1:1:function:slot").effective_percent(7)
        7.0
    """

    endpoint_name: str
    slot_arn: str

    @property
    def name(self) -> str:
        """Name in errors and descriptions."""
        return "EKS"

    @property
    def kinds(self) -> frozenset[RolloutKind]:
        """Supported kinds of rollout: a slot is complete in itself, so there are no batches."""
        return frozenset(RolloutKind) - {RolloutKind.ROLLING}

    @property
    def is_reset_by_stack(self) -> bool:
        """True: CloudFormation resets a rule's weights with any other change of the rule, such as tags of the whole stack."""
        return True

    @property
    def functions(self) -> tuple[str, ...]:
        """ARNs of the functions that the target's own states invoke."""
        return (self.slot_arn,)

    def effective_percent(self, percent: int) -> float:
        """Return the share of requests that a step shifts, which is exact."""
        return float(percent)

    def problems(self, policy: RolloutPolicy) -> list[str]:
        """Return the parts of a policy that slots do not support."""
        return list(policy_problems(policy.to_spec()))

    def lead_seconds(self, rollout: RolloutSpec) -> int:
        """Return the longest time before the first step: the pods of a slot start and are rehearsed."""
        return START_SECONDS + (0 if rollout.golden is None else CHECK_SECONDS)

    def busy(self, *, next_state: str) -> tuple[str, dict[str, State]]:
        """Return the state that sets the weights to those of the plan, to clean up after an execution that died."""
        return "TakeBack", self._steps(0).take_back(next_state=next_state)

    def steps(
        self,
        *,
        rollout: RolloutSpec,
        golden_arn: str | None,
        verdict_arn: str,
        answers_arn: str | None = None,
    ) -> tuple[str, dict[str, State]]:
        """Return the states from the plan to an exit."""
        del answers_arn
        steps = self._steps(rollout.maximum + POLL_GRACE_SECONDS, verdict_arn, golden_arn)
        return "PutAlarms", steps.steps()

    def unrecorded(self, *, next_state: str) -> tuple[str, dict[str, State]]:
        """Return the states that restore the weights: a promotion needs a record."""
        return "IsUnrecorded", self._steps(0).unrecorded(next_state=next_state)

    def clean_up(self, *, next_state: str) -> tuple[str, dict[str, State]]:
        """Return the states that delete the run's alarms, and scale the slot without traffic to zero."""
        return "HasPlan", self._steps(0).rest(next_state=next_state)

    def _steps(self, limit: int, verdict_arn: str = "", golden_arn: str | None = None) -> SlotSteps:
        golden = None if golden_arn is None else SlotGolden(golden_arn, self.endpoint_name)
        return SlotSteps(slot_arn=self.slot_arn, verdict_arn=verdict_arn, limit=limit, golden=golden)
