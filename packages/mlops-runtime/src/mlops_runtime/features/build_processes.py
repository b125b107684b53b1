"""Whether the SageMaker or Glue job of a build has ended, as reported by its service; never decided by a timeout."""

from collections.abc import Callable
from typing import Any

from mlops_runtime.contracts.features import BuildProcess

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeProcessingJob.html
_ENDED_JOBS = {"Completed", "Failed", "Stopped"}
# https://docs.aws.amazon.com/glue/latest/dg/aws-glue-api-jobs-runs.html#aws-glue-api-jobs-runs-JobRun
_ENDED_RUNS = {"STOPPED", "SUCCEEDED", "FAILED", "TIMEOUT", "ERROR", "EXPIRED"}


def ended_on_aws(sagemaker: Any, glue: Any) -> Callable[[BuildProcess], bool]:
    """Return a function that returns whether a build's process has ended.

    Args:
        sagemaker: A boto3 client of SageMaker.
        glue: A boto3 client of Glue.
    """

    def ended(process: BuildProcess) -> bool:
        if process.kind == "processing-job":
            job = sagemaker.describe_processing_job(ProcessingJobName=process.name)
            return job["ProcessingJobStatus"] in _ENDED_JOBS
        if process.kind == "job-run":
            run = glue.get_job_run(JobName=process.name, RunId=process.run)
            return run["JobRun"]["JobRunState"] in _ENDED_RUNS
        return False

    return ended
