"""Platform rules applied to constructs: one error per construct, with every problem."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template
from tests.constructs.conftest import Foundation, make_foundation

from mlops_constructs import (
    Approval,
    BusinessUnit,
    EksCluster,
    EksInferenceService,
    EksTenant,
    EndpointCapacity,
    EndpointVariant,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    MonitorEngine,
    Network,
    PlatformDefaults,
    ProcessingStep,
    Profile,
    Rollout,
    RolloutChecks,
    RolloutPolicy,
    SageMakerModelMonitor,
    SageMakerTarget,
    TrainingJob,
    ValidationError,
)
from mlops_constructs._platform_rules import publication, rule_problems
from mlops_runtime.contracts.platform_rules import rules_digest

minutes, hours = cdk.Duration.minutes, cdk.Duration.hours
STRICT = RolloutPolicy.canary(percent=50, bake=minutes(20), checks=RolloutChecks(probation=hours(2)))
DEFAULTS = PlatformDefaults(
    name="retail",
    images=("*/mlops-runtime@sha256:*",),
    instance_types=("ml.m5.*",),
    weakest_approval=Approval.manual(timeout=cdk.Duration.days(3)),
    weakest_rollout=RolloutPolicy.canary(percent=50, bake=minutes(10), checks=RolloutChecks(probation=hours(1))),
)
OTHER = ModelImage.from_ecr(repository_name="elsewhere", digest="sha256:" + "1" * 64, account="999999999999")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Foundation:
    """A unit on a platform, which follows or violates its rules."""
    return make_foundation(
        tmp_path_factory.mktemp("platform"),
        unit={"defaults": DEFAULTS},
        registry={"approval": Approval.manual(timeout=cdk.Duration.days(1))},
        endpoint={"rollout": STRICT},
    )


def _rules(problems: tuple[str, ...]) -> list[str]:
    return [problem.partition(" of platform 'retail': ")[0] for problem in problems]


def _refused(define: Callable[[], object]) -> tuple[str, ...]:
    with pytest.raises(ValidationError) as caught:
        define()
    return caught.value.problems


def test_an_endpoint_names_every_looser_value(base: Foundation) -> None:
    """Names image, types of all variants and each part of the rollout, with their arguments."""
    capacity = EndpointCapacity.instances(
        "ml.p4d.24xlarge",
        instance_count=2,
        variants=[EndpointVariant(name="Arm", instance_type="ml.c7g.large", instance_count=2, weight=0.1)],
    )
    policy = RolloutPolicy.all_at_once()
    problems = _refused(
        lambda: ModelEndpoint(
            base.stack,
            "Refused",
            business_unit=base.unit,
            registry=base.registry,
            name="other",
            image=OTHER,
            capacity=capacity,
            rollout=policy,
        )
    )

    assert _rules(problems) == ["images", *["instance_types"] * 2, *["weakest_rollout"] * 5]
    assert "got image '999999999999.dkr.ecr.<AWS.Region>.<AWS.URLSuffix>/elsewhere@sha256:1111" in problems[0]
    assert "got capacity.instance_types[1] 'ml.c7g.large'" in problems[2]
    assert "first step 50 % at most, got first step 100 %" in problems[3]


def test_the_default_rollout_obeys_too(base: Foundation) -> None:
    """Defaults must follow the rules too."""
    problems = _refused(
        lambda: ModelEndpoint(
            base.stack,
            "Default",
            business_unit=base.unit,
            registry=base.registry,
            name="other",
            image=base.image,
            capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
        )
    )

    assert _rules(problems) == ["weakest_rollout"]
    assert "probation 3600 s at least, got probation 0 s" in problems[0]


@pytest.mark.parametrize(
    ("approval", "found"),
    [
        (Approval.automatic(), "approval by policy alone"),
        (Approval.manual(), "within 7 days"),
    ],
)
def test_a_registry_is_approved_by_a_person_in_time(base: Foundation, approval: Approval, found: str) -> None:
    """The library's default of seven days applies without a timeout."""
    construct_id = f"Refused{len(base.stack.node.children)}"
    (problem,) = _refused(
        lambda: ModelRegistry(base.stack, construct_id, business_unit=base.unit, name="other", approval=approval)
    )

    assert problem == (
        f"weakest_approval of platform 'retail': a person within 3 days, got {found}; "
        "give Approval.manual(timeout=Duration.days(3)) or less"
    )


def test_a_registry_without_an_approval_has_the_platforms(base: Foundation) -> None:
    """A person approves within the platform's timeout."""
    registry = ModelRegistry(base.stack, "Later", business_unit=base.unit, name="later")

    rule = json.dumps(base.stack.resolve(registry.approval_environment["APPROVAL"]))

    assert '\\"timeout_seconds\\":259200' in rule


