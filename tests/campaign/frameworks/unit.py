"""The unit of the campaign: two models, an amount and a probability, each with a registry, an endpoint and a pipeline."""

from pathlib import Path

import aws_cdk as cdk
from tests.campaign.frameworks.baskets import BLOCK, NAIVE, TIME
from tests.runtime.serving.environments.save_model import IS_HIGH, LABEL

from constructs import Construct
from mlops_constructs import (
    Approval,
    BusinessUnit,
    EndpointCapacity,
    GuardPolicy,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Profile,
    RetrainingPipeline,
    TrainingJob,
    TrainingSetSource,
)
from mlops_runtime.contracts.model import Metric
from mlops_runtime.contracts.retraining import EvaluationPlan, GateSpec

STACK, UNIT = "Frameworks", "baskets"
METRICS: dict[str, Metric] = {LABEL: "mae", IS_HIGH: "log_loss"}


def endpoint_name(label: str) -> str:
    """Return the name of a label's pipeline and endpoint."""
    return f"{UNIT}-{label.replace('_', '-')}"


def synthesize(folder: Path, lock: Path) -> Path:
    """Synthesize the unit; candidates need not beat each other, only the naive prediction."""
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "train.py").write_text("raise SystemExit('every model here is made elsewhere')\n")
    app = cdk.App(outdir=str(folder / "assembly"))
    stack = cdk.Stack(app, STACK)
    unit = BusinessUnit(stack, "Unit", name=UNIT, profile=Profile.DEVELOPMENT)
    image = ModelImage.from_requirements(lock)
    cdk.CfnOutput(stack, "ArtifactsBucket", value=unit.artifacts.bucket_name)
    for label, metric in METRICS.items():
        scope, name = Construct(stack, label), label.replace("_", "-")
        registry = ModelRegistry(
            scope,
            "Registry",
            business_unit=unit,
            name=name,
            approval=Approval.automatic(),
            trust=("data", "code", "pickle"),
        )
        endpoint = ModelEndpoint(
            scope,
            "Endpoint",
            business_unit=unit,
            registry=registry,
            name=name,
            image=image,
            capacity=EndpointCapacity.instances("ml.m5.large", instance_count=1),
        )
        RetrainingPipeline(
            scope,
            "Retraining",
            business_unit=unit,
            registry=registry,
            endpoint=endpoint,
            name=name,
            training_set=TrainingSetSource.s3(bucket=unit.artifacts, prefix=f"exports/{label}", label=label),
            training=TrainingJob(
                image=image,
                source=folder / "code",
                script="train.py",
                instance_type="ml.m5.large",
                max_runtime=cdk.Duration.hours(1),
            ),
            evaluation=EvaluationPlan(label=label, block=BLOCK, baselines=(NAIVE,), timestamp=TIME, metric=metric),
            gate=GateSpec(metric=metric, max_regression=10.0),
            guard=GuardPolicy(max_runs_per_day=24),
        )
    app.synth()
    return folder / "assembly"
