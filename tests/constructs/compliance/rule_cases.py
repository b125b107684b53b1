"""A violating and a compliant stack for each rule, in plain CloudFormation."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aws_cdk as cdk

Build = Callable[[cdk.Stack], None]
Properties = Mapping[str, Any]
DIGEST = "123456789012.dkr.ecr.us-east-1.amazonaws.com/model@sha256:" + "0" * 64
TAG = "123456789012.dkr.ecr.us-east-1.amazonaws.com/model:latest"
KEY = "arn:aws:kms:us-east-1:123456789012:key/one"


@dataclass(frozen=True, kw_only=True)
class Case:
    """Builders of both stacks, and the findings in the first: construct, and details in brackets."""

    breaks: Build
    keeps: Build
    findings: tuple[str, ...]


def resource(stack: cdk.Stack, id: str, kind: str, **properties: Any) -> cdk.CfnResource:
    """Define a resource."""
    return cdk.CfnResource(stack, id, type=f"AWS::{kind}", properties=properties)


def one(kind: str, broken: Properties, kept: Properties, *findings: str) -> Case:
    """Return a case with the single resource ``It``."""
    return Case(
        breaks=lambda stack: void(resource(stack, "It", kind, **broken)),
        keeps=lambda stack: void(resource(stack, "It", kind, **kept)),
        findings=findings or (" at It",),
    )


def void(*_: object) -> None:
    """Return a builder without its result."""
    return None


def machine(stack: cdk.Stack, states: Mapping[str, Any], start: str = "Task", **more: Any) -> cdk.CfnResource:
    """Define a state machine; its definition is a string, as CDK renders it."""
    definition = {"StartAt": start, "QueryLanguage": "JSONata", "States": states}
    return resource(stack, "It", "StepFunctions::StateMachine", DefinitionString=json.dumps(definition), **more)


def sdk(action: str, arguments: object, **more: Any) -> dict[str, Any]:
    """Return a task that calls a service's API."""
    return {"Type": "Task", "Resource": f"arn:aws:states:::{action}", "Arguments": arguments, "End": True} | more


def task(broken: Mapping[str, Any], kept: Mapping[str, Any], *findings: str) -> Case:
    """Return a case of a machine with the state ``Task``."""
    return Case(
        breaks=lambda stack: void(machine(stack, {"Task": dict(broken)})),
        keeps=lambda stack: void(machine(stack, {"Task": dict(kept)})),
        findings=findings or ("[Task] at It",),
    )


WAIT = sdk("aws-sdk:sagemaker:describeEndpoint", {"EndpointName": "a"})
CATCH = [{"ErrorEquals": ["States.ALL"], "Next": "Task"}]
TRAIN = {
    "AlgorithmSpecification": {"TrainingImage": TAG},
    "OutputDataConfig": {"S3OutputPath": "s3://models/out"},
    "ResourceConfig": {"InstanceCount": 2, "InstanceType": "ml.m5.large"},
}
TRAINED = {
    "AlgorithmSpecification": {"TrainingImage": DIGEST},
    "OutputDataConfig": {"S3OutputPath": "s3://models/out", "KmsKeyId": KEY},
    "ResourceConfig": {"InstanceCount": 2, "InstanceType": "ml.m5.large", "VolumeKmsKeyId": KEY},
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    "VpcConfig": {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
    "EnableNetworkIsolation": True,
    "EnableInterContainerTrafficEncryption": True,
    "Tags": [{"Key": "owner", "Value": "demand"}],
}
PROCESS = {"ProcessingResources": {"ClusterConfig": {"InstanceCount": 2}}, "AppSpecification": {"ImageUri": TAG}}


def training(*findings: str) -> Case:
    """Return a case of a machine with a training and a processing job, one of them in a Map, in JSONPath."""

    def broken(stack: cdk.Stack) -> None:
        process = {"Type": "Task", "Resource": "arn:aws:states:::sagemaker:createProcessingJob.sync", "End": True}
        inner = {"StartAt": "Process", "States": {"Process": process | {"Parameters": PROCESS}}}
        train = sdk("sagemaker:createTrainingJob.sync", TRAIN, Next="Each") | {"QueryLanguage": "JSONata"}
        del train["End"]
        states = {"Task": train, "Each": {"Type": "Map", "ItemProcessor": inner, "End": True}}
        definition = {"StartAt": "Task", "States": states}
        void(resource(stack, "It", "StepFunctions::StateMachine", DefinitionString=json.dumps(definition)))

    kept = {"Task": sdk("sagemaker:createTrainingJob.sync", TRAINED)}
    return Case(breaks=broken, keeps=lambda stack: void(machine(stack, kept)), findings=findings)


BOTH_JOBS = ("[Task] at It", "[Process] at It")


def statement(**given: Any) -> dict[str, Any]:
    """Return a policy with one allowed action."""
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **given}]}


