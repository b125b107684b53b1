"""Limits of a serving spec on EKS: values that Kubernetes would reject, or accept without effect."""

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.rollout import RolloutSpec, ServingSpec
from mlops_runtime.contracts.serving import SLOTS, EksSpec, EksTenantSpec, SlotVersion
from mlops_runtime.eks.pod import STATIC_KEYS, reserved_environment

_QUANTITY = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:([KMGTPE]i|[numkMGTPE])|[eE]([+-]?\d{1,2}))?", re.ASCII)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}

# a Service's name is a DNS label, and ends in -green
# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
MAX_ENDPOINT = 63 - len("-green")
_SERVICE_NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?", re.ASCII)
_LABEL_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", re.ASCII)
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?", re.ASCII)
_LABEL_KEY = re.compile(
    r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII
)
SLOT_GROUP_SUFFIX = ":slots"
_MAX_GROUP = 256 - len(SLOT_GROUP_SUFFIX)
_GROUP = re.compile(rf"[^\s\x00-\x1f]{{1,{_MAX_GROUP}}}")
_RESERVED_GROUPS = ("system:", "eks:")
_RULE = re.compile(r"arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:\d{12}:listener-rule/app/\S+", re.ASCII)
_TARGET_GROUP = re.compile(r"arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:\d{12}:targetgroup/\S+", re.ASCII)
_IMAGE = re.compile(r"[a-z0-9][a-z0-9._/:-]*@sha256:[0-9a-f]{64}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_S3 = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/\S+", re.ASCII)
_CAPTURE = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^\s/?#][^\s?#]*", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# zone ids, such as use1-az1 or usw2-lax1-az1; node labels have zone names instead
# https://docs.aws.amazon.com/global-infrastructure/latest/regions/az-ids.html
_ZONE_ID = re.compile(r"[a-z0-9-]+-az\d+", re.ASCII)
# it is part of the plan, which is limited to 64 KiB, and of an object's annotations, which are limited to 256 KiB
_MAX_ENVIRONMENT = 32 * 1024

Known = Callable[[str], bool]

# keeps a response of DescribeTargetHealth, which is in the machine's state, below 64 KiB
MAXIMUM_PODS = 140
_SYNTHETIC = (
    "synthetic requests need a SageMaker endpoint and are not possible on EKS; omit synthetic_invocations, and wait for calls with "
    "max_bake"
)


class QuantityError(ValueError):
    """A string is not a Kubernetes quantity."""


def quantity(text: str) -> Fraction:
    """Parse a Kubernetes quantity.

    Raises:
        QuantityError: If the string is not a quantity.

    Example:
        >>> quantity("250m"), quantity("1Gi")
        (Fraction(1, 4), Fraction(1073741824, 1))
    """
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise QuantityError(f"must be a Kubernetes quantity like 500m, 2 or 1Gi, got {text!r}")
    number, suffix, exponent = Fraction(found[1]), found[2], found[3]
    if suffix in _BINARY:
        return number * Fraction(2 ** (10 * _BINARY[suffix]))
    power = _DECIMAL.get(suffix, 0) if exponent is None else int(exponent)
    return number * (Fraction(10**power) if power >= 0 else Fraction(1, 10**-power))


