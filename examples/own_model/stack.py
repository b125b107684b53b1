"""The smallest unit that trains and monitors your own model on your own data, in a locked environment."""

from pathlib import Path
from typing import Literal

import aws_cdk as cdk

from constructs import Construct
from examples.loop_outputs import define_loop_outputs
from mlops_constructs import (
    BusinessUnit,
    DataCapture,
    EndpointCapacity,
    EvaluationPlan,
    GuardPolicy,
    ModelEndpoint,
    ModelImage,
    ModelMonitor,
    ModelRegistry,
    Profile,
    RetrainingPipeline,
    TrainingJob,
    TrainingSetSource,
)

HERE = Path(__file__).parent


class Clinic(cdk.Stack):
    """Progression of a disease: a scikit-learn model with categories, which cannot be exported to ONNX.

    Args:
        scope: Parent.
        id: Construct id.
        lock: Lock file of the model's environment. Default: ``requirements.lock``.
        trust: Trust in loading a model. Default: includes pickles, since the model is one.
        instances: Instances of the endpoint. Default: 1.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        lock: Path = HERE / "requirements.lock",
        trust: tuple[Literal["data", "code", "pickle"], ...] = ("data", "code", "pickle"),
        instances: int = 1,
    ) -> None:
        super().__init__(scope, id)
        # [start:stack]
        image = ModelImage.from_requirements(lock, digest=self.node.try_get_context("model_image_digest"))
        unit = BusinessUnit(self, "Unit", name="clinic", profile=Profile.DEVELOPMENT)
        registry = ModelRegistry(self, "Registry", business_unit=unit, name="progress", trust=trust)
        endpoint = ModelEndpoint(
            self,
            "Endpoint",
            business_unit=unit,
            registry=registry,
            name="progress",
            image=image,
            capacity=EndpointCapacity.instances("ml.m5.large", instance_count=instances),
            capture=DataCapture(sampling_percent=100),
        )
        day = cdk.Duration.days(1)
        ModelMonitor(self, "Monitor", endpoint=endpoint, window=day, interval=day)
        retraining = RetrainingPipeline(
            self,
            "Retraining",
            business_unit=unit,
            registry=registry,
            endpoint=endpoint,
            name="progress",
            training_set=TrainingSetSource.s3(bucket=unit.artifacts, prefix="exports/visits", label="progression"),
            training=TrainingJob(
                image=image,
                source=HERE / "training",
                script="train.py",
                instance_type="ml.m5.large",
                max_runtime=cdk.Duration.hours(1),
            ),
            evaluation=EvaluationPlan(
                label="progression", metric="mae", block="clinic", baselines=("mean",), timestamp="visited"
            ),
            guard=GuardPolicy(cooldown=cdk.Duration.minutes(1), max_runs_per_day=12),
        )
        # [end:stack]
        define_loop_outputs(self, unit=unit, registry=registry, endpoint=endpoint, retraining=retraining)
