"""Requests that SageMaker must reject before it creates anything. Resources that it creates against a claim are removed."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mlops_runtime.verify import leftovers
from mlops_runtime.verify.account import Place
from mlops_runtime.verify.package_checks import PackageChecks
from mlops_runtime.verify.probe_model import times
from mlops_runtime.verify.problems import CheckError, NoEvidenceError, refused
from mlops_runtime.verify.steps import FLEET, INSTANCE
from mlops_runtime.verify.unit import Deployed

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import DescribeEndpointConfigOutputTypeDef

_LOCAL_STORAGE = "ml.g5.xlarge"
_SECONDS = 60  # time limit of a job that is accepted against a claim


class RequestChecks:
    """The requests, for a unit with a live endpoint; each returns the rejection or raises ``CheckError``.

    Args:
        place: The account.
        deployed: The stack.
        packages: Registers packages.
        served: Returns the package that was approved first.
        beat: Called during waits.
    """

    def __init__(
        self,
        place: Place,
        deployed: Deployed,
        packages: PackageChecks,
        *,
        served: Callable[[], str],
        beat: Callable[[], None],
    ) -> None:
        self._place, self._deployed, self._packages = place, deployed, packages
        self._served, self._beat = served, beat
        self._sagemaker, self._endpoint = place.client("sagemaker"), deployed.outputs["EndpointName"]
        self._name = f"{place.names.unit}-asked"
        self._tags = place.names.tag_list

    def rollback_alarms_must_exist(self) -> str:
        """UpdateEndpoint with an absent alarm, then with one that the execution role may not describe."""
        before = self._serving()["EndpointConfigName"]
        absent = f"{self._endpoint}-rollout-absent"  # the role may describe alarms of such names
        self._create_config(self._variant(INSTANCE))
        words = [self._update_refused(alarm, before) for alarm in (absent, self._alarm_of_another_name(absent))]
        self._remove("endpoint-config")  # one that an endpoint accepted is removed by the teardown
        return f"an absent alarm: {words[0]}; one that the role may not describe: {words[1]}"

    def only_approved_packages_become_models(self) -> str:
        """CreateModel with a pending package is rejected; with an approved one it is accepted."""
        waits = self._packages.register(times(1.0))

        def create(package: str) -> object:
            return self._sagemaker.create_model(
                ModelName=self._name,
                PrimaryContainer={"ModelPackageName": package},
                ExecutionRoleArn=self._deployed.outputs["ModelRoleArn"],
                Tags=self._tags,
            )

        _taken(lambda: create(self._served()), "a model of an approved package")
        self._remove("model")
        words = refused(lambda: create(waits), names="package")
        if words is None:
            self._remove("model")
            raise CheckError("a model is made of a package that is PendingManualApproval")
        return f"{words}; of an approved one it is taken"

    def local_storage_takes_no_key(self) -> str:
        """CreateEndpointConfig with local instance storage and a key is rejected; without a key it is accepted."""
        variant, key = self._variant(_LOCAL_STORAGE), self._deployed.outputs["KeyArn"]
        _taken(lambda: self._create_config(variant), f"an endpoint config of {_LOCAL_STORAGE} without a key")
        self._remove("endpoint-config")
        words = refused(lambda: self._create_config(variant, KmsKeyId=key), names="key")
        if words is None:
            self._remove("endpoint-config")
            raise CheckError(f"an endpoint config of {_LOCAL_STORAGE} with a key is taken")
        return f"{words}; without a key it is taken"

    def training_input_must_exist(self) -> str:
        """CreateTrainingJob on a prefix without objects."""
        bucket = self._deployed.outputs["ArtifactsBucket"]
        empty = f"s3://{bucket}/verify/nothing/"
        source = {"S3DataType": "S3Prefix", "S3Uri": empty, "S3DataDistributionType": "FullyReplicated"}
        resources = {"InstanceType": INSTANCE, "InstanceCount": 1, "VolumeSizeInGB": 1}
        words = refused(
            lambda: self._sagemaker.create_training_job(
                TrainingJobName=self._name,
                RoleArn=self._deployed.outputs["ModelRoleArn"],
                AlgorithmSpecification={"TrainingImage": self._deployed.image, "TrainingInputMode": "File"},
                InputDataConfig=[{"ChannelName": "training", "DataSource": {"S3DataSource": source}}],
                OutputDataConfig={"S3OutputPath": f"s3://{bucket}/verify/output/"},
                ResourceConfig=resources,
                StoppingCondition={"MaxRuntimeInSeconds": _SECONDS},
                Tags=self._tags,
            ),
            names=empty.removesuffix("/"),
        )
        return self._job_refused("training-job", words, "a training job on a prefix without objects")

    def batch_strategy_needs_a_split(self) -> str:
        """CreateTransformJob with a strategy and no split, on an object that the model's role may read."""
        bucket = self._deployed.outputs["ArtifactsBucket"]
        model = self._variant(INSTANCE)["ModelName"]
        source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/models/{self._endpoint}/"}
        words = refused(
            lambda: self._sagemaker.create_transform_job(
                TransformJobName=self._name,
                ModelName=model,
                BatchStrategy="MultiRecord",
                TransformInput={"DataSource": {"S3DataSource": source}},
                TransformOutput={"S3OutputPath": f"s3://{bucket}/verify/output/"},
                TransformResources={"InstanceType": INSTANCE, "InstanceCount": 1},
                Tags=self._tags,
            ),
            names="split",
        )
        return self._job_refused("transform-job", words, "a transform job with BatchStrategy and without a split")

    # -- requests

    def _serving(self) -> "DescribeEndpointConfigOutputTypeDef":
        config = self._sagemaker.describe_endpoint(EndpointName=self._endpoint)["EndpointConfigName"]
        found: DescribeEndpointConfigOutputTypeDef = self._sagemaker.describe_endpoint_config(EndpointConfigName=config)
        return found

    def _variant(self, instance_type: str) -> dict[str, object]:
        """Return the live variant on another instance type."""
        served = self._serving()["ProductionVariants"][0]
        return {
            "VariantName": served["VariantName"],
            "ModelName": served["ModelName"],
            "InstanceType": instance_type,
            "InitialInstanceCount": FLEET,
            "InitialVariantWeight": 1.0,
        }

    def _create_config(self, variant: Mapping[str, Any], **more: Any) -> None:
        self._sagemaker.create_endpoint_config(
            EndpointConfigName=self._name, ProductionVariants=[variant], Tags=self._tags, **more
        )

    def _alarm_of_another_name(self, absent: str) -> str:
        """Return an alarm of the unit that its model's role may not describe."""
        pages = self._place.client("cloudwatch").get_paginator("describe_alarms")
        prefix = absent.removesuffix("absent")
        names: list[str] = [
            row["AlarmName"]
            for page in pages.paginate(AlarmNamePrefix=self._place.names.stack)
            for row in page["MetricAlarms"]
        ]
        found = next((name for name in names if not name.startswith(prefix)), None)
        if found is None:
            raise NoEvidenceError("the stack has no alarm of another name")
        return found

    def _update_refused(self, alarm: str, before: str) -> str:
        """Request an update with an alarm; if it is accepted, wait for its end."""
        policy = {"TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}}
        words = refused(
            lambda: self._sagemaker.update_endpoint(
                EndpointName=self._endpoint,
                EndpointConfigName=self._name,
                DeploymentConfig={
                    "BlueGreenUpdatePolicy": policy,
                    "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": alarm}]},
                },
            ),
            names="alarm",
        )
        if words is None:
            leftovers.at_rest(self._place, self._endpoint, self._beat)
            now = self._serving()["EndpointConfigName"]
            serves = "the old config" if now == before else "the new config"
            raise CheckError(f"an update is taken with the alarm {alarm}; the endpoint then serves {serves}")
        if self._serving()["EndpointConfigName"] != before:
            raise CheckError(f"{words}, and the endpoint serves another config")
        return words

    def _job_refused(self, kind: str, words: str | None, what: str) -> str:
        if words is None:
            self._remove(kind)
            raise CheckError(f"{what} is taken")
        return words

    def _remove(self, kind: str) -> None:
        leftovers.remove(self._place, (kind, self._name), beat=self._beat)


def _taken(call: Callable[[], object], what: str) -> None:
    """Make a request that must be accepted; otherwise, the rejection of its counterpart proves nothing."""
    try:
        call()
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationException":
            raise
        raise NoEvidenceError(f"{what} is refused as well: {error.response['Error']['Message']}") from error
