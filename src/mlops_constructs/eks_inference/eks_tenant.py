"""A business unit's namespace on a cluster, with its quota, roles and access entries, and the function that creates it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._validation import is_known, raise_if_any
from mlops_constructs.eks_inference.eks_capacity import Demand
from mlops_constructs.eks_inference.eks_cluster import EksCluster
from mlops_constructs.eks_inference.manifest_applier import (
    define_applier,
    define_bootstrap,
    define_file,
    define_manifests,
    define_reader,
    define_writer,
)
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.serving import EksTenantSpec
from mlops_runtime.eks.kubernetes_objects import METRICS, NETWORK_POLICIES, Manifest, Ref
from mlops_runtime.eks.slot_limits import QuantityError, quantity, tenant_problems
from mlops_runtime.eks.tenant import enforcement_manifest, slot_group, tenant_manifests

# services that functions of the unit call to reach a cluster and its load balancers
_SERVICES = ("eks", "elasticloadbalancing")


@checked("InvalidBootstrap")
@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """Creation of namespace, quota, roles and network policy enforcement on a cluster. Use one of the two factories.

    Example:
        >>> Bootstrap.yaml().is_function
        False
    """

    is_function: bool

    @classmethod
    def function(cls) -> "Bootstrap":
        """Let a function of the unit create them: it gives itself an access entry of an administrator, and always removes it.

        Creation and removal of the entry are recorded in the unit's audit bucket, under ``access/``.
        """
        return cls(is_function=True)

    @classmethod
    def yaml(cls) -> "Bootstrap":
        """Write them to a file that the platform team applies; the unit's functions only get access to its namespace."""
        return cls(is_function=False)


@checked("InvalidEksTenant")
@dataclass(frozen=True, slots=True, kw_only=True)
class TenantQuota:
    """Resource quota of a unit's namespace.

    Args:
        cpu: CPU of all pods. Default: 64 cores.
        memory: Memory of all pods. Default: ``128Gi``.
        pods: Number of pods. Default: 100.

    Example:
        >>> TenantQuota(cpu="16", memory="32Gi", pods=20).pods
        20
    """

    cpu: str = "64"
    memory: str = "128Gi"
    pods: int = 100


class IEksTenant(Protocol):
    """A unit's namespace on a cluster, in which its services run."""

    @property
    def business_unit(self) -> IBusinessUnit:
        """The unit of the namespace."""
        ...

    @property
    def cluster(self) -> EksCluster:
        """The cluster."""
        ...

    @property
    def namespace(self) -> str:
        """The namespace."""
        ...

    def add_writer(self, scope: Construct, id: str, *, function: lambda_.IFunction) -> None:
        """Let a function of the unit change the slots of services in the namespace, and nothing else."""
        ...

    def add_reader(self, scope: Construct, id: str, *, function: lambda_.IFunction) -> None:
        """Grant a function of the unit read access to the namespace's objects."""
        ...

    def add_manifests(
        self, scope: Construct, id: str, *, name: str, manifests: Sequence[Manifest], owned: Sequence[Ref] = ()
    ) -> cdk.CustomResource:
        """Apply manifests to the namespace when the stack is deployed, and delete them with the stack."""
        ...

    def claim(self, scope: Construct, name: str, demand: Demand) -> None:
        """Count a service against the quota."""
        ...