class ManifestError(ValueError):
    """Manifests cannot be created from a spec; the message has all problems.

    Args:
        problems: One sentence each.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


def spec_problems(spec: ServingSpec, *, known: Known = lambda _: True) -> Iterator[str]:
    """Yield the problems of a serving spec.

    Args:
        spec: The serving spec.
        known: Returns whether a string is its final value; other strings are not checked. Default: all are final.
    """
    if spec.eks is None:
        yield f"the serving spec of {spec.endpoint!r} has no eks: it is served by SageMaker; use SageMakerTarget"
        return
    if known(spec.endpoint):
        yield from _name("endpoint", spec.endpoint, _SERVICE_NAME, MAX_ENDPOINT)
    for field, name in (("eks.namespace", spec.eks.namespace), ("eks.service_account", spec.eks.service_account)):
        if known(name):
            yield from _name(field, name, _LABEL_NAME, 63)
    if spec.eks.service_account == "default":
        yield "eks.service_account must be the service's own, got 'default', whose role every pod would have"
    yield from _size_problems(spec.eks)
    yield from _address_problems(spec.eks, known)
    yield from _traffic_problems(spec.eks, known)
    for zone in filter(known, spec.eks.zones):
        if _ZONE_ID.fullmatch(zone) or not _LABEL_NAME.fullmatch(zone):
            yield f"eks.zones must be names of Availability Zones like eu-central-1a, not their ids, got {zone!r}"
    if spec.eks.image is not None and known(spec.eks.image) and not _IMAGE.fullmatch(spec.eks.image):
        yield f"eks.image must be by digest, like <repository>@sha256:<64 hex>, got {spec.eks.image!r}"
    if spec.capture is not None:
        where, percent = spec.capture.destination, spec.capture.percent
        if known(where) and not _CAPTURE.fullmatch(where):
            yield f"capture.destination must be like s3://<bucket>/<prefix>, got {where!r}"
        if not 1 <= percent <= 100:
            yield f"capture.percent must be 1 to 100, got {percent}; omit capture to capture nothing"


def version_problems(spec: ServingSpec, version: SlotVersion) -> Iterator[str]:
    """Yield why a slot cannot run a version: references must be exact, and its environment must not change the platform's."""
    if not _IMAGE.fullmatch(version.image):
        yield f"image must be by digest, like <repository>@sha256:<64 hex>, got {version.image!r}"
    if not _S3.fullmatch(version.artifact_uri):
        yield f"artifact_uri must be like s3://<bucket>/<key>, got {version.artifact_uri!r}"
    for field in ("artifact_sha256", "model_sha256", "spec_sha256"):
        if not _SHA256.fullmatch(getattr(version, field)):
            yield f"{field} must be 64 lower-case hexadecimal digits, got {getattr(version, field)!r}"
    ours = reserved_environment(spec) if spec.eks is not None and spec.eks.rule.count(":") > 3 else {}
    for name, value in version.environment.items():
        if not _VARIABLE.fullmatch(name):
            yield f"environment: {name!r} is not a variable name; use letters, digits and underscores"
        if "\x00" in value:
            yield f"environment: {name} contains a null byte, which environment variables cannot contain"
        if name in STATIC_KEYS:
            yield f"environment: {name} must not be set: the pod has its own role; remove it from the package"
        if name in ours and value != ours[name]:
            yield f"environment: {name} is set by the platform to {ours[name]!r}, got {value!r}; remove it from the package"
    # size in the JSON document, in which for example a quotation mark takes two bytes
    size = len(canonical_json(dict(version.environment)))
    if size > _MAX_ENVIRONMENT:
        yield f"environment must have at most {_MAX_ENVIRONMENT} bytes, got {size}; put data into the model's archive"


def tenant_problems(tenant: EksTenantSpec) -> Iterator[str]:
    """Yield the problems of a business unit's tenant spec."""
    yield from _name("namespace", tenant.namespace, _LABEL_NAME, 63)
    if tenant.namespace == "default" or tenant.namespace.startswith("kube-"):
        yield f"namespace must be the unit's own, got {tenant.namespace!r}, which belongs to the cluster"
    if not _LABEL_VALUE.fullmatch(tenant.unit) or not tenant.unit:
        yield f"unit must be a label of 1 to 63 letters, digits, dots, dashes and underscores, got {tenant.unit!r}"
    if not _GROUP.fullmatch(tenant.applier_group):
        yield f"applier_group must be a name without spaces of at most {_MAX_GROUP} characters, got {tenant.applier_group!r}"
    elif tenant.applier_group.startswith(_RESERVED_GROUPS):
        # https://docs.aws.amazon.com/eks/latest/userguide/creating-access-entries.html
        yield f"applier_group must not begin with {' or '.join(_RESERVED_GROUPS)}, got {tenant.applier_group!r}; choose another"
    yield from _quantity_problems("cpu", tenant.cpu)
    yield from _quantity_problems("memory", tenant.memory)
    if tenant.pods < 1:
        yield f"pods must be at least 1, got {tenant.pods}"
    for key, value in tenant.labels.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            yield f"labels: {key!r}: {value!r} is not a Kubernetes label; use at most 63 letters, digits, dots, dashes, underscores"


def _name(field: str, value: str, pattern: re.Pattern[str], most: int) -> Iterator[str]:
    if not pattern.fullmatch(value) or len(value) > most:
        first = "a letter first" if pattern is _SERVICE_NAME else "no dash first or last"
        yield f"{field} must be 1 to {most} lower-case letters, digits and dashes, {first}, got {value!r}"


def _quantity_problems(field: str, text: str, *, least: str = "0") -> Iterator[str]:
    try:
        size = quantity(text)
    except QuantityError as error:
        yield f"{field} {error}"
        return
    if size <= 0 or size < quantity(least):
        yield f"{field} must be {'more than 0' if least == '0' else f'at least {least}'}, got {text!r}"


