"""Resources and condition keys of SageMaker calls, against the service authorization reference."""

import pytest

from mlops_local.iam import sagemaker_requests

PREFIX = "arn:aws:sagemaker:us-east-1:000000000000:"


@pytest.mark.parametrize(
    ("operation", "body", "expected"),
    [
        ("CreateTrainingJob", {"TrainingJobName": "t"}, ["training-job/t"]),
        ("DescribeProcessingJob", {"ProcessingJobName": "p"}, ["processing-job/p"]),
        ("CreateEndpointConfig", {"EndpointConfigName": "c"}, ["endpoint-config/c"]),
        ("UpdateEndpoint", {"EndpointName": "e", "EndpointConfigName": "c"}, ["endpoint/e", "endpoint-config/c"]),
        ("UpdateEndpointWeightsAndCapacities", {"EndpointName": "e"}, ["endpoint/e"]),
        ("CreateModelPackage", {"ModelPackageGroupName": "g"}, ["model-package-group/g", "model-package/g/*"]),
        ("ListModelPackages", {"ModelPackageGroupName": "g"}, ["model-package/g/*"]),
        ("CreateAction", {"ActionName": "a"}, ["action/a"]),
        ("DescribeContext", {"ContextName": "c"}, ["context/c"]),
        (
            "AddAssociation",
            {"SourceArn": f"{PREFIX}artifact/0", "DestinationArn": f"{PREFIX}action/a"},
            ["artifact/0", "action/a"],
        ),
        ("DescribeArtifact", {"ArtifactArn": f"{PREFIX}artifact/0"}, ["artifact/0"]),
        ("DeleteDataQualityJobDefinition", {"JobDefinitionName": "d"}, ["data-quality-job-definition/d"]),
        (
            "CreateModelExplainabilityJobDefinition",
            {"JobDefinitionName": "d"},
            ["model-explainability-job-definition/d"],
        ),
        ("StopMonitoringSchedule", {"MonitoringScheduleName": "s"}, ["monitoring-schedule/s"]),
        ("UpdateMonitoringSchedule", {"MonitoringScheduleName": "s"}, ["monitoring-schedule/s"]),
    ],
)
def test_names_the_resources_of_a_call(operation, body, expected):
    """Each call is checked on the resources that the reference lists for it."""
    assert sagemaker_requests.resources(operation, body, PREFIX) == [PREFIX + name for name in expected]


def test_takes_a_package_by_its_arn_and_lists_without_a_resource():
    """An ARN in the request is the resource itself; a list call without a group has no resource."""
    arn = f"{PREFIX}model-package/g/3"
    assert sagemaker_requests.resources("UpdateModelPackage", {"ModelPackageArn": arn}, PREFIX) == [arn]
    assert sagemaker_requests.resources("ListEndpoints", {}, PREFIX) == ["*"]
    assert sagemaker_requests.resources("AddTags", {"ResourceArn": arn}, PREFIX) == [arn]


def test_an_artifact_is_named_by_the_hash_of_its_source():
    """The reference has ``artifact/${HashOfArtifactSource}``; only values of source types matter, not their order."""
    types = [{"SourceIdType": "Custom", "Value": "1"}, {"SourceIdType": "S3ETag", "Value": "2"}]
    ways = [{"SourceUri": "s3://b/k"}, {"SourceUri": "s3://b/k", "SourceTypes": types}, {"SourceUri": "s3://b/l"}]
    (first,), (second,), (third,) = (
        sagemaker_requests.resources("CreateArtifact", {"Source": source}, PREFIX) for source in ways
    )
    assert len({first, second, third}) == 3
    assert first.startswith(f"{PREFIX}artifact/")
    turned = {"Source": {"SourceUri": "s3://b/k", "SourceTypes": types[::-1]}}
    assert sagemaker_requests.resources("CreateArtifact", turned, PREFIX) == [second]


