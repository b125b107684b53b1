"""Glue jobs: kept as they are declared, and no Spark job is run.

MiniStack takes a run of a Spark job without Docker for a success. Here it is refused by name, so that nobody takes a batch which
nobody ingested for one that was.
"""

from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import glue

from mlops_local import compat

compat.expect("ministack.services.glue", _start_job_run="(data)", _is_spark_job="(job)", _jobs=object)


def install() -> None:
    """Let StartJobRun refuse Spark jobs; all else of jobs is MiniStack's."""
    start = glue._start_job_run

    def start_or_refuse(data: dict[str, Any]) -> Any:
        name = data.get("JobName")
        if name in glue._jobs and glue._is_spark_job(glue._jobs[name]):
            return error_response_json(
                "InvalidInputException",
                f"job {name} is not run: the embedded cloud has no Spark; run its module with pyspark, or deploy to AWS",
                400,
            )
        return start(data)

    glue._start_job_run = start_or_refuse
