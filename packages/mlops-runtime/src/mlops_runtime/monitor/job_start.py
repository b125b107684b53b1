"""Start the processing job of one scheduled monitor run. Imports no numpy: the starting function is small."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.retraining import JobTags
from mlops_runtime.instance_types import takes_volume_key
from mlops_runtime.jobs.job_environment import split_argument

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.literals import ProcessingInstanceTypeType
    from mypy_boto3_sagemaker.type_defs import (
        CreateProcessingJobRequestTypeDef,
        ProcessingClusterConfigTypeDef,
        ProcessingInputTypeDef,
        ProcessingS3InputTypeDef,
    )

_log = logging.getLogger("mlops.monitor")
CODE = "code"
_CODE_FOLDER = f"/opt/ml/processing/input/{CODE}"
# job names are "<endpoint>-monitor-<minute>", at most 63 characters
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateProcessingJob.html
CHARACTERS_OF_TIME = len("201708080600")
MAXIMUM_ENDPOINT_NAME = 63 - len("-monitor-") - CHARACTERS_OF_TIME


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorJobPlan:
    """Image, instances, network and tags of the job.

    ``maximum`` is its timeout in seconds. ``code_uri`` makes it a Spark application: the S3 URI of the file that Spark runs.
    ``further_tags`` are the unit's additional tags.
    """

    image_uri: str
    instance_type: str
    count: int
    maximum: int
    volume_gigabytes: int
    role: str
    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    kms_key: str
    owner: str
    cost_center: str
    attribution_rows: int = 0
    code_uri: str | None = None
    further_tags: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartSettings:
    """Environment of the function ``monitor_start``: the job's plan, and the settings of the decision."""

    plan: MonitorJobPlan
    decide: Mapping[str, Any]
    artifacts: str
    captures: str
    table: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "StartSettings":
        """Read ``JOB``, ``ARTIFACTS_BUCKET``, ``CAPTURE_BUCKET``, ``ROLLOUT_TABLE`` and the variables of ``DecideSettings``."""
        decide: dict[str, object] = {
            "endpoint": environment["ENDPOINT"],
            "variant": environment["VARIANT"],
            "unit": environment["UNIT"],
            "bus": environment["EVENT_BUS"],
            "window_hours": int(environment["WINDOW_HOURS"]),
            "spec": json.loads(environment["MONITOR"]),
            "engine": "PROCESSING",
        }
        if "PERIOD_HOURS" in environment:
            decide["period_hours"] = int(environment["PERIOD_HOURS"])
        if "TRAFFIC" in environment:
            decide["traffic"] = json.loads(environment["TRAFFIC"])
        return cls(
            plan=from_json(MonitorJobPlan, environment["JOB"]),
            decide=decide,
            artifacts=environment["ARTIFACTS_BUCKET"],
            captures=environment["CAPTURE_BUCKET"],
            table=environment["ROLLOUT_TABLE"],
        )


def job_request(settings: StartSettings, now: datetime) -> "CreateProcessingJobRequestTypeDef":
    """Return the CreateProcessingJob request of one run; without network isolation, because the job reads S3 and DynamoDB itself.

    See: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateProcessingJob.html and, for Spark,
    https://docs.aws.amazon.com/sagemaker/latest/dg/use-spark-processing-container.html

    Args:
        settings: The job's plan and settings.
        now: The scheduled time; the same minute results in the same job name.
    """
    plan, endpoint = settings.plan, settings.decide["endpoint"]
    now = now.astimezone(UTC)
    name = f"{endpoint}-monitor-{now:%Y%m%d%H%M}"
    tags = JobTags(
        unit=settings.decide["unit"],
        owner=plan.owner,
        cost_center=plan.cost_center,
        model=endpoint,
        execution=name,
        further=plan.further_tags,
    )
    cluster: ProcessingClusterConfigTypeDef = {
        "InstanceCount": plan.count,
        "InstanceType": cast("ProcessingInstanceTypeType", plan.instance_type),
        "VolumeSizeInGB": plan.volume_gigabytes,
    }
    if takes_volume_key(plan.instance_type):
        cluster["VolumeKmsKeyId"] = plan.kms_key
    request: CreateProcessingJobRequestTypeDef = {
        "ProcessingJobName": name,
        "AppSpecification": {
            "ImageUri": plan.image_uri,
            "ContainerEntrypoint": _entry_point(plan),
            "ContainerArguments": _arguments(settings, now),
        },
        "RoleArn": plan.role,
        "ProcessingResources": {"ClusterConfig": cluster},
        "StoppingCondition": {"MaxRuntimeInSeconds": plan.maximum},
        "NetworkConfig": {
            "EnableNetworkIsolation": False,
            "EnableInterContainerTrafficEncryption": True,
            "VpcConfig": {"Subnets": list(plan.subnets), "SecurityGroupIds": list(plan.security_groups)},
        },
        "Tags": tags.as_tags(),
    }
    if plan.code_uri is not None:
        request["ProcessingInputs"] = [_code(plan.code_uri)]
    return request


def start(now: datetime, settings: StartSettings, sagemaker: "SageMakerClient") -> str:
    """Start the job of one run and return its name; a job that exists already was started by the same event."""
    request = job_request(settings, now)
    name = str(request["ProcessingJobName"])
    try:
        sagemaker.create_processing_job(**request)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceInUse":
            raise
        _log.info(json.dumps({"started": name, "again": True}))
    else:
        _log.info(json.dumps({"started": name, "again": False}))
    return name


def _entry_point(plan: MonitorJobPlan) -> list[str]:
    if plan.code_uri is None:
        return ["python", "-m", "mlops_runtime.jobs.monitor"]
    return ["smspark-submit", f"{_CODE_FOLDER}/{plan.code_uri.rpartition('/')[2]}"]


def _arguments(settings: StartSettings, now: datetime) -> Sequence[str]:
    text = json.dumps(settings.decide, sort_keys=True, separators=(",", ":"))
    places = ["--artifacts", settings.artifacts, "--captures", settings.captures, "--table", settings.table]
    rows = ["--attribution-rows", str(settings.plan.attribution_rows)] if settings.plan.attribution_rows else []
    return ["--settings", *split_argument(text), *places, "--now", f"{now:%Y-%m-%dT%H:%M:%SZ}", *rows]


def _code(uri: str) -> "ProcessingInputTypeDef":
    source: ProcessingS3InputTypeDef = {
        "S3Uri": uri,
        "LocalPath": _CODE_FOLDER,
        "S3DataType": "S3Prefix",
        "S3InputMode": "File",
        "S3DataDistributionType": "FullyReplicated",
        "S3CompressionType": "None",
    }
    return {"InputName": CODE, "S3Input": source}