def test_reads_the_condition_keys_of_a_processing_job():
    """Network, keys, instance types and limit come from a processing job's own members."""
    body = {
        "ProcessingJobName": "p",
        "ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.m5.large", "VolumeKmsKeyId": "volume"}},
        "ProcessingOutputConfig": {"KmsKeyId": "output"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "NetworkConfig": {
            "EnableNetworkIsolation": True,
            "EnableInterContainerTrafficEncryption": True,
            "VpcConfig": {"Subnets": ["s1", "s2"], "SecurityGroupIds": ["g"]},
        },
    }
    assert sagemaker_requests.context("CreateProcessingJob", body, PREFIX) == {
        "sagemaker:VpcSubnets": ["s1", "s2"],
        "sagemaker:VpcSecurityGroupIds": ["g"],
        "sagemaker:VolumeKmsKey": "volume",
        "sagemaker:OutputKmsKey": "output",
        "sagemaker:InstanceTypes": ["ml.m5.large"],
        "sagemaker:MaxRuntimeInSeconds": 60,
        "sagemaker:NetworkIsolation": "true",
        "sagemaker:InterContainerTrafficEncryption": "true",
    }


def test_says_false_for_isolation_that_a_training_job_does_not_ask_for():
    """A missing switch is false and a missing key is absent, so a policy that requires them denies."""
    keys = sagemaker_requests.context("CreateTrainingJob", {"TrainingJobName": "t"}, PREFIX)
    assert keys == {"sagemaker:NetworkIsolation": "false", "sagemaker:InterContainerTrafficEncryption": "false"}


def test_reads_the_models_and_key_of_an_endpoint_config():
    """An endpoint config's volume key is its `KmsKeyId`."""
    body = {"KmsKeyId": "k", "ProductionVariants": [{"ModelName": "m", "InstanceType": "ml.m5.large"}]}
    keys = sagemaker_requests.context("CreateEndpointConfig", body, PREFIX)
    assert keys["sagemaker:VolumeKmsKey"] == "k"
    assert keys["sagemaker:ModelArn"] == [f"{PREFIX}model/m"]


def test_names_the_role_that_is_passed():
    """Only calls that pass a role require iam:PassRole."""
    assert sagemaker_requests.passed_role("CreateModel", {"ExecutionRoleArn": "r"}) == "r"
    assert sagemaker_requests.passed_role("CreateTrainingJob", {"RoleArn": "r"}) == "r"
    assert sagemaker_requests.passed_role("CreateEndpoint", {"RoleArn": "r"}) is None
    assert sagemaker_requests.sets_tags("CreateModel", {"Tags": [{"Key": "a", "Value": "b"}]})
    assert not sagemaker_requests.sets_tags("AddTags", {"Tags": [{"Key": "a", "Value": "b"}]})


@pytest.mark.parametrize("what", ["DataQuality", "ModelQuality", "ModelBias", "ModelExplainability"])
def test_reads_the_condition_keys_of_a_job_definition(what):
    """A definition has a job's role, network, keys and instances; the reference lists a job's condition keys for it."""
    body = {
        "JobDefinitionName": "d",
        "RoleArn": "arn:aws:iam::000000000000:role/r",
        f"{what}JobOutputConfig": {"KmsKeyId": "out", "MonitoringOutputs": []},
        "JobResources": {"ClusterConfig": {"InstanceType": "ml.m5.xlarge", "VolumeKmsKeyId": "volume"}},
        "NetworkConfig": {
            "EnableNetworkIsolation": True,
            "EnableInterContainerTrafficEncryption": True,
            "VpcConfig": {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 1800},
    }
    operation = f"Create{what}JobDefinition"

    assert sagemaker_requests.context(operation, body, PREFIX) == {
        "sagemaker:VpcSubnets": ["subnet-1"],
        "sagemaker:VpcSecurityGroupIds": ["sg-1"],
        "sagemaker:VolumeKmsKey": "volume",
        "sagemaker:OutputKmsKey": "out",
        "sagemaker:InstanceTypes": ["ml.m5.xlarge"],
        "sagemaker:MaxRuntimeInSeconds": 1800,
        "sagemaker:NetworkIsolation": "true",
        "sagemaker:InterContainerTrafficEncryption": "true",
    }
    assert sagemaker_requests.passed_role(operation, body) == body["RoleArn"]
