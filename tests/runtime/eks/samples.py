"""Specs of services on EKS: a plain one, and a strategy for all valid ones."""

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from mlops_runtime.contracts.rollout import RolloutSpec, ServingSpec
from mlops_runtime.contracts.serving import SLOTS, CaptureSpec, EksSpec, EksTenantSpec, SlotVersion

_ELB = "arn:aws:elasticloadbalancing:eu-west-1:111122223333"
IMAGE = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/mlops-runtime@sha256:" + "a" * 64

EKS = EksSpec(
    cluster="platform",
    namespace="bu-demand",
    service_account="forecast",
    rule=f"{_ELB}:listener-rule/app/demand/1/2/3",
    target_groups={slot: f"{_ELB}:targetgroup/{slot}/0123456789abcdef" for slot in SLOTS},
    minimum=2,
    maximum=6,
    cpu="500m",
    memory="1Gi",
    ingress_cidrs=("10.0.0.0/24", "10.0.1.0/24"),
    egress_cidrs=("10.0.0.0/16",),
    zones=(),
)
SPEC = ServingSpec(
    endpoint="demand-forecast",
    variant="AllTraffic",
    instance_type="",
    instance_count=0,
    execution_role="arn:aws:iam::111122223333:role/forecast",
    subnets=(),
    security_groups=(),
    rollout=RolloutSpec(kind="CANARY", bake=300, maximum=1800, percent=10),
    capture=CaptureSpec(
        percent=50, destination="s3://captures/capture", kms_key="arn:aws:kms:eu-west-1:111122223333:key/k"
    ),
    eks=EKS,
)
VERSION = SlotVersion(
    config="demand-forecast-0a1b2c3d",
    package="arn:aws:sagemaker:eu-west-1:111122223333:model-package/demand-forecast/1",
    image=IMAGE,
    artifact_uri="s3://artifacts/models/demand-forecast/job/output/model.tar.gz",
    artifact_sha256="b" * 64,
    model_sha256="c" * 64,
    spec_sha256="d" * 64,
    environment={"MLOPS_MODEL_SHA256": "c" * 64, "OMP_NUM_THREADS": "1"},
)
TENANT = EksTenantSpec(
    namespace="bu-demand",
    unit="demand",
    applier_group="mlops:demand",
    cpu="64",
    memory="256Gi",
    pods=100,
    labels={"cost-centre": "4711"},
)


def with_eks(**fields: Any) -> ServingSpec:
    """Return the plain spec with other fields of ``eks``."""
    return replace(SPEC, eks=replace(EKS, **fields))


def _labels(most: int, first: str = "a-z") -> st.SearchStrategy[str]:
    return st.from_regex(rf"[{first}]([a-z0-9-]{{0,{most - 2}}}[a-z0-9])?", fullmatch=True)


_cidrs = st.ip_addresses(v=4).flatmap(lambda address: st.integers(1, 32).map(lambda bits: _network(str(address), bits)))
_hex = st.text("0123456789abcdef", min_size=64, max_size=64)


def _network(address: str, bits: int) -> str:
    import ipaddress

    return str(ipaddress.ip_network(f"{address}/{bits}", strict=False))


@st.composite
def specs(draw: st.DrawFn) -> ServingSpec:
    """Return any valid serving spec on EKS."""
    minimum = draw(st.integers(1, 20))
    eks = EksSpec(
        cluster=draw(_labels(20)),
        namespace=draw(_labels(63, "a-z0-9")),
        service_account=draw(_labels(63, "a-z0-9").filter(lambda name: name != "default")),
        rule=EKS.rule,
        target_groups=EKS.target_groups,
        minimum=minimum,
        maximum=minimum + draw(st.integers(0, 50)),
        cpu=draw(st.sampled_from(["50m", "1", "0.5", "2000m", "1e1", "4"])),
        memory=draw(st.sampled_from(["128Mi", "1Gi", "2G", "1.5Gi", "300000000", "1e9"])),
        ingress_cidrs=tuple(draw(st.lists(_cidrs, min_size=1, max_size=4))),
        egress_cidrs=tuple(draw(st.lists(_cidrs, max_size=4))),
        cpu_target=draw(st.integers(1, 100)),
        architecture=draw(st.sampled_from(["amd64", "arm64"])),
        binding_api=draw(st.sampled_from(["eks.amazonaws.com/v1", "elbv2.k8s.aws/v1beta1"])),
        dns_cidrs=draw(st.none() | st.lists(_cidrs, max_size=2).map(tuple)),
        zones=(),
    )
    capture = CaptureSpec(
        percent=draw(st.integers(1, 100)),
        destination="s3://captures/" + draw(_labels(20)),
        kms_key=draw(st.none() | st.just("key")),
    )
    return replace(SPEC, endpoint=draw(_labels(57)), eks=eks, capture=draw(st.none() | st.just(capture)))


@st.composite
def versions(draw: st.DrawFn) -> SlotVersion:
    """Return any valid version of a slot."""
    names = st.from_regex(r"X[A-Z0-9_]{0,30}", fullmatch=True)
    values = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=40)
    return replace(
        VERSION,
        config=draw(_labels(40)),
        image=f"{draw(_labels(20))}.example.com/models/{draw(_labels(20))}@sha256:{draw(_hex)}",
        artifact_uri=f"s3://{draw(st.from_regex('[a-z0-9]{3,20}', fullmatch=True))}/{draw(_labels(40))}.tar.gz",
        artifact_sha256=draw(_hex),
        environment=draw(st.dictionaries(names, values, max_size=4)),
    )
