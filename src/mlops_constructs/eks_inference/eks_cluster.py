"""An existing EKS cluster: the attributes that synthesis needs. All others are read at run time."""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Literal

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._stack_values import stack_values
from mlops_constructs._validation import ValidationError, check_pattern, raise_if_any
from mlops_constructs._warnings import SHARED_SUBNETS, warn

BindingApi = Literal["eks.amazonaws.com/v1", "elbv2.k8s.aws/v1beta1"]

# https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateCluster.html
_NAME = r"[0-9A-Za-z][0-9A-Za-z_-]{0,99}"
_GROUP = r"sg-[0-9a-f]{8,17}"
_VPC = r"vpc-[0-9a-f]{8,17}"
_SUBNET = r"subnet-[0-9a-f]{8,17}"
# https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateLoadBalancer.html (Subnets)
_ZONES = 2
# a zone's name starts with its Region, also for Local Zones and Wavelength Zones; nodes have no label with ids such as euc1-az1:
# https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-availability-zones.html
_ZONE = r"[a-z]{2}(?:-[a-z]+)+-\d+(?:[a-z]|(?:-[a-z0-9]+)+)"
_FIND = "list them with: aws ec2 describe-subnets --query Subnets[].[AvailabilityZone,SubnetId]"
_BY_ZONE = "subnets by zone such as {'eu-central-1a': 'subnet-0123456789abcdef0'}"
# a network without internet access only has routes to its endpoints; the addresses of S3's gateway endpoint are public
_ANYWHERE = ("0.0.0.0/0",)