def test_a_pipeline_names_every_job(base: Foundation) -> None:
    """Covers images of all containers, and both instance types."""
    given: dict[str, Any] = {"image": OTHER, "source": base.folder / "training", "script": "train.py"}
    training = TrainingJob(**given, instance_type="ml.p4d.24xlarge", max_runtime=hours(1), former_images=[OTHER])
    processing = ProcessingStep(**given, instance_type="ml.c7g.large", max_runtime=hours(1))
    problems = _refused(lambda: base.retraining("Refused2", training=training, processing=processing))

    assert _rules(problems) == [*["images"] * 3, *["instance_types"] * 2]
    for name, problem in zip(
        (
            "training.image",
            "processing.image",
            "training.former_images[0]",
            "training.instance_type",
            "processing.instance_type",
        ),
        problems,
        strict=True,
    ):
        assert f"got {name} '" in problem


@pytest.mark.parametrize(
    ("engine", "rules"),
    [
        (MonitorEngine.processing(image=OTHER, instance_type="ml.c7g.large"), ["images", "instance_types"]),
        (
            MonitorEngine.sagemaker_model_monitor(SageMakerModelMonitor(instance_type="ml.c7g.large")),
            ["instance_types"],
        ),
    ],
)
def test_a_monitor_names_its_jobs(base: Foundation, engine: MonitorEngine, rules: list[str]) -> None:
    """Covers both engines that start jobs."""
    assert _rules(_refused(lambda: base.monitor(f"Refused{engine.name}", engine=engine))) == rules


def test_a_service_on_eks_obeys(tmp_path: Any) -> None:
    """Covers its image and its rollout, including the default one."""
    stack = cdk.Stack(cdk.App(), "S")
    unit = BusinessUnit(
        stack,
        "Unit",
        name="demand",
        profile=Profile.DEVELOPMENT,
        network=Network.create(availability_zones=2),
        defaults=DEFAULTS,
    )
    cluster = EksCluster.from_cluster_attributes(
        stack, "Cluster", name="retail", security_group_id="sg-0123456789abcdef0", subnet_cidrs=["10.0.0.0/20"]
    )
    registry = ModelRegistry(
        stack, "Registry", business_unit=unit, name="forecast", approval=Approval.manual(timeout=hours(2))
    )
    tenant = EksTenant(stack, "Tenant", business_unit=unit, cluster=cluster)
    problems = _refused(
        lambda: EksInferenceService(stack, "Service", tenant=tenant, registry=registry, name="forecast", image=OTHER)
    )

    assert _rules(problems) == ["images", "weakest_rollout"]


def test_a_rollout_of_any_target_obeys(base: Foundation) -> None:
    """Covers rollouts without an endpoint of ours."""
    endpoint = base.endpoint
    spec = endpoint.rollout._spec
    problems = _refused(
        lambda: Rollout(
            base.stack,
            "Rollout",
            business_unit=base.unit,
            registry=base.registry,
            spec=spec,
            policy=RolloutPolicy.canary(percent=50, bake=minutes(10)),
            target=SageMakerTarget(endpoint_name="demand-other", instance_count=2),
            execution_role=endpoint.role,
        )
    )

    assert _rules(problems) == ["weakest_rollout"]


def test_without_a_platform_everything_is_allowed() -> None:
    """Values are published below the profile only."""
    stack = cdk.Stack(cdk.App(), "S")
    unit = BusinessUnit(stack, "Unit", name="demand")
    ruled = BusinessUnit(stack, "Ruled", name="other", defaults=DEFAULTS)

    assert rule_problems(unit, stack, images={"image": OTHER}, instance_types={"type": "ml.p4d.24xlarge"}) == []
    assert publication(unit) == "production"
    assert publication(ruled) == f"production.{rules_digest(DEFAULTS.rules)}"


def test_jobs_have_the_tags_of_the_platform(tmp_path: Path) -> None:
    """Covers a pipeline's machine, and a monitor whose jobs a function starts."""
    tags = {"platform": "retail", "data-class": "internal"}
    defaults = PlatformDefaults(name="retail", tags={"platform": "retail"}, required_tags=("data-class",))
    base = make_foundation(tmp_path, unit={"defaults": defaults, "tags": {"data-class": "internal"}})
    base.retraining("Retraining")
    base.monitor("Monitor", engine=MonitorEngine.processing(image=base.image))
    resources = Template.from_stack(base.stack).to_json()["Resources"].values()
    machines = [json.dumps(each) for each in resources if each["Type"] == "AWS::StepFunctions::StateMachine"]
    functions = [json.dumps(each) for each in resources if "further_tags" in json.dumps(each)]

    assert any('\\"Key\\":\\"platform\\",\\"Value\\":\\"retail\\"' in machine for machine in machines)
    assert len(functions) == 1
    assert all(key in functions[0] and value in functions[0] for key, value in tags.items())
