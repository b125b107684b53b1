"""Resources that a unit's machines create at run time, with its tag: another unit's name patterns might match them."""

from collections.abc import Iterator
from typing import Any

from tests.security.calls import Target
from tests.security.units import ACCOUNT, DIGEST, REGION

from mlops_local.cloud import Cloud

_IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/mlops-runtime@{DIGEST}"
_SAGEMAKER = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"
_EXECUTION = "4588cf62"  # of a rollout, as part of names: mlops_runtime/rollout/execution_names.py
_TRAINING = f"{_EXECUTION}0123456789abcdef"  # of a retraining, in the names of its jobs
_VARIANT = {"VariantName": "AllTraffic", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
_INSTANCE = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}


def make(cloud: Cloud, *, stack: str, unit: str, role: str, models: tuple[str, ...]) -> list[Target]:
    """Create models, configs, endpoints, jobs and alarms of a unit, and return them as targets.

    Args:
        cloud: The embedded cloud.
        stack: The unit's stack.
        unit: Its name, used as the resources' tag.
        role: ARN of a role that SageMaker may assume.
        models: Names of its models.
    """
    tags = [{"Key": "mlops:unit", "Value": unit}]
    found = []
    for model in models:
        for kind, name, arn in _made(cloud, f"{unit}-{model}", role, tags):
            words = {"id": name, "name": name, "arn": arn, "account": ACCOUNT, "region": REGION, "parent": ""}
            found.append(Target(unit=stack, logical_id=f"{model}/{kind}", kind=kind, words=words))
    return found


def _made(cloud: Cloud, endpoint: str, role: str, tags: list[dict[str, str]]) -> Iterator[tuple[str, str, str]]:
    sagemaker, version = cloud.client("sagemaker"), f"{endpoint}-{_EXECUTION}"
    made = sagemaker.create_model(
        ModelName=version, ExecutionRoleArn=role, PrimaryContainer={"Image": _IMAGE}, Tags=tags
    )
    yield "AWS::SageMaker::Model", version, made["ModelArn"]
    variants: list[Any] = [{**_VARIANT, "ModelName": version}]
    config = sagemaker.create_endpoint_config(EndpointConfigName=version, ProductionVariants=variants, Tags=tags)
    yield "AWS::SageMaker::EndpointConfig", version, config["EndpointConfigArn"]
    served = sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=version, Tags=tags)
    yield "AWS::SageMaker::Endpoint", endpoint, served["EndpointArn"]
    training = f"{endpoint}-{_TRAINING}-train"
    sagemaker.create_training_job(
        TrainingJobName=training, RoleArn=role, Tags=tags, StoppingCondition={"MaxRuntimeInSeconds": 60},
        AlgorithmSpecification={"TrainingImage": _IMAGE, "TrainingInputMode": "File"},
        OutputDataConfig={"S3OutputPath": "s3://none/"}, ResourceConfig=_INSTANCE,
    )  # fmt: skip
    yield "TrainingJob", training, f"{_SAGEMAKER}:training-job/{training}"
    processing = f"{endpoint}-{_TRAINING}-eval"
    sagemaker.create_processing_job(
        ProcessingJobName=processing, RoleArn=role, Tags=tags,
        AppSpecification={"ImageUri": _IMAGE, "ContainerEntrypoint": ["python", "-c", "pass"]},
        ProcessingResources={"ClusterConfig": _INSTANCE},
    )  # fmt: skip
    yield "ProcessingJob", processing, f"{_SAGEMAKER}:processing-job/{processing}"
    alarm = f"{endpoint}-rollout-{_EXECUTION}-errors"
    cloud.client("cloudwatch").put_metric_alarm(
        AlarmName=alarm, MetricName="a", Namespace="a", Statistic="Sum", Period=60, Threshold=1.0, EvaluationPeriods=1,
        ComparisonOperator="GreaterThanThreshold", Tags=tags,
    )  # fmt: skip
    yield "AWS::CloudWatch::Alarm", alarm, f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{alarm}"