@checked("InvalidEksCluster")
class EksCluster(Construct):
    """An existing EKS cluster that a platform team runs. Stateless.

    Functions read its API endpoint and certificate authority by ``eks:DescribeCluster`` on each use, so that a cluster can be
    replaced under its name without a new deployment. The cluster must authenticate by access entries (``API`` or
    ``API_AND_CONFIG_MAP``), and have the Pod Identity agent and a controller for target group bindings: EKS Auto Mode has both.

    Args:
        scope: Parent.
        id: Construct id.
        name: Name of the cluster, in the stack's account and Region.
        security_group_id: Cluster security group, ``cluster.resourcesVpcConfig.clusterSecurityGroupId``.
        subnet_cidrs: CIDR blocks of the load balancers' subnets: pods accept traffic only from them.
        vpc_id: VPC of the cluster, in which the unit must run too. Default: not compared with the unit's.
        pod_security_group_id: Security group of the pods. Default: the cluster's, as on Auto Mode and managed nodes.
        egress_cidrs: Addresses of the S3 endpoints, which pods may call on port 443. Default: any, for a network that only has
            routes to its endpoints; the addresses of S3's gateway endpoint are public.
        dns_cidrs: Addresses of the cluster's DNS. Default: those in EKS' default service CIDR ranges; required for another range.
        auto_mode: Whether the cluster runs EKS Auto Mode, whose controller binds target groups. Default: it does; False for a
            cluster with the AWS Load Balancer Controller. Each deployment checks it against DescribeCluster.
        load_balancer_subnets: Subnets of the load balancers, ids by name of the Availability Zone, with the addresses in
            ``subnet_cidrs``. Default: the unit's subnets, with a warning at synthesis: pods in them can call the service's pods
            too.

    Raises:
        ValidationError: With every attribute that is missing or malformed.

    Example:
        >>> cluster = EksCluster.from_cluster_attributes(self, "Cluster", name="retail", security_group_id="sg-0123456789abcdef0",
        ...                                      subnet_cidrs=["10.0.0.0/20", "10.0.16.0/20"])
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        name: str,
        security_group_id: str,
        subnet_cidrs: Sequence[str],
        vpc_id: str | None = None,
        pod_security_group_id: str | None = None,
        egress_cidrs: Sequence[str] | None = None,
        dns_cidrs: Sequence[str] | None = None,
        auto_mode: bool = True,
        load_balancer_subnets: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(scope, id)
        raise_if_any(
            self,
            "InvalidEksCluster",
            [
                _given("name", name, pattern=_NAME, allowed="1 to 100 letters, digits, hyphens or underscores"),
                _given(
                    "security_group_id",
                    security_group_id,
                    pattern=_GROUP,
                    allowed="an id such as 'sg-0123456789abcdef0'",
                ),
                check_pattern("vpc_id", vpc_id, pattern=_VPC, allowed="an id such as 'vpc-0123456789abcdef0'"),
                check_pattern(
                    "pod_security_group_id", pod_security_group_id, pattern=_GROUP, allowed="an id such as 'sg-0...'"
                ),
                *_cidr_problems("subnet_cidrs", subnet_cidrs),
                *_size_problems("subnet_cidrs", subnet_cidrs),
                *_cidr_problems("egress_cidrs", _ANYWHERE if egress_cidrs is None else egress_cidrs),
                *([] if dns_cidrs is None else _cidr_problems("dns_cidrs", dns_cidrs)),
                _mode_problem(auto_mode),
                *([] if load_balancer_subnets is None else _subnet_problems(load_balancer_subnets)),
            ],
        )
        self._name = name
        self._security_group_id = security_group_id
        self._pod_security_group_id = security_group_id if pod_security_group_id is None else pod_security_group_id
        self._vpc_id = vpc_id
        self._subnet_cidrs = tuple(subnet_cidrs)
        self._egress_cidrs = _ANYWHERE if egress_cidrs is None else tuple(egress_cidrs)
        self._dns_cidrs = None if dns_cidrs is None else tuple(dns_cidrs)
        self._auto_mode = auto_mode
        self._load_balancer_subnets = None if load_balancer_subnets is None else dict(load_balancer_subnets)
        if load_balancer_subnets is None:
            warn(self, SHARED_SUBNETS, cluster=name)

    @classmethod
    def from_cluster_attributes(
        cls,
        scope: Construct,
        id: str,
        *,
        name: str,
        security_group_id: str,
        subnet_cidrs: Sequence[str],
        vpc_id: str | None = None,
        pod_security_group_id: str | None = None,
        egress_cidrs: Sequence[str] | None = None,
        dns_cidrs: Sequence[str] | None = None,
        auto_mode: bool = True,
        load_balancer_subnets: Mapping[str, str] | None = None,
    ) -> "EksCluster":
        """Use a cluster by its attributes; the same as the constructor, named like CDK's import methods.

        Args:
            scope: Parent.
            id: Construct id.
            name: Name of the cluster.
            security_group_id: Cluster security group.
            subnet_cidrs: CIDR blocks of the load balancers' subnets.
            vpc_id: VPC of the cluster. Default: not compared with the unit's.
            pod_security_group_id: Security group of the pods. Default: the cluster's.
            egress_cidrs: Addresses of the S3 endpoints. Default: any.
            dns_cidrs: Addresses of the cluster's DNS. Default: those in EKS' default service CIDR ranges.
            auto_mode: Whether the cluster runs EKS Auto Mode. Default: it does.
            load_balancer_subnets: Subnets of the load balancers, ids by name of the zone. Default: the unit's.

        Raises:
            ValidationError: With every attribute that is missing or malformed.
        """
        return cls(
            scope,
            id,
            name=name,
            security_group_id=security_group_id,
            subnet_cidrs=subnet_cidrs,
            vpc_id=vpc_id,
            pod_security_group_id=pod_security_group_id,
            egress_cidrs=egress_cidrs,
            dns_cidrs=dns_cidrs,
            auto_mode=auto_mode,
            load_balancer_subnets=load_balancer_subnets,
        )

    @classmethod
    def from_cluster(
        cls,
        scope: Construct,
        id: str,
        *,
        cluster: eks.ICluster,
        subnet_cidrs: Sequence[str],
        auto_mode: bool = True,
        load_balancer_subnets: Mapping[str, str] | None = None,
    ) -> "EksCluster":
        """Use a cluster of the same app.

        Args:
            scope: Parent.
            id: Construct id.
            cluster: The cluster, of ``aws_eks_v2``.
            subnet_cidrs: CIDR blocks of the load balancers' subnets.
            auto_mode: Whether the cluster runs EKS Auto Mode. Default: it does.
            load_balancer_subnets: Subnets of the load balancers, ids by name of the zone. Default: the unit's.

        Raises:
            ValidationError: For the same reasons as the constructor.
        """
        try:
            group, vpc_id = cluster.cluster_security_group_id, cluster.vpc.vpc_id
        except RuntimeError as error:
            # CDK raises for attributes that an imported cluster was created without
            problem = (
                "cluster must have a security group and VPC, got an imported one without; use from_cluster_attributes"
            )
            raise ValidationError("InvalidEksCluster", [problem], scope) from error
        return cls(
            scope,
            id,
            name=cluster.cluster_name,
            security_group_id=group,
            subnet_cidrs=subnet_cidrs,
            vpc_id=vpc_id,
            auto_mode=auto_mode,
            load_balancer_subnets=load_balancer_subnets,
        )

    @property
    def name(self) -> str:
        """Name of the cluster."""
        return self._name

    @property
    def arn(self) -> str:
        """ARN of the cluster."""
        return stack_values(self).format_arn(service="eks", resource="cluster", resource_name=self._name)

    @property
    def security_group_id(self) -> str:
        """Cluster security group."""
        return self._security_group_id

    @property
    def pod_security_group_id(self) -> str:
        """Security group of the pods."""
        return self._pod_security_group_id

    @property
    def vpc_id(self) -> str | None:
        """VPC of the cluster, if it is known."""
        return self._vpc_id

    @property
    def subnet_cidrs(self) -> tuple[str, ...]:
        """Addresses from which pods accept requests."""
        return self._subnet_cidrs

    @property
    def egress_cidrs(self) -> tuple[str, ...]:
        """Addresses that pods may call on port 443."""
        return self._egress_cidrs

    @property
    def dns_cidrs(self) -> tuple[str, ...] | None:
        """Addresses of the cluster's DNS; None for those in EKS' default service CIDR ranges."""
        return self._dns_cidrs

    @property
    def binding_api(self) -> BindingApi:
        """API version of a TargetGroupBinding on this cluster."""
        return "eks.amazonaws.com/v1" if self._auto_mode else "elbv2.k8s.aws/v1beta1"

    @property
    def auto_mode(self) -> bool:
        """Whether the cluster runs EKS Auto Mode, whose controller binds target groups."""
        return self._auto_mode

    @property
    def load_balancer_subnets(self) -> dict[str, str] | None:
        """Subnets of the load balancers, ids by name of the zone; None if they are in the unit's subnets."""
        return None if self._load_balancer_subnets is None else dict(self._load_balancer_subnets)

    def admit(self, scope: Construct, id: str, *, group: ec2.ISecurityGroup) -> ec2.CfnSecurityGroupIngress:
        """Let resources in a security group call the cluster's API.

        Args:
            scope: Parent.
            id: Construct id.
            group: The security group.
        """
        return ec2.CfnSecurityGroupIngress(
            scope,
            id,
            group_id=self._security_group_id,
            ip_protocol="tcp",
            from_port=443,
            to_port=443,
            source_security_group_id=group.security_group_id,
            description="API of the cluster, for functions of a business unit",
        )


