"""Interface of a unit's namespace on a cluster."""

from collections.abc import Sequence
from typing import Protocol

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_

from constructs import Construct
from mlops_constructs.eks_inference.eks_capacity import Demand
from mlops_constructs.eks_inference.eks_cluster import EksCluster
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.eks.kubernetes_objects import Manifest, Ref


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
