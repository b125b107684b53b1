"""Outputs by which the examples' loop, tests and pages find a stack's resources."""

import aws_cdk as cdk

from mlops_constructs import BusinessUnit, ModelEndpoint, ModelRegistry, RetrainingPipeline


def define_loop_outputs(
    stack: cdk.Stack,
    *,
    unit: BusinessUnit,
    registry: ModelRegistry,
    endpoint: ModelEndpoint,
    retraining: RetrainingPipeline,
) -> None:
    """Define an output for each part of the loop: train, approve, deploy, serve.

    Args:
        stack: The example's stack.
        retraining: Its pipeline.
    """
    outputs = {
        "EndpointName": endpoint.endpoint_name,
        "ArtifactsBucket": unit.artifacts.bucket_name,
        "AuditBucket": unit.audit_bucket.bucket_name,
        "EventBus": unit.bus.event_bus_name,
        "RetrainMachineArn": retraining.machine.state_machine_arn,
        "DeployMachineArn": endpoint.rollout.machine.state_machine_arn,
        "RolloutTable": endpoint.rollout.table.table_name,
        "ApproverRoleArn": registry.approver_role.role_arn,
    }
    for name, value in outputs.items():
        cdk.CfnOutput(stack, name, value=value)
