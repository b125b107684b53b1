"""The Glue job that builds training sets that do not fit one machine."""

from typing import Literal, get_args

import aws_cdk as cdk
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3_assets as s3_assets

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._assets import glue_archive, job_package, text_file
from mlops_constructs._roles import allow, key_statement, service_role
from mlops_constructs._stack_values import stack_of, stack_values
from mlops_constructs._validation import check_duration, check_whole, raise_if_any
from mlops_constructs.feature_store.feature_ingest import (
    define_job_connection,
    define_job_encryption,
    job_service_statements,
)
from mlops_constructs.feature_store.feature_store import FeatureStore
from mlops_constructs.feature_store.table_grants import grant_all
from mlops_constructs.unit_interface import IBusinessUnit

# https://docs.aws.amazon.com/glue/latest/dg/release-notes.html: Spark 3.5, Iceberg 1.10, Python 3.11
BUILD_GLUE_VERSION = "5.1"
CATALOG = "glue_catalog"
WorkerType = Literal["G.1X", "G.2X", "G.4X", "G.8X"]
_MODULE = "training_set_spark"
_STAGED = "staged/*"
_SCRIPT = f"""import sys

from mlops_runtime.jobs.{_MODULE} import main

code = main(sys.argv[1:])
if code:
    sys.exit(code)
"""
_REACHED = ("glue", "logs")
_REASON = (
    "network interfaces have no name before they are created, Glue names the log groups, and sets, manifests and files of builds "
    "have new names below their prefixes; rejected: AWSGlueServiceRole, which grants more, and a job outside the network"
)


