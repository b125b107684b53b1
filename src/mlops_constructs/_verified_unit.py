"""The app that ``mlops verify`` synthesizes: a minimal unit with a network, a registry, an endpoint and a canary rollout."""

import aws_cdk as cdk

from constructs import Construct
from mlops_constructs import (
    BusinessUnit,
    DataCapture,
    EndpointCapacity,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Profile,
    RolloutPolicy,
)
from mlops_runtime.verify.steps import FLEET, INSTANCE

BAKE_MINUTES = 5


class VerifiedUnit(cdk.Stack):
    """A development unit that is deployed, checked and deleted."""

    def __init__(self, scope: Construct, id: str, *, unit: str, stack: str, bucket: str, image: ModelImage) -> None:
        """Define the stack.

        Args:
            scope: The app.
            id: Construct id.
            bucket: Bucket for the stack's files, so that the account needs no ``cdk bootstrap``.
            image: Serving image.
        """
        files = cdk.CliCredentialsStackSynthesizer(file_assets_bucket_name=bucket, bucket_prefix="")
        super().__init__(scope, id, stack_name=stack, synthesizer=files)
        tenant = BusinessUnit(self, "Unit", name=unit, profile=Profile.DEVELOPMENT)
        registry = ModelRegistry(self, "Registry", business_unit=tenant, name="probe")
        endpoint = ModelEndpoint(
            self,
            "Endpoint",
            business_unit=tenant,
            registry=registry,
            name="probe",
            image=image,
            capacity=EndpointCapacity.instances(INSTANCE, instance_count=FLEET),
            capture=DataCapture(sampling_percent=100),
            rollout=RolloutPolicy.canary(percent=50, bake=cdk.Duration.minutes(BAKE_MINUTES)),
        )
        outputs = {
            "ApproverRoleArn": registry.approver_role.role_arn,
            "EndpointName": endpoint.endpoint_name,
            "DeployMachineArn": endpoint.rollout.machine.state_machine_arn,
            "ArtifactsBucket": tenant.artifacts.bucket_name,
            "KeyArn": tenant.key.key_arn,
            "ModelRoleArn": endpoint.role.role_arn,
        }
        if endpoint.capture_bucket is not None:
            outputs["CaptureBucket"] = endpoint.capture_bucket.bucket_name
        flow_logs = tenant.node.find_child("FlowLogs")
        if isinstance(flow_logs.node.default_child, cdk.aws_logs.CfnLogGroup):
            outputs["FlowLogs"] = flow_logs.node.default_child.ref
        for name, value in outputs.items():
            cdk.CfnOutput(self, name, value=value)


def main() -> None:
    """Synthesize the stack from the context values that the CLI passes."""
    app = cdk.App()
    given = app.node.get_context("verify")
    image = ModelImage.from_ecr(repository_name=given["repository"], digest=given["digest"])
    VerifiedUnit(app, "Verify", unit=given["unit"], stack=given["stack"], bucket=given["bucket"], image=image)
    app.synth()


if __name__ == "__main__":
    main()
