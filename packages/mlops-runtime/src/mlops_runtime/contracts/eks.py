"""How a model is served on a Kubernetes cluster: two fixed slots behind one weighted listener rule."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SLOTS = ("blue", "green")


@dataclass(frozen=True, slots=True, kw_only=True)
class EksSpec:
    """What an EKS service adds to a serving spec; its ``execution_role`` is the role that the pods take on.

    Args:
        cluster: Name of the cluster; its endpoint and authority are read when it is asked.
        namespace: The tenant's namespace.
        service_account: Account of the pods, with a pod identity association.
        rule: ARN of the listener rule whose weights are shifted.
        target_groups: ARN of each slot's target group.
        minimum: Pods of a slot that serves, at least.
        maximum: Pods at most.
        cpu: CPU of a pod, as a Kubernetes quantity.
        memory: Memory of a pod, request and limit.
        cpu_target: Percent of the CPU that the fleet is scaled to.
        architecture: Of the nodes.
        ingress_cidrs: From where pods may be asked: the load balancer's subnets.
        egress_cidrs: Where pods may call on port 443: the endpoints of S3, STS and KMS.
        alarms: Names of each slot's alarms.
        binding_api: API version of TargetGroupBinding: Auto Mode's, or that of the controller one installs.
        image: Image by digest. Default: that of the model package.
        dns_cidrs: Addresses of the cluster's DNS. Default: those in EKS' default service ranges; give it for another range.
        zones: Names of the load balancer's Availability Zones, in which alone its pods are useful. Default: any, for a spec that
            was written before there were zones.
    """

    cluster: str
    namespace: str
    service_account: str
    rule: str
    target_groups: Mapping[str, str]
    minimum: int
    maximum: int
    cpu: str
    memory: str
    ingress_cidrs: tuple[str, ...]
    egress_cidrs: tuple[str, ...]
    alarms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cpu_target: int = 60
    architecture: Literal["amd64", "arm64"] = "amd64"
    binding_api: Literal["eks.amazonaws.com/v1", "elbv2.k8s.aws/v1beta1"] = "eks.amazonaws.com/v1"
    image: str | None = None
    dns_cidrs: tuple[str, ...] | None = None
    zones: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotVersion:
    """What a slot runs, as annotations of its Deployment say (``mlops.constructs/<field>``).

    ``config`` is the version's name, made of the execution; ``image`` is by digest, ``artifact_sha256`` that of the archive.
    """

    config: str
    package: str
    image: str
    artifact_uri: str
    artifact_sha256: str
    model_sha256: str
    spec_sha256: str
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotState:
    """A slot as the cluster describes it: its version, pods wanted, ready and of the newest revision.

    ``version`` is None where the slot has never been applied. ``unsorted`` are ready pods of whichever revision, where the cluster
    has not looked at the newest one yet, as in the moments after an autoscaler changed the number of pods.
    """

    slot: str
    version: SlotVersion | None
    desired: int = 0
    ready: int = 0
    updated: int = 0
    reason: str = ""
    unsorted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EksTenantSpec:
    """A business unit on a cluster: namespace, quota, and the Kubernetes group of whoever applies its manifests."""

    namespace: str
    unit: str
    applier_group: str
    cpu: str
    memory: str
    pods: int
    labels: Mapping[str, str] = field(default_factory=dict)
