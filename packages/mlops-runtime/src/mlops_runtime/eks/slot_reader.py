"""Reads the listener rule and both slots of a service, from the load balancer and the cluster."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_runtime.contracts.serving import SLOTS
from mlops_runtime.eks.cluster_client import Cluster
from mlops_runtime.eks.kubernetes_objects import deployment_ref
from mlops_runtime.eks.live_slots import ForeignRuleError, Slots, read_weights
from mlops_runtime.eks.manifests import read_slot

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotReader:
    """Reader of a service's slots."""

    elbv2: "ElasticLoadBalancingv2Client"
    # returns the cluster's client; tokens are only valid for minutes, so each read connects again
    connect: Callable[[], Cluster]
    endpoint: str  # name of the service
    namespace: str  # the tenant's namespace
    rule: str  # ARN of the listener rule
    target_groups: Mapping[str, str]  # ARN of each slot's target group

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str], session: "Callable[[], boto3.Session]"
    ) -> "SlotReader | None":
        """Return the reader for a function on EKS (``TARGET=EKS``), or ``None`` for SageMaker.

        Args:
            environment: With ``CLUSTER``, ``ENDPOINT``, ``NAMESPACE``, ``RULE`` and ``TARGET_GROUPS``, a JSON object.
            session: Creates a session.
        """
        if environment.get("TARGET") != "EKS":
            return None
        own, cluster = session(), environment["CLUSTER"]
        return cls(
            elbv2=own.client("elbv2"),
            connect=lambda: Cluster.connect(own, cluster),
            endpoint=environment["ENDPOINT"],
            namespace=environment["NAMESPACE"],
            rule=environment["RULE"],
            target_groups=json.loads(environment["TARGET_GROUPS"]),
        )

    def read(self) -> Slots:
        """Return the current state of both slots.

        Raises:
            ForeignRuleError: If the rule does not exist, or forwards elsewhere.
            ClusterError: If the cluster cannot be read.
        """
        # read the weights first, so that the versions are not older than the weights
        weights = self.weights()
        cluster = self.connect()
        states = {
            slot: read_slot(
                cluster.get(deployment_ref(namespace=self.namespace, endpoint=self.endpoint, slot=slot)), slot
            )
            for slot in SLOTS
        }
        return Slots(weights=weights, states=states, rule=self.rule, target_groups=self.target_groups)

    def weights(self) -> dict[str, int]:
        """Return the share of each slot, in percent.

        Raises:
            ForeignRuleError: If the rule does not exist, or forwards elsewhere.
        """
        rules = self.elbv2.describe_rules(RuleArns=[self.rule])["Rules"]
        if len(rules) != 1:
            raise ForeignRuleError(f"the rule {self.rule} does not exist; deploy the stack again")
        return read_weights(rules[0], self.target_groups)