def bucket_of_models(stack: cdk.Stack, **properties: Any) -> None:
    """Define a bucket that a model references."""
    bucket = resource(stack, "Models", "S3::Bucket", **properties)
    place = {"Fn::Join": ["", ["s3://", {"Ref": bucket.logical_id}, "/model.tar.gz"]]}
    resource(stack, "Model", "SageMaker::Model", PrimaryContainer={"Image": DIGEST, "ModelDataUrl": place})


def watched(stack: cdk.Stack) -> None:
    """Define an endpoint with both alarms."""
    endpoint = resource(stack, "It", "SageMaker::Endpoint", EndpointConfigName="c")
    for metric in ("Invocation5XXErrors", "ModelLatency"):
        dimensions = [{"Name": "EndpointName", "Value": {"Fn::GetAtt": [endpoint.logical_id, "EndpointName"]}}]
        resource(
            stack, metric, "CloudWatch::Alarm", Namespace="AWS/SageMaker", MetricName=metric, Dimensions=dimensions
        )


def logged(stack: cdk.Stack, *, days: int | None) -> None:
    """Define a machine and an endpoint, with or without log retention."""
    group = resource(stack, "Logs", "Logs::LogGroup", **({} if days is None else {"RetentionInDays": days}))
    to = {"LogGroupArn": {"Fn::GetAtt": [group.logical_id, "Arn"]}}
    machine(stack, {"Task": WAIT}, LoggingConfiguration={"Destinations": [{"CloudWatchLogsLogGroup": to}]})
    endpoint = "forecast" if days is None else "pricing"  # names count in the whole app
    resource(stack, "Endpoint", "SageMaker::Endpoint", EndpointName=endpoint, EndpointConfigName="c")
    if days is not None:
        name = f"/aws/sagemaker/Endpoints/{endpoint}"
        resource(stack, "EndpointLogs", "Logs::LogGroup", LogGroupName=name, RetentionInDays=days)


def promotes(stack: cdk.Stack, first: Mapping[str, Any]) -> None:
    """Define a machine that updates an endpoint after a check, which the Catch of its first state must not bypass."""
    update = sdk("sagemaker:updateEndpoint", {"EndpointName": "a", "EndpointConfigName": "b"})
    machine(stack, {"Ask": dict(first), "Update": update, "Stop": {"Type": "Fail"}}, start="Ask")


BY_STATUS = {
    "Type": "Choice",
    "Choices": [{"Condition": "{% $package.ModelApprovalStatus = 'Approved' %}", "Next": "Update"}],
    "Default": "Stop",
}
BY_ANYTHING = {"Type": "Choice", "Choices": [{"Condition": "{% true %}", "Next": "Update"}], "Default": "Stop"}


def role_in_bucket(stack: cdk.Stack, unit: str) -> None:
    """Define a bucket of the unit demand that admits a role of a unit."""
    trust = statement(Principal={"Service": "lambda.amazonaws.com"}, Action="sts:AssumeRole")
    tags = [{"Key": "mlops:unit", "Value": unit}]
    role = resource(stack, "Role", "IAM::Role", AssumeRolePolicyDocument=trust, Tags=tags)
    bucket = resource(stack, "Bucket", "S3::Bucket", Tags=[{"Key": "mlops:unit", "Value": "demand"}])
    principal = {"AWS": [{"Fn::GetAtt": [role.logical_id, "Arn"]}]}
    document = statement(Principal=principal, Action="s3:GetObject", Resource="*")
    resource(stack, "It", "S3::BucketPolicy", Bucket={"Ref": bucket.logical_id}, PolicyDocument=document)
    if unit == "demand":
        return
    root = {"AWS": "arn:aws:iam::999999999999:root"}
    resource(stack, "Topics", "SNS::TopicPolicy", Topics=["t"], PolicyDocument=statement(Principal=root))
    resource(stack, "Queues", "SQS::QueuePolicy", Queues=["q"], PolicyDocument=statement(Principal="*"))


