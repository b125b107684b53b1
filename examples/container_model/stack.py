"""A unit whose models are served by a third-party image: evaluated with the image's server, gated, approved and rehearsed."""

from pathlib import Path

import aws_cdk as cdk

from constructs import Construct
from examples.loop_outputs import define_loop_outputs
from mlops_constructs import (
    BusinessUnit,
    EndpointCapacity,
    EvaluationPlan,
    GoldenRequests,
    GuardPolicy,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Profile,
    RetrainingPipeline,
    RolloutChecks,
    RolloutPolicy,
    ServingContainer,
    TrainingJob,
    TrainingSetSource,
)

HERE = Path(__file__).parent


class Vendor(cdk.Stack):
    """Sales of a shop by a vendor's model.

    Args:
        scope: Parent.
        id: Construct id.
        runtime: Image of the jobs.
        profile: Profile of the unit.
        timestamp: Column of times by which a file is split. Default: the uploaded data is already split.
    """

    def __init__(
        self, scope: Construct, id: str, *, runtime: ModelImage, profile: Profile, timestamp: str | None = None
    ) -> None:
        super().__init__(scope, id)
        # [start:stack]
        container = ServingContainer(
            image=ModelImage.from_ecr(repository_name="other-server", digest="sha256:" + "0" * 64),
            content_types=["application/json"],
            environment={"OF_THE_VENDOR": "1"},
            trust="code",
        )
        unit = BusinessUnit(self, "Unit", name="vendor", profile=profile)
        registry = ModelRegistry(self, "Registry", business_unit=unit, name="sales")
        golden = GoldenRequests.from_file(HERE / "golden.jsonl", max_deviation=0.5)
        endpoint = ModelEndpoint(
            self,
            "Endpoint",
            business_unit=unit,
            registry=registry,
            name="sales",
            image=container.image,
            capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
            rollout=RolloutPolicy.all_at_once(checks=RolloutChecks(golden=golden)),
        )
        retraining = RetrainingPipeline(
            self,
            "Retraining",
            business_unit=unit,
            registry=registry,
            endpoint=endpoint,
            name="sales",
            training_set=TrainingSetSource.s3(bucket=unit.artifacts, prefix="exports/sales", label="units"),
            training=TrainingJob(
                image=runtime,
                source=HERE / "training",
                script="train.py",
                instance_type="ml.m5.large",
                max_runtime=cdk.Duration.hours(1),
                inputs=["price", "promoted"],
                serving=container,
            ),
            evaluation=EvaluationPlan(label="units", block="store", baselines=("last_week",), timestamp=timestamp),
            guard=GuardPolicy(cooldown=cdk.Duration.minutes(1), max_runs_per_day=24),
        )
        # [end:stack]
        self.retraining = retraining
        define_loop_outputs(self, unit=unit, registry=registry, endpoint=endpoint, retraining=retraining)
