"""Where a unit's functions, jobs and endpoints run: a network of its own, one that is given, or the platform's shared one."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2

from mlops_constructs._arguments import checked
from mlops_constructs._errors import ValidationError
from mlops_constructs._validation import check_pattern, check_range, is_known

# What the code of functions and jobs calls, KMS for what recorders sign; logs, traces, images, queues and keys of data are reached
# by the services themselves, S3 and DynamoDB through gateway endpoints, which are free.
INTERFACE_ENDPOINTS = ("events", "glue", "kms", "monitoring", "sagemaker.api", "sagemaker.runtime", "states")

# a subnet has at least 16 addresses (/28), and six zones need eight of them
_LARGEST, _SMALLEST = 16, 25
# Local Zones and Wavelength Zones have other names, and no SageMaker
_ZONE = r"[a-z]{2}(-[a-z]+)+-\d[a-z]"


@checked("InvalidNetwork")
@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network: made, given or shared. Use one of the three factories.

    Example:
        >>> Network.create(cidr="10.20.0.0/16").cidr
        '10.20.0.0/16'
    """

    cidr: str | None = None
    endpoints: tuple[str, ...] = INTERFACE_ENDPOINTS
    zones: int | None = None
    zone_names: tuple[str, ...] = ()
    vpc: ec2.IVpc | None = None
    subnets: ec2.SubnetSelection | None = None
    security_group: ec2.ISecurityGroup | None = None
    shared_vpc_id: str | None = None
    shared_zones: tuple[str, ...] = ()
    shared_subnet_ids: tuple[str, ...] = field(default=())

    @classmethod
    def create(
        cls,
        *,
        cidr: str = "10.0.0.0/16",
        availability_zones: int | Sequence[str] | None = None,
        endpoints: Sequence[str] = INTERFACE_ENDPOINTS,
    ) -> "Network":
        """Make a network without a way to the internet; its monthly price is printed at synth.

        Args:
            cidr: Addresses. Default: 10.0.0.0/16.
            availability_zones: Their names, such as ``["us-east-1b", "us-east-1c"]``, or how many. By number they are the first
                that the account's region lists, and one of those may lack a service or its endpoint, which fails the first
                deployment: ``aws ec2 describe-vpc-endpoint-services`` lists the zones of each service. Default: as many as the
                profile has.
            endpoints: Short names of the services reached by interface endpoints, which are what costs money.
                Default: those that functions and jobs call.

        Raises:
            ValidationError: If addresses or zones are not possible.
        """
        if cdk.Token.is_unresolved(availability_zones):
            raise ValidationError("InvalidNetwork", ["availability_zones must be known at synthesis; give a number"])
        names = () if availability_zones is None or isinstance(availability_zones, int) else tuple(availability_zones)
        count = availability_zones if availability_zones is None or isinstance(availability_zones, int) else len(names)
        problems = [
            _cidr_problem(cidr),
            check_range("availability_zones", count, minimum=1, maximum=6),
            *_zone_problems(names),
        ]
        found = [problem for problem in problems if problem is not None]
        if found:
            raise ValidationError("InvalidNetwork", found)
        return cls(cidr=cidr, zones=count, zone_names=names, endpoints=tuple(endpoints))

    @classmethod
    def from_vpc(
        cls, *, vpc: ec2.IVpc, subnets: ec2.SubnetSelection, security_group: ec2.ISecurityGroup | None = None
    ) -> "Network":
        """Use a network of the account, which reaches the services named in ``INTERFACE_ENDPOINTS``, S3 and DynamoDB.

        Args:
            vpc: The network.
            subnets: Its subnets, private.
            security_group: Group of all that runs here. Default: one is defined, without ingress.
        """
        return cls(vpc=vpc, subnets=subnets, security_group=security_group)

    @classmethod
    def from_shared_vpc(cls, *, vpc_id: str, availability_zones: Sequence[str], subnet_ids: Sequence[str]) -> "Network":
        """Use the network that the platform team shares with this account by Resource Access Manager.

        Args:
            vpc_id: Id of the network.
            availability_zones: Zones of the subnets, in their order.
            subnet_ids: Ids of the shared subnets, private.
        """
        return cls(shared_vpc_id=vpc_id, shared_zones=tuple(availability_zones), shared_subnet_ids=tuple(subnet_ids))


def _zone_problems(names: Sequence[str]) -> list[str | None]:
    known = [name for name in names if is_known(name)]
    twice = sorted({name for name in known if known.count(name) > 1})
    regions = sorted({name[:-1] for name in known if re.fullmatch(_ZONE, name)})
    return [
        *(
            check_pattern("availability_zones", name, pattern=_ZONE, allowed="names such as 'us-east-1b', or a number")
            for name in known
        ),
        f"availability_zones must differ, got {', '.join(twice)} twice" if twice else None,
        f"availability_zones must be of one region, got {' and '.join(regions)}" if len(regions) > 1 else None,
    ]


def _cidr_problem(cidr: str) -> str | None:
    """Return why a network cannot have these addresses: https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html."""
    allowed = "cidr must be an IPv4 block from /16 to /25 whose host bits are 0, such as '10.20.0.0/16'"
    try:
        block = ipaddress.IPv4Network(cidr)
    except ValueError:
        return f"{allowed}, got {cidr!r}"
    return None if _LARGEST <= block.prefixlen <= _SMALLEST else f"{allowed}, got {cidr!r}"