CLUSTER_LOGS = [{"Type": kind} for kind in ("api", "audit", "authenticator", "controllerManager", "scheduler")]
PRIVATE = {"EndpointPublicAccess": False, "EndpointPrivateAccess": True}
SECRETS = [{"Provider": {"KeyArn": KEY}, "Resources": ["secrets"]}]
VARIANT = {"ModelName": "m", "VariantName": "v"}
TRUST = {"Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
PASS = {"Action": ["iam:PassRole"], "Resource": "*"}
EVENT = {"source": ["aws.sagemaker"]}
CAPTURED = {"EnableCapture": True, "DestinationS3Uri": "s3://c"}
MONITOR_KEYS = {"ClusterConfig": {"VolumeKmsKeyId": KEY}}

CASES: dict[str, Case] = {
    "ClusterEndpoint": one("EKS::Cluster", {}, {"ResourcesVpcConfig": PRIVATE}),
    "ClusterLogs": one("EKS::Cluster", {}, {"Logging": {"ClusterLogging": {"EnabledTypes": CLUSTER_LOGS}}}),
    "ClusterSecrets": one("EKS::Cluster", {"EncryptionConfig": []}, {"EncryptionConfig": SECRETS}),
    "EndpointAlarms": Case(
        breaks=lambda stack: void(resource(stack, "It", "SageMaker::Endpoint", EndpointConfigName="c")),
        keeps=watched,
        findings=("[error] at It", "[latency] at It"),
    ),
    "EndpointDataCapture": one(
        "SageMaker::EndpointConfig",
        {"ProductionVariants": [VARIANT]},
        {"ProductionVariants": [VARIANT], "DataCaptureConfig": CAPTURED},
    ),
    "EndpointRollback": one(
        "SageMaker::Endpoint",
        {"EndpointConfigName": "c"},
        {"DeploymentConfig": {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "a"}]}}},
    ),
    "EventDeadLetters": one(
        "Events::Rule",
        {"EventPattern": EVENT, "Targets": [{"Id": "T", "Arn": "a"}]},
        {"EventPattern": EVENT, "Targets": [{"Id": "T", "Arn": "a", "DeadLetterConfig": {"Arn": "q"}}]},
        "[T] at It",
    ),
    "HeartbeatAlarm": one(
        "CloudWatch::Alarm",
        {"Namespace": "AWS/SageMaker", "Statistic": "Sum", "ComparisonOperator": "LessThanThreshold"},
        {"Namespace": "Scores", "Statistic": "Minimum", "ComparisonOperator": "LessThanThreshold"},
    ),
    "ImageDigest": one(
        "SageMaker::Model",
        {"PrimaryContainer": {"Image": TAG}},
        {"PrimaryContainer": {"Image": DIGEST}},
    ),
    "JobIsolation": training(*BOTH_JOBS),
    "JobNetwork": training(*BOTH_JOBS),
    "JobOutput": training(*BOTH_JOBS),
    "JobRuntime": training(*BOTH_JOBS),
    "JobTraffic": training(*BOTH_JOBS),
    "JobVolume": training(*BOTH_JOBS),
    "KeyPolicy": one(
        "KMS::Key",
        {"KeyPolicy": statement(Principal="*", Action="kms:*", Resource="*")},
        {"KeyPolicy": statement(Principal="*", Condition={"StringEquals": {"kms:CallerAccount": "123456789012"}})},
    ),
    "LogRetention": Case(
        breaks=lambda stack: logged(stack, days=None),
        keeps=lambda stack: logged(stack, days=365),
        findings=(" at Logs", "[logs] at Endpoint"),
    ),
    "ModelBucket": Case(
        breaks=bucket_of_models,
        keeps=lambda stack: bucket_of_models(stack, VersioningConfiguration={"Status": "Enabled"}),
        findings=(" at Models",),
    ),
    "ModelIsolation": one("SageMaker::Model", {}, {"EnableNetworkIsolation": True}),
    "ModelNetwork": one("SageMaker::Model", {}, {"VpcConfig": TRAINED["VpcConfig"]}),
    "MonitoringEncryption": one(
        "SageMaker::DataQualityJobDefinition",
        {"JobResources": {"ClusterConfig": {}}},
        {
            "JobResources": MONITOR_KEYS,
            "DataQualityJobOutputConfig": {"KmsKeyId": KEY},
            "NetworkConfig": {"EnableInterContainerTrafficEncryption": True},
        },
        "[output] at It",
        "[traffic] at It",
        "[volume] at It",
    ),
    "PassRole": one(
        "IAM::ManagedPolicy",
        {"PolicyDocument": statement(**PASS)},
        {"PolicyDocument": statement(**PASS, Condition={"StringEquals": {"iam:PassedToService": "a"}})},
        "[0] at It",
    ),
    "PolicyPrincipal": Case(
        breaks=lambda stack: role_in_bucket(stack, "pricing"),
        keeps=lambda stack: role_in_bucket(stack, "demand"),
        findings=("[Role] at It", "[999999999999] at Topics", "[*] at Queues"),
    ),
    "PromotionApproval": Case(
        breaks=lambda stack: promotes(stack, BY_ANYTHING),
        keeps=lambda stack: promotes(stack, BY_STATUS),
        findings=("[Update] at It",),
    ),
    "TaskArguments": task(
        sdk("sagemaker:createModel", "{% $plan.model %}"), sdk("sagemaker:createModel", {"ModelName": "{% $n %}"})
    ),
    "TaskCatch": task(WAIT, WAIT | {"Catch": CATCH}),
    "TaskRetry": task(WAIT, WAIT | {"Retry": [{"ErrorEquals": ["States.ALL"]}]}),
    "TaskTags": task(sdk("sagemaker:createTrainingJob", TRAIN), sdk("sagemaker:createTrainingJob", TRAINED)),
    "TaskTimeout": task(WAIT, WAIT | {"TimeoutSeconds": 60}),
    "TrustSource": one(
        "IAM::Role",
        {"AssumeRolePolicyDocument": statement(**TRUST)},
        {
            "AssumeRolePolicyDocument": statement(
                **TRUST, Condition={"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
            )
        },
        "[sagemaker.amazonaws.com] at It",
    ),
}