def _given(name: str, value: str, *, pattern: str, allowed: str) -> str | None:
    if not value:
        return f"{name} must be set, {allowed}, got {value!r}; read it with: aws eks describe-cluster --name <cluster>"
    return check_pattern(name, value, pattern=pattern, allowed=allowed)


def _cidr_problems(name: str, values: Sequence[str]) -> list[str]:
    if not _is_list(values):
        return [f"{name} must be a list of IPv4 blocks such as ['10.0.0.0/20'], got {values!r}"]
    if not values:
        return [f"{name} must not be empty; pass blocks such as '10.0.0.0/20'"]
    return [
        f"{name} must be IPv4 blocks whose host bits are 0, such as '10.0.0.0/20', known at synthesis, got {value!r}"
        for value in values
        if not _is_block(value)
    ]


def _mode_problem(auto_mode: object) -> str | None:
    return None if isinstance(auto_mode, bool) else f"auto_mode must be True or False, got {auto_mode!r}"


def _subnet_problems(subnets: Mapping[str, str]) -> list[str | None]:
    name = "load_balancer_subnets"
    if not isinstance(subnets, Mapping):
        return [f"{name} must be a mapping, {_BY_ZONE}, got {subnets!r}"]
    few, found = len(subnets) < _ZONES, list(subnets.values())
    twice = [subnet for index, subnet in enumerate(found) if subnet in found[:index]]
    return [
        f"{name} must be in at least {_ZONES} zones, {_BY_ZONE}, got {subnets!r}" if few else None,
        *(_unlike(f"a zone of {name}", zone, _ZONE, "a zone's name such as 'eu-central-1a'") for zone in subnets),
        *(_unlike(name, subnet, _SUBNET, _BY_ZONE) for subnet in found),
        *(f"{name} must have another subnet in each zone, got {subnet!r} twice; {_FIND}" for subnet in twice),
    ]


def _unlike(name: str, value: str | None, pattern: str, allowed: str) -> str | None:
    problem = check_pattern(name, "" if value is None else value, pattern=pattern, allowed=allowed)
    return None if problem is None else f"{problem}; {_FIND}"


def _size_problems(name: str, values: Sequence[str]) -> list[str]:
    """Return blocks that no subnet can have, such as an address without its prefix.

    See: https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html
    """
    return [
        f"{name} must be of subnets, /16 to /28, got {value!r}; write the block with its prefix"
        for value in (values if _is_list(values) else ())
        if _is_block(value) and not 16 <= ipaddress.IPv4Network(value).prefixlen <= 28
    ]


def _is_list(values: Sequence[str]) -> bool:
    return isinstance(values, Sequence) and not isinstance(values, str)


def _is_block(value: str) -> bool:
    try:
        ipaddress.IPv4Network(value)
    except ValueError:
        return False
    return True