@checked("InvalidEksTenant")
class EksTenant(Construct):
    """A namespace for a business unit on a cluster. Stateless.

    Defines the namespace with restricted pod security, quota, default-deny network policy, the Role that applies its services, on
    EKS Auto Mode the setting that makes the cluster enforce network policies, the function that applies manifests, and its access
    entry. Creating a namespace requires an administrator, see ``Bootstrap``; its function rejects a cluster without metrics, and
    one without Auto Mode whose VPC CNI add-on does not enforce network policies.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit; it runs in the cluster's network.
        cluster: EKS cluster in which the namespace is created.
        namespace: The namespace. Default: the unit's name.
        quota: Resource quota of the namespace. Default: ``TenantQuota()``: 64 cores, 128 GiB, 100 pods.
        bootstrap: How the namespace is created. Default: ``Bootstrap.function()``.
        labels: Labels of the unit's objects. Default: those of the platform.

    Raises:
        ValidationError: With every value that is not allowed.

    Example:
        >>> tenant = EksTenant(self, "Tenant", business_unit=unit, cluster=cluster)
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        business_unit: IBusinessUnit,
        cluster: EksCluster,
        namespace: str | None = None,
        quota: TenantQuota | None = None,
        bootstrap: Bootstrap | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(scope, id)
        self._unit, self._cluster = business_unit, cluster
        quota = TenantQuota() if quota is None else quota
        name = business_unit.name if namespace is None else namespace
        self._spec = EksTenantSpec(
            namespace=name,
            unit=business_unit.name,
            applier_group=f"mlops:{name}",
            cpu=quota.cpu,
            memory=quota.memory,
            pods=quota.pods,
            labels={} if labels is None else dict(labels),
        )
        raise_if_any(self, "InvalidEksTenant", [*tenant_problems(self._spec), self._network_problem()])
        self._claims: dict[str, Demand] = {}
        business_unit.reach(_SERVICES)
        self._ingress = cluster.admit(self, "ApiIngress", group=business_unit.security_group)
        self._applier = define_applier(self, "Applier", business_unit=business_unit, cluster=cluster)
        self._entry = define_writer(
            self, "ApplierEntry", cluster=cluster, function=self._applier, group=self._spec.applier_group
        )
        self._manifests_url = self._define_place(Bootstrap.function() if bootstrap is None else bootstrap)
        business_unit.tag(self)

    @property
    def business_unit(self) -> IBusinessUnit:
        """The unit of the namespace."""
        return self._unit

    @property
    def namespace(self) -> str:
        """The namespace."""
        return self._spec.namespace

    @property
    def cluster(self) -> EksCluster:
        """The cluster."""
        return self._cluster

    @property
    def applier_group(self) -> str:
        """Kubernetes group of the function that applies the unit's manifests."""
        return self._spec.applier_group

    @property
    def manifests(self) -> list[Manifest]:
        """Manifests of the namespace and its surroundings, in the order in which they are applied.

        The setting that enforces network policies is included on EKS Auto Mode only; elsewhere the VPC CNI add-on owns it.
        """
        enforcement = [enforcement_manifest()] if self._cluster.auto_mode else []
        return [*tenant_manifests(self._spec), *enforcement]

    @property
    def manifests_url(self) -> str | None:
        """URL of the file for the platform team, with ``Bootstrap.yaml()``; None otherwise."""
        return self._manifests_url

    def add_writer(self, scope: Construct, id: str, *, function: lambda_.IFunction) -> None:
        """Let a function of the unit change the slots of services in the namespace, and nothing else.

        Args:
            scope: Parent of the access entry.
            id: Construct id.
            function: Function that gets the access entry.
        """
        define_writer(scope, id, cluster=self._cluster, function=function, group=slot_group(self._spec))

    def add_reader(self, scope: Construct, id: str, *, function: lambda_.IFunction) -> None:
        """Grant a function of the unit read access to the namespace's objects.

        Args:
            scope: Parent of the access entry.
            id: Construct id.
            function: Function that gets the access entry.
        """
        define_reader(scope, id, cluster=self._cluster, function=function, namespace=self._spec.namespace)

    def add_manifests(
        self, scope: Construct, id: str, *, name: str, manifests: Sequence[Manifest], owned: Sequence[Ref] = ()
    ) -> cdk.CustomResource:
        """Apply manifests to the namespace when the stack is deployed, and delete them with the stack.

        Args:
            scope: Parent.
            id: Construct id.
            name: Name of the service that the manifests belong to.
            manifests: Kubernetes objects, applied in this order.
            owned: Further objects to delete with them. Default: none.
        """
        resource = define_manifests(
            scope,
            id,
            function=self._applier,
            cluster=self._cluster,
            name=f"{self._spec.namespace}/{name}",
            manifests=manifests,
            owned=owned,
        )
        resource.node.add_dependency(self)
        return resource

    def claim(self, scope: Construct, name: str, demand: Demand) -> None:
        """Count a service against the quota: both of its slots run during a rollout.

        Args:
            scope: The service.
            name: Name of the service.
            demand: Largest resource use of the service.

        Raises:
            ValidationError: If the quota is smaller than the largest use of all services of the namespace.
        """
        self._claims[name] = demand
        claimed = list(self._claims.values())
        spec = self._spec
        needs = {
            "cpu": (sum(d.cpu for d in claimed), _number(spec.cpu), spec.cpu),
            "memory": (sum(d.memory for d in claimed), _number(spec.memory), spec.memory),
            "pods": (float(sum(d.pods for d in claimed)), float(spec.pods), str(spec.pods)),
        }
        raise_if_any(
            scope,
            "QuotaTooSmall",
            [
                f"quota.{what} must be at least {_text(what, need)}, got {got}: {' and '.join(sorted(self._claims))} run in two "
                "slots during a rollout, each with an extra pod; raise the quota or lower max_pods"
                for what, (need, allowed, got) in needs.items()
                if need > allowed
            ],
        )

    def _define_place(self, bootstrap: Bootstrap) -> str | None:
        if not bootstrap.is_function:
            return define_file(self, "Place", manifests=self.manifests).s3_object_url
        function = define_bootstrap(self, "Bootstrap", business_unit=self._unit, cluster=self._cluster)
        place = define_manifests(
            self,
            "Place",
            function=function,
            cluster=self._cluster,
            name=self._spec.namespace,
            manifests=self.manifests,
            requires=[METRICS] if self._cluster.auto_mode else [NETWORK_POLICIES, METRICS],
        )
        # the deletion's access is recorded too, so it comes before a development unit's audit bucket is emptied
        place.node.add_dependency(self._ingress, function, self._unit.audit_bucket)
        # order of deletion: services by the applier, then its access entry, then the namespace
        self._entry.node.add_dependency(place)
        return None

    def _network_problem(self) -> str | None:
        ours, theirs = self._unit.vpc.vpc_id, self._cluster.vpc_id
        if not is_known(ours) or not is_known(theirs) or ours == theirs:
            return None
        return (
            f"the unit must run in the cluster's network {theirs!r}, got {ours!r}: its functions call the cluster's private API, "
            "and its load balancers reach pods; set the unit's network=Network.from_shared_vpc(...) or Network.from_vpc(...)"
        )


def _number(text: str) -> float:
    try:
        return float(quantity(text))
    except QuantityError:
        return 0.0


def _text(what: str, need: float) -> str:
    return f"{need / 1024**3:g}Gi" if what == "memory" else f"{need:g}"
