"""The unit in three accounts: trained in build, served in staging and, after a second person, in production.

``python -m examples.retail.demand_forecasting.accounts_stack`` synthesizes it.
"""

import sys
from collections.abc import Sequence

import aws_cdk as cdk

from examples.retail.demand_forecasting import declaration
from mlops_constructs import (
    Approval,
    BusinessUnit,
    EndpointCapacity,
    Environment,
    FeatureStore,
    GoldenRequests,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Profile,
    RetrainingPipeline,
    RolloutChecks,
    RolloutPolicy,
    TrainingJob,
)

BUILD = Environment("build", account="111111111111", region="us-east-1")
STAGING = Environment("staging", account="222222222222", region="us-east-1")
PRODUCTION = Environment("production", account="333333333333", region="us-east-1")
ENVIRONMENTS = (BUILD, STAGING, PRODUCTION)
UNIT, MODEL = "demand", "forecast"
LARGEST_BATCH = 6000  # the holdout has 5904 rows
GOLDEN = GoldenRequests.from_file(
    declaration.GOLDEN, max_deviation=declaration.MAX_DEVIATION, max_latency=cdk.Duration.seconds(1)
)
CHECKS = RolloutChecks(golden=GOLDEN, probation=cdk.Duration.hours(6))
CANARY = RolloutPolicy.canary(percent=50, bake=cdk.Duration.minutes(5), checks=CHECKS)


class Build(cdk.Stack):
    """Account that trains, evaluates and approves the model: approved packages are released to staging."""

    def __init__(self, app: cdk.App, *, image: ModelImage, largest_batch: int | None = None) -> None:
        super().__init__(app, "Build", env=BUILD.cdk)
        unit = BusinessUnit(self, "Unit", name=UNIT, profile=Profile.DEVELOPMENT)
        groups, lock = declaration.FEATURE_GROUPS, declaration.LOCK_FILE
        store = FeatureStore(self, "Features", business_unit=unit, groups=groups, lock_file=lock)
        registry = ModelRegistry(self, "Registry", business_unit=unit, name=MODEL, deploy_to=[STAGING])
        retraining = RetrainingPipeline(
            self,
            "Retraining",
            business_unit=unit,
            registry=registry,
            endpoint=registry.downstream,  # candidates are compared with the model in production
            store=store,
            name=MODEL,
            training_set=declaration.TRAINING_SET,
            training=TrainingJob(
                image=image,
                source=declaration.TRAINING_CODE,
                script=declaration.TRAINING_SCRIPT if largest_batch is None else "compiled.py",
                hyperparameters={} if largest_batch is None else {"largest_batch": str(largest_batch)},
                instance_type="ml.m5.large",
                max_runtime=cdk.Duration.hours(1),
            ),
            evaluation=declaration.EVALUATION,
            gate=declaration.GATE,
        )
        outputs = {
            "ApproverRoleArn": registry.approver_role.role_arn,
            "ArtifactsBucket": unit.artifacts.bucket_name,
            "EndpointName": registry.group_name,
            "EventBus": unit.bus.event_bus_name,
            "FeatureDatabase": store.database_name,
            "RetrainMachineArn": retraining.machine.state_machine_arn,
        }
        for name, value in outputs.items():
            cdk.CfnOutput(self, name, value=value)


class Serving(cdk.Stack):
    """Account that promotes and serves its source's releases, and releases models that have passed their probation."""

    def __init__(
        self,
        app: cdk.App,
        here: Environment,
        *,
        image: ModelImage,
        source: Environment,
        approval: Approval,
        deploy_to: Sequence[Environment] = (),
    ) -> None:
        super().__init__(app, here.name.capitalize(), env=here.cdk)
        unit = BusinessUnit(self, "Unit", name=UNIT, profile=Profile.DEVELOPMENT)
        registry = ModelRegistry.from_environment(
            self, "Registry", business_unit=unit, name=MODEL, source=source, approval=approval, deploy_to=deploy_to
        )
        endpoint = ModelEndpoint(
            self,
            "Endpoint",
            business_unit=unit,
            registry=registry,
            name=MODEL,
            image=image,
            capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
            rollout=CANARY,
        )
        outputs = {
            "ApproverRoleArn": registry.approver_role.role_arn,
            "ArtifactsBucket": unit.artifacts.bucket_name,
            "DeployMachineArn": endpoint.rollout.machine.state_machine_arn,
            "EndpointName": endpoint.endpoint_name,
            "RolloutTable": endpoint.rollout.table.table_name,
        }
        if registry.inbox is not None:
            outputs["PromoteMachineArn"] = registry.inbox.machine.state_machine_arn
        for name, value in outputs.items():
            cdk.CfnOutput(self, name, value=value)


def compose(app: cdk.App) -> None:
    """Define the three stacks, one per account.

    Args:
        app: An app with ``image_digest`` in its context.
    """
    image = _image(app)
    Build(app, image=image)
    Serving(app, STAGING, image=image, source=BUILD, approval=Approval.automatic(), deploy_to=[PRODUCTION])
    Serving(app, PRODUCTION, image=image, source=STAGING, approval=Approval.manual())


def main(arguments: Sequence[str]) -> None:
    """Synthesize the stacks; build's next one goes to a folder of its own.

    Args:
        arguments: Optionally that folder.
    """
    app = cdk.App()
    compose(app)
    app.synth()
    for folder in arguments:
        later = cdk.App(outdir=folder)
        Build(later, image=_image(later), largest_batch=LARGEST_BATCH)
        later.synth()


def _image(app: cdk.App) -> ModelImage:
    """Return the runtime's image by the digest in the context; every account has it in its own registry."""
    return ModelImage.from_ecr(repository_name="mlops-runtime", digest=app.node.try_get_context("image_digest"))


if __name__ == "__main__":
    main(sys.argv[1:])
