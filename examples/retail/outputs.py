"""Stack outputs of a unit for people and client systems."""

import aws_cdk as cdk

from mlops_constructs import BusinessUnit, FeatureStore, IServedModel, ModelMonitor, ModelRegistry, RetrainingPipeline


def define_outputs(
    stack: cdk.Stack,
    *,
    unit: BusinessUnit,
    store: FeatureStore,
    registry: ModelRegistry,
    endpoint: IServedModel,
    retraining: RetrainingPipeline,
    monitor: ModelMonitor,
) -> None:
    """Define the stack's outputs under stable names.

    Args:
        stack: The unit's stack.
        store: Its feature store.
        registry: Its model registry.
        endpoint: Its endpoint, or its service on a cluster.
        retraining: Its pipeline.
    """
    values = {
        "ApproverRoleArn": registry.approver_role.role_arn,
        "ArtifactsBucket": unit.artifacts.bucket_name,
        "AuditBucket": unit.audit_bucket.bucket_name,
        "DeployMachineArn": endpoint.rollout.machine.state_machine_arn,
        "DeployQueueUrl": endpoint.rollout.queue.queue_url,
        "EndpointName": endpoint.endpoint_name,
        "EventBus": unit.bus.event_bus_name,
        "FeatureBucket": store.data_bucket.bucket_name,
        "FeatureDatabase": store.database_name,
        "ManifestsBucket": store.manifests_bucket.bucket_name,
        "ModelPackageGroup": retraining.group_name,
        "MonitorFunction": monitor.decide_function.function_name,
        "RetrainMachineArn": retraining.machine.state_machine_arn,
        "RetrainQueueUrl": retraining.queue.queue_url,
        "RetrainingTable": retraining.table.table_name,
        "RolloutTable": endpoint.rollout.table.table_name,
        "TrainingSetsBucket": store.training_sets_bucket.bucket_name,
    }
    if endpoint.capture_bucket is not None:
        values["CaptureBucket"] = endpoint.capture_bucket.bucket_name
    for name, value in values.items():
        cdk.CfnOutput(stack, name, value=value)
