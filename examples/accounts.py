"""One model through three accounts: trained in build, served in staging and, after a second person, in production."""

from pathlib import Path

import aws_cdk as cdk

from mlops_constructs import (
    Approval,
    BusinessUnit,
    DataCapture,
    DriftAlarms,
    EndpointCapacity,
    Environment,
    EvaluationPlan,
    ModelEndpoint,
    ModelImage,
    ModelMonitor,
    ModelRegistry,
    PlatformDefaults,
    RetrainingPipeline,
    RolloutChecks,
    RolloutPolicy,
    TrainingJob,
    TrainingSetSource,
)

# [start:values]
BUILD = Environment("build", account="111111111111", region="eu-west-1")
STAGING = Environment("staging", account="222222222222", region="eu-west-1")
PRODUCTION = Environment("production", account="333333333333", region="eu-west-1")
IMAGE = ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64)
CAPACITY = EndpointCapacity.instances("ml.m5.large", instance_count=2)
CHECKS = RolloutChecks(probation=cdk.Duration.hours(6))
CANARY = RolloutPolicy.canary(percent=50, bake=cdk.Duration.minutes(10), checks=CHECKS)
EVALUATION = EvaluationPlan(label="y", metric="mae", block="store", baselines=("mean",), timestamp="at")
TRAINING = TrainingJob(
    image=IMAGE,
    source=Path(__file__).parent / "accounts_training",
    script="train.py",
    instance_type="ml.m5.large",
    max_runtime=cdk.Duration.hours(1),
)
# [end:values]


# [start:chain]
def retail(stack: cdk.Stack) -> PlatformDefaults:
    """Return the platform's values: every account is in the organization named in the context, and in the fleet."""
    return PlatformDefaults(name="retail", organization_id=stack.node.try_get_context("organization"), fleet=True)


class Build(cdk.Stack):
    """Account that trains and approves models: approved packages are released, and the champion is the model in production."""

    def __init__(self, app: cdk.App, *, deploy_to: list[Environment]) -> None:
        super().__init__(app, "Build", env=BUILD.cdk)
        self.unit = BusinessUnit(self, "Unit", name="demand", defaults=retail(self))
        self.registry = ModelRegistry(self, "Registry", business_unit=self.unit, name="forecast", deploy_to=deploy_to)
        self.retraining = RetrainingPipeline(
            self,
            "Retraining",
            business_unit=self.unit,
            registry=self.registry,
            endpoint=self.registry.downstream,
            name="forecast",
            training_set=TrainingSetSource.s3(bucket=self.unit.artifacts, prefix="exports/forecast", label="y"),
            training=TRAINING,
            evaluation=EVALUATION,
        )


class Serving(cdk.Stack):
    """Account that promotes its source's releases and serves them; drift here starts a retraining in the build account."""

    def __init__(
        self, app: cdk.App, here: Environment, *, source: Environment, approval: Approval, deploy_to: list[Environment]
    ) -> None:
        super().__init__(app, here.name.capitalize(), env=here.cdk)
        self.unit = unit = BusinessUnit(self, "Unit", name="demand", defaults=retail(self))
        self.registry = registry = ModelRegistry.from_environment(
            self, "Registry", business_unit=unit, name="forecast", source=source, approval=approval, deploy_to=deploy_to
        )
        self.endpoint = ModelEndpoint(
            self,
            "Endpoint",
            business_unit=unit,
            registry=registry,
            name="forecast",
            image=IMAGE,
            capacity=CAPACITY,
            rollout=CANARY,
            capture=DataCapture(sampling_percent=100),
        )
        day = cdk.Duration.days(1)
        monitor = ModelMonitor(self, "Monitor", endpoint=self.endpoint, window=day, interval=day)
        self.alarms = DriftAlarms(self, "Alarms", monitor=monitor, retraining=registry.upstream)


def compose(app: cdk.App) -> tuple[Build, Serving, Serving]:
    """Define the chain; its stacks refer to each other only by fixed names, and can be deployed in any order."""
    return (
        Build(app, deploy_to=[STAGING]),
        Serving(app, STAGING, source=BUILD, approval=Approval.automatic(), deploy_to=[PRODUCTION]),
        Serving(app, PRODUCTION, source=STAGING, approval=Approval.manual(), deploy_to=[]),
    )


# [end:chain]
