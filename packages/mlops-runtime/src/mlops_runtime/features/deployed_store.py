"""The client of a unit's deployed feature store, found by the store's parameter.

Whether the SageMaker or Glue job of a build has ended is reported by its service, never decided by a timeout.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.contracts.events import EventDetail
from mlops_runtime.contracts.features import BuildProcess
from mlops_runtime.contracts.unit_entries import FeatureStoreEntry
from mlops_runtime.features.batch_delivery import unit_bus
from mlops_runtime.features.online_store import OnlineStore
from mlops_runtime.features.store_client import FeatureStoreClient

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeProcessingJob.html
_ENDED_JOBS = {"Completed", "Failed", "Stopped"}
# https://docs.aws.amazon.com/glue/latest/dg/aws-glue-api-jobs-runs.html#aws-glue-api-jobs-runs-JobRun
_ENDED_RUNS = {"STOPPED", "SUCCEEDED", "FAILED", "TIMEOUT", "ERROR", "EXPIRED"}


def open_store(
    client: Callable[[str], Any], environment: Mapping[str, str], *, unit: str, now: datetime, erases: bool = False
) -> tuple[FeatureStoreClient, FeatureStoreEntry]:
    """Return the client of a unit's feature store, and the store's entry.

    Args:
        client: Returns the client of a service.
        environment: Environment variables by which libraries other than boto3 reach the same account.
        now: The time in the cloud.
        erases: Whether the client erases entities, also from the online store if there is one. Default: the client has no online
            store; the store's function publishes what is ingested.

    Raises:
        NotDeployedError: If the unit has no feature store.
    """
    entries = Entries(ssm=client("ssm"))
    entry = entries.feature_store(unit)
    table = entry.online_table

    def announce(detail: EventDetail) -> None:
        unit_bus(client("events"), bus=entries.unit(unit).bus, unit=unit)(detail)

    made = FeatureStoreClient.glue(
        database=entry.database,
        environment=dict(environment),
        now=lambda: now,
        announce=announce,
        manifests=f"s3://{entry.manifests_bucket}/manifests",
        training_sets=f"s3://{entry.training_sets_bucket}",
        s3=client("s3"),
        glue=client("glue"),
        spark_job=entry.training_set_job,
        online=OnlineStore(client("dynamodb"), table=table) if erases and table is not None else None,
        ended=ended_on_aws(client("sagemaker"), client("glue")),
    )
    return made, entry


def ended_on_aws(sagemaker: Any, glue: Any) -> Callable[[BuildProcess], bool]:
    """Return a function that returns whether a build's process has ended."""

    def ended(process: BuildProcess) -> bool:
        if process.kind == "processing-job":
            job = sagemaker.describe_processing_job(ProcessingJobName=process.name)
            return job["ProcessingJobStatus"] in _ENDED_JOBS
        if process.kind == "job-run":
            run = glue.get_job_run(JobName=process.name, RunId=process.run)
            return run["JobRun"]["JobRunState"] in _ENDED_RUNS
        return False

    return ended
