"""Where a model is rolled out: the pure description of one target's steps in the Deploy machine."""

from dataclasses import dataclass
from typing import Protocol

from mlops_constructs._states import CAUGHT, NOW, State, assign, choose, task, wait
from mlops_constructs.rollout.policy import RolloutKind, RolloutPolicy

# states of the Deploy machine to which a target's steps lead; each has set $reason
PROMOTED = "Promoted"
ROLLED_BACK = "RolledBack"
FAILED = "Failed"

_SDK = "aws-sdk:sagemaker:"
# grace for starting and stopping instances beyond the time that SageMaker itself allows a rollout
POLL_GRACE_SECONDS = 900


class RolloutTarget(Protocol):
    """What the Deploy machine needs to know of a target. SageMaker is one; EKS slots will be another."""

    @property
    def name(self) -> str:
        """Name for errors and descriptions."""
        ...

    @property
    def kinds(self) -> frozenset[RolloutKind]:
        """Kinds of rollout that the target executes."""
        ...

    def effective_percent(self, percent: int) -> float:
        """Return which share a step of ``percent`` really moves."""
        ...

    def problems(self, policy: RolloutPolicy) -> list[str]:
        """Return why the target cannot execute a policy."""
        ...

    def steps(self, *, maximum: int, partition: str) -> tuple[str, dict[str, State]]:
        """Return the first state's name and the states from the plan to one of the exits, ``$reason`` being set."""
        ...

    def clean_up(self, *, next_state: str, partition: str) -> tuple[str, dict[str, State]]:
        """Return the first state's name and the states that remove what no longer serves; none of them can fail."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SageMakerTarget:
    """A SageMaker real-time endpoint, updated blue/green.

    Args:
        endpoint_name: Name of the endpoint.
        instance_count: Instances of the variant, of which a canary is a slice.

    Example:
        >>> SageMakerTarget(endpoint_name="demand-forecast", instance_count=3).effective_percent(50)
        33.3
    """

    endpoint_name: str
    instance_count: int

    @property
    def name(self) -> str:
        """Name for errors and descriptions."""
        return "SageMaker"

    @property
    def kinds(self) -> frozenset[RolloutKind]:
        """Kinds of rollout that the target executes."""
        return frozenset({RolloutKind.ALL_AT_ONCE, RolloutKind.CANARY})

    def effective_percent(self, percent: int) -> float:
        """Return which share of the instances a step moves, in percent with one decimal: whole ones only.

        See: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green-canary.html
        """
        return round(self.instance_count * percent // 100 / self.instance_count * 100, 1)

    def problems(self, policy: RolloutPolicy) -> list[str]:
        """Return why SageMaker cannot execute a policy."""
        problems = []
        if policy.kind not in self.kinds:
            allowed = ", ".join(sorted(kind.value for kind in self.kinds))
            problems.append(
                f"rollout must be one of {allowed} on SageMaker, got {policy.kind.value}; use RolloutPolicy.canary"
            )
        elif policy.percent is not None and self.instance_count * policy.percent < 100:
            needed = -(-100 // policy.percent)
            problems.append(
                f"a canary of {policy.percent} % is less than one of {self.instance_count} instances; "
                f"use count={needed} or more, or a larger percent (at most 50)"
            )
        return problems

    def steps(self, *, maximum: int, partition: str) -> tuple[str, dict[str, State]]:
        """Return the states from the plan to one of the exits.

        A rollout that AWS takes back ends InService with the old config and often without a reason, so success is InService
        and the new config.
        """
        limit = maximum + POLL_GRACE_SECONDS
        return "CreateModel", {
            **self._create_states(partition),
            **self._apply_states(partition, limit),
            **self._evidence_states(partition, limit),
        }

    def clean_up(self, *, next_state: str, partition: str) -> tuple[str, dict[str, State]]:
        """Return the states that delete the new fleet's alarms, and the config and model that no longer serve."""

        def delete(integration: str, arguments: object, after: str) -> State:
            return task(integration, arguments, partition=partition, next_state=after, catch=after)

        return "HasPlan", {
            "HasPlan": choose(
                ("$plan != null and $plan.action in ['create', 'update']", "HasAlarms"), default=next_state
            ),
            "HasAlarms": choose(("$count($plan.alarm_names) > 0", "DeleteAlarms"), default="WhatIsUnused"),
            "DeleteAlarms": delete(
                "aws-sdk:cloudwatch:deleteAlarms", {"AlarmNames": "{% [$plan.alarm_names] %}"}, "WhatIsUnused"
            ),
            # the version before this one stays, to go back to; the one before that goes
            "WhatIsUnused": choose(
                ("$outcome = 'PROMOTED' and $plan.expired_config != null", "OldIsUnused"),
                ("$outcome != 'PROMOTED' and $orphan and $plan.action = 'create'", "DeleteEndpoint"),
                ("$outcome != 'PROMOTED' and $orphan", "NewIsUnused"),
                default=next_state,
            ),
            "DeleteEndpoint": delete(f"{_SDK}deleteEndpoint", {"EndpointName": self.endpoint_name}, "NewIsUnused"),
            "OldIsUnused": assign("DeleteConfig", unused="{% $plan.expired_config %}"),
            "NewIsUnused": assign("DeleteConfig", unused="{% $plan.config_name %}"),
            "DeleteConfig": delete(
                f"{_SDK}deleteEndpointConfig", {"EndpointConfigName": "{% $unused %}"}, "DeleteModel"
            ),
            "DeleteModel": delete(f"{_SDK}deleteModel", {"ModelName": "{% $unused %}"}, next_state),
        }

    def _create_states(self, partition: str) -> dict[str, State]:
        alarm = task(
            "aws-sdk:cloudwatch:putMetricAlarm",
            "{% $states.input %}",
            partition=partition,
            next_state="",
            catch="AlarmFailed",
        )
        del alarm["Next"]
        return {
            # names come from the execution: what exists already was made by an attempt whose answer got lost
            "CreateModel": task(
                f"{_SDK}createModel",
                "{% $plan.create_model %}",
                partition=partition,
                next_state="CreateEndpointConfig",
                catch="ModelExists",
            ),
            "ModelExists": choose(("$contains($caught, 'already exist')", "CreateEndpointConfig"), default="Caught"),
            "CreateEndpointConfig": task(
                f"{_SDK}createEndpointConfig",
                "{% $plan.create_endpoint_config %}",
                partition=partition,
                next_state="PutAlarms",
                catch="ConfigExists",
            ),
            "ConfigExists": choose(("$contains($caught, 'already exist')", "PutAlarms"), default="Caught"),
            # the dimension of the new fleet is its config's name, known only now
            "PutAlarms": {
                "Type": "Map",
                "Items": "{% [$plan.alarms] %}",
                "MaxConcurrency": 1,
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "INLINE"},
                    "StartAt": "PutAlarm",
                    "States": {
                        "PutAlarm": {**alarm, "End": True},
                        "AlarmFailed": {"Type": "Fail", "Error": "PutAlarmFailed", "Cause": "{% $caught %}"},
                    },
                },
                "Catch": [
                    {
                        "ErrorEquals": ["States.ALL"],
                        "Assign": {"caught": CAUGHT},
                        "Output": {},
                        "Next": "Caught",
                    }
                ],
                "Output": {},
                "Next": "IsNew",
            },
            "IsNew": choose(("$plan.action = 'create'", "CreateEndpoint"), default="UpdateEndpoint"),
        }

    def _apply_states(self, partition: str, limit: int) -> dict[str, State]:
        # From here on the endpoint itself says what happened, whatever the call answered.
        deadline = {"deadline": f"{{% $toMillis($now()) + {limit * 1000} %}}", "orphan": False}

        def apply(action: str) -> State:
            return task(
                f"{_SDK}{action}Endpoint",
                f"{{% $plan.{action}_endpoint %}}",
                partition=partition,
                next_state="AwaitEndpoint",
                catch="AwaitEndpoint",
                assign=deadline,
                assign_caught=deadline,
            )

        settled = "$not($exists($endpoint.PendingDeploymentSummary))"
        return {
            "CreateEndpoint": apply("create"),
            "UpdateEndpoint": apply("update"),
            "AwaitEndpoint": wait("{% $plan.poll_seconds %}", "DescribeEndpoint"),
            "DescribeEndpoint": self._describe(partition, "JudgeEndpoint"),
            "JudgeEndpoint": choose(
                (
                    f"$endpoint.EndpointStatus = 'InService' and $endpoint.EndpointConfigName = $plan.config_name and {settled}",
                    "NeedsEvidence",
                ),
                (f"$endpoint.EndpointStatus = 'InService' and {settled}", "TookBack"),
                ("$endpoint.EndpointStatus in ['Failed', 'OutOfService', 'UpdateRollbackFailed']", "EndpointFailed"),
                ("$toMillis($now()) > $deadline", "TooLate"),
                default="AwaitEndpoint",
            ),
            "TookBack": assign(
                ROLLED_BACK,
                orphan=True,
                reason=_sentences("'SageMaker went back to ' & $endpoint.EndpointConfigName"),
            ),
            "EndpointFailed": assign(
                FAILED,
                # an endpoint that never came up serves nothing; a failed update may still hold the new config
                orphan="{% $plan.action = 'create' %}",
                reason=_sentences("'endpoint is ' & $endpoint.EndpointStatus"),
            ),
            "TooLate": assign(
                FAILED, reason=f"{{% 'endpoint is still ' & $endpoint.EndpointStatus & ' after {limit} s' %}}"
            ),
        }

    def _evidence_states(self, partition: str, limit: int) -> dict[str, State]:
        dimensions = {
            "EndpointName": self.endpoint_name,
            "VariantName": "{% $plan.variant %}",
            "EndpointConfigName": "{% $plan.config_name %}",
        }
        return {
            "NeedsEvidence": choose(
                (
                    "$request.reason = 'approval' and $plan.action = 'update' and $plan.min_invocations > 0",
                    "CountInvocations",
                ),
                default=PROMOTED,
            ),
            # https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html: metrics of the new fleet
            "CountInvocations": task(
                "aws-sdk:cloudwatch:getMetricStatistics",
                {
                    "Namespace": "AWS/SageMaker",
                    "MetricName": "Invocations",
                    "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
                    "StartTime": "{% $plan.started %}",
                    "EndTime": NOW,
                    "Period": 60,
                    "Statistics": ["Sum"],
                },
                partition=partition,
                next_state="IsEvidenceEnough",
                catch="NoEvidence",
                assign={
                    "invocations": "{% $count($states.result.Datapoints) = 0 ? 0 : "
                    "$sum($map([$states.result.Datapoints], function($d) { $number($d.Sum) })) %}"
                },
            ),
            "IsEvidenceEnough": choose(
                ("$invocations >= $plan.min_invocations", PROMOTED), default="TooLittleEvidence"
            ),
            "NoEvidence": assign("Revert", reason="{% 'invocations could not be counted: ' & $caught %}"),
            "TooLittleEvidence": assign(
                "Revert",
                reason="{% 'the new fleet served ' & $string($invocations) & ' invocations, a promotion needs ' & "
                "$string($plan.min_invocations) %}",
            ),
            "Revert": task(
                f"{_SDK}updateEndpoint",
                "{% $plan.revert_endpoint %}",
                partition=partition,
                next_state="AwaitRevert",
                catch="AwaitRevert",
                assign={"deadline": f"{{% $toMillis($now()) + {limit * 1000} %}}"},
                assign_caught={"deadline": f"{{% $toMillis($now()) + {limit * 1000} %}}"},
            ),
            "AwaitRevert": wait("{% $plan.poll_seconds %}", "DescribeReverted"),
            "DescribeReverted": self._describe(partition, "JudgeReverted"),
            "JudgeReverted": choose(
                (
                    "$endpoint.EndpointStatus = 'InService' and $endpoint.EndpointConfigName = $plan.previous_config and "
                    "$not($exists($endpoint.PendingDeploymentSummary))",
                    "Reverted",
                ),
                (
                    "$endpoint.EndpointStatus in ['InService', 'Failed', 'OutOfService', 'UpdateRollbackFailed'] and "
                    "$not($exists($endpoint.PendingDeploymentSummary))",
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

    def _describe(self, partition: str, next_state: str) -> State:
        return task(
            f"{_SDK}describeEndpoint",
            {"EndpointName": self.endpoint_name},
            partition=partition,
            next_state=next_state,
            catch="Caught",
            assign={"endpoint": "{% $states.result %}"},
        )


def _sentences(first: str) -> str:
    """Return an expression that adds what SageMaker and the last error said, where they said anything."""
    return f"{{% $join([{first}, $endpoint.FailureReason, $caught][$ != ''], '. ') %}}"