def _size_problems(eks: EksSpec) -> Iterator[str]:
    yield from _quantity_problems("eks.cpu", eks.cpu, least="50m")
    yield from _quantity_problems("eks.memory", eks.memory, least="128Mi")
    if eks.minimum < 1:
        yield f"eks.minimum must be at least 1, got {eks.minimum}: a serving slot needs pods"
    if eks.maximum < eks.minimum:
        yield f"eks.maximum must be at least eks.minimum, got {eks.maximum} < {eks.minimum}; raise maximum or lower minimum"
    if not 1 <= eks.cpu_target <= 100:
        # requests equal limits, so a pod cannot use more than its request
        yield f"eks.cpu_target must be 1 to 100 percent of a pod's CPU, got {eks.cpu_target}"
    for slot in eks.alarms:
        if slot not in SLOTS:
            yield f"eks.alarms must be by slot ({', '.join(SLOTS)}), got {slot!r}"


def _traffic_problems(eks: EksSpec, known: Known) -> Iterator[str]:
    for slot in SLOTS:
        group = eks.target_groups.get(slot)
        if group is None:
            yield f"eks.target_groups must have one for each of {', '.join(SLOTS)}, got none for {slot!r}"
        elif known(group) and not _TARGET_GROUP.fullmatch(group):
            yield f"eks.target_groups.{slot} must be the ARN of a target group, got {group!r}"
    groups = list(eks.target_groups.values())
    if len(set(groups)) < len(groups):
        yield f"eks.target_groups must differ, or weights could not distinguish the slots, got {groups[0]!r} twice"
    if known(eks.rule) and not _RULE.fullmatch(eks.rule):
        yield f"eks.rule must be the ARN of a rule of an application load balancer's listener, got {eks.rule!r}"


def _address_problems(eks: EksSpec, known: Known) -> Iterator[str]:
    if not eks.ingress_cidrs:
        yield "eks.ingress_cidrs must have the load balancer's subnets, got none: no request would reach a pod"
    fields = (
        ("ingress_cidrs", eks.ingress_cidrs),
        ("egress_cidrs", eks.egress_cidrs),
        ("dns_cidrs", () if eks.dns_cidrs is None else eks.dns_cidrs),
    )
    for field, cidrs in fields:
        for cidr in filter(known, cidrs):
            try:
                network = ipaddress.ip_network(cidr)
            except ValueError as error:
                yield f"eks.{field} must be CIDR blocks like 10.0.0.0/16, got {cidr!r}: {error}"
                continue
            if field == "ingress_cidrs" and network.prefixlen == 0:
                yield f"eks.ingress_cidrs must be the load balancer's subnets, got {cidr!r}, which is every address"


def policy_problems(rollout: RolloutSpec) -> Iterator[str]:
    """Yield why a rollout policy is not possible with slots."""
    if rollout.kind == "ROLLING":
        yield (
            "rollout must be ALL_AT_ONCE, CANARY or LINEAR on EKS, got ROLLING: slots are complete fleets, not batches; use "
            "RolloutPolicy.linear"
        )
    if rollout.synthetic is not None:
        yield _SYNTHETIC
    if rollout.shadow is not None:
        yield (
            "shadow is not possible on EKS: load balancers do not copy requests; omit shadow, and start with a canary of a small "
            "percentage"
        )
    if rollout.keep is not None and rollout.keep > 1:
        yield (
            f"keep must be 1 on EKS, got {rollout.keep}: there are two slots; omit keep, and roll back to older versions with "
            "mlops rollback --to"
        )


def serving_problems(spec: ServingSpec) -> Iterator[str]:
    """Yield the parts of a serving spec that only SageMaker supports, and those that rollouts between slots do not support."""
    yield from policy_problems(spec.rollout)
    others = {
        "serverless": (spec.serverless, "the pods of a slot are its capacity"),
        "asynchronous": (spec.asynchronous, "a load balancer only supports synchronous calls"),
        "scaling": (spec.scaling, "a slot scales by its CPU; give eks.minimum, maximum and cpu_target"),
        "variants": (spec.variants, "a service has only its two slots; define another service"),
    }
    for name, (value, why) in others.items():
        if value:
            yield f"{name} is only possible on SageMaker, not on EKS: {why}; omit {name}"
    if spec.instance_type or spec.instance_count:
        yield (
            f"instance_type and instance_count must be '' and 0 on EKS, got {spec.instance_type!r} and {spec.instance_count}; "
            "give eks.cpu, memory, minimum and maximum"
        )
    if spec.variant != "AllTraffic":
        yield f"variant must be 'AllTraffic' on EKS, got {spec.variant!r}"
    if spec.eks is not None and spec.eks.maximum > MAXIMUM_PODS:
        yield f"eks.maximum must be at most {MAXIMUM_PODS} pods, got {spec.eks.maximum}; give each pod more CPU"