@checked("InvalidTrainingSetJob")
class TrainingSetJob(Construct):
    """A Spark job that builds training sets of a feature store that do not fit a client's memory. Stateless.

    Clients start it by ``FeatureStoreClient.glue(spark_job=job.job_name, glue=boto3.client("glue"), ...)``, and so does a
    ``RetrainingPipeline`` with this job, for a set that exceeds the memory of its own job. In the stack of its store it is also the
    job that ``mlops features build`` starts. Its role reads the tables, tags nothing, and writes sets and manifests. A run removes
    its staged objects; those of an interrupted run expire after three days.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: Unit in whose network the job runs.
        store: The feature store.
        worker_type: Worker type. Default: ``G.2X``, eight vCPUs and 32 GB.
        number_of_workers: Number of workers, at least two, including the driver. Default: 10.
        timeout: Longest run, from 5 minutes to 24 hours. Default: 4 hours.
        max_concurrent_runs: Maximum of concurrent runs. Default: 3.

    Raises:
        ValidationError: If a number is not allowed; with every problem.

    Example:
        >>> job = TrainingSetJob(self, "Builds", business_unit=unit, store=store, number_of_workers=40)
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        business_unit: IBusinessUnit,
        store: FeatureStore,
        worker_type: WorkerType = "G.2X",
        number_of_workers: int = 10,
        timeout: cdk.Duration | None = None,
        max_concurrent_runs: int = 3,
    ) -> None:
        super().__init__(scope, id)
        longest = cdk.Duration.hours(4) if timeout is None else timeout
        problems = [
            check_whole("number_of_workers", number_of_workers, minimum=2, maximum=299),
            check_duration(
                "timeout",
                longest,
                minimum=cdk.Duration.minutes(5),
                maximum=cdk.Duration.hours(24),
                whole="minutes",
            ),
            check_whole("max_concurrent_runs", max_concurrent_runs, minimum=1, maximum=50),
            None
            if worker_type in get_args(WorkerType)
            else f"worker_type must be one of {', '.join(get_args(WorkerType))}, got {worker_type!r}",
        ]
        raise_if_any(self, "InvalidTrainingSetJob", [problem for problem in problems if problem is not None])
        business_unit.reach(_REACHED)
        self._store, self._key, self._max_runtime = store, business_unit.key, longest
        sets, manifests = store.training_sets_bucket, store.manifests_bucket
        script = s3_assets.Asset(self, "Script", path=str(text_file("training_set.py", _SCRIPT)))
        package = s3_assets.Asset(self, "Package", path=str(job_package(_MODULE)))
        wheels = s3_assets.Asset(self, "Wheels", path=str(glue_archive("features").resolve()))
        connection = define_job_connection(self, business_unit, "builds training sets")
        role = service_role(
            self,
            "Role",
            service="glue.amazonaws.com",
            business_unit=business_unit,
            description=f"Builds training sets of {store.database_name}",
            wildcard_reason=_REASON,
            statements=[
                *store.build_statements(tagged=True),
                *self._staged_statements(),
                # a build removes its set if an erasure began meanwhile
                allow(["s3:DeleteObject", "s3:DeleteObjectVersion"], sets.arn_for_objects("sets/*")),
                allow(
                    "s3:GetObject",
                    *(asset.bucket.arn_for_objects(asset.s3_object_key) for asset in (script, package, wheels)),
                ),
                *job_service_statements(self, connection),
            ],
        )
        iceberg = "org.apache.iceberg"
        settings = [
            f"spark.sql.extensions={iceberg}.spark.extensions.IcebergSparkSessionExtensions",
            f"spark.sql.catalog.{CATALOG}={iceberg}.spark.SparkCatalog",
            f"spark.sql.catalog.{CATALOG}.catalog-impl={iceberg}.aws.glue.GlueCatalog",
            f"spark.sql.catalog.{CATALOG}.io-impl={iceberg}.aws.s3.S3FileIO",
            f"spark.sql.catalog.{CATALOG}.warehouse=s3://{store.data_bucket.bucket_name}/{store.database_name}",
            "spark.speculation=false",
        ]
        self._job = glue.CfnJob(
            self,
            "Job",
            description=f"Builds training sets of {store.database_name} that do not fit one machine",
            command=glue.CfnJob.JobCommandProperty(
                name="glueetl", python_version="3", script_location=script.s3_object_url
            ),
            glue_version=BUILD_GLUE_VERSION,
            worker_type=worker_type,
            number_of_workers=number_of_workers,
            timeout=int(longest.to_minutes(integral=False)),
            max_retries=0,  # its client reads the failure and starts it again
            execution_property=glue.CfnJob.ExecutionPropertyProperty(max_concurrent_runs=max_concurrent_runs),
            role=role.role_arn,
            security_configuration=define_job_encryption(
                self, business_unit, f"{store.database_name}-training-sets"
            ).ref,
            connections=glue.CfnJob.ConnectionsListProperty(connections=[connection.ref]),
            default_arguments={
                "--additional-python-modules": wheels.s3_object_url,
                "--catalog": CATALOG,
                "--conf": " --conf ".join(settings),
                "--database": store.database_name,
                "--datalake-formats": "iceberg",
                "--extra-py-files": package.s3_object_url,
                "--job-bookmark-option": "job-bookmark-disable",
                "--job-language": "python",
                "--manifests": f"s3://{manifests.bucket_name}/manifests",
                "--python-modules-installer-option": "--no-index",
                "--sets": f"s3://{sets.bucket_name}",
            },
        )
        self._job.node.add_dependency(role)
        store.admit(role, to="read")
        if stack_of(store) is stack_of(self):  # otherwise the two stacks would depend on each other
            store.name_training_set_job(self._job.ref)
        business_unit.tag(self)

    @property
    def job_name(self) -> str:
        """Name of the job, for ``FeatureStoreClient.glue(spark_job=...)``."""
        return self._job.ref

    @property
    def job_arn(self) -> str:
        """ARN of the job."""
        return stack_values(self).format_arn(service="glue", resource="job", resource_name=self._job.ref)

    @property
    def max_runtime(self) -> cdk.Duration:
        """Longest run."""
        return self._max_runtime

    @property
    def store(self) -> FeatureStore:
        """The store whose training sets it builds."""
        return self._store

    def grant_start(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant starting runs and reading their results, for principals that may build training sets.

        Args:
            grantee: The principal, which also needs ``FeatureStore.grant_build_training_sets``.

        Raises:
            ValidationError: If the grant cannot be added from this stack.
        """
        statements = [
            allow(["glue:GetJobRun", "glue:StartJobRun"], self.job_arn),
            *self._staged_statements(),
        ]
        return grant_all(grantee, statements, scope=self)

    def grant_read_runs(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant only reading the results of runs: an erasure waits for running builds, and needs to read whether they have ended.

        Args:
            grantee: The principal that erases entities, which also needs ``FeatureStore.grant_erase``.

        Raises:
            ValidationError: If the grant cannot be added from this stack.
        """
        return grant_all(grantee, [allow("glue:GetJobRun", self.job_arn)], scope=self)

    def _staged_statements(self) -> list[iam.PolicyStatement]:
        """Write, read and remove staged objects of builds only."""
        sets = self._store.training_sets_bucket
        return [
            allow(
                ["s3:DeleteObject", "s3:DeleteObjectVersion", "s3:GetObject", "s3:PutObject"],
                sets.arn_for_objects(_STAGED),
            ),
            allow(["s3:ListBucket", "s3:ListBucketVersions"], sets.bucket_arn),
            key_statement(self._key, services=["s3"]),
        ]
