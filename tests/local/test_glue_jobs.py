"""Glue jobs of the embedded cloud."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mlops_local.cloud import Cloud


@pytest.mark.parametrize("command", ["glueetl", "gluestreaming"])
def test_a_spark_job_is_refused_and_not_said_to_have_succeeded(cloud: Cloud, command: str) -> None:
    """The error is one of those of StartJobRun, and the job has no run.

    See: https://docs.aws.amazon.com/glue/latest/webapi/API_StartJobRun.html#API_StartJobRun_Errors
    """
    glue = cloud.client("glue")
    glue.create_job(Name=f"spark-{command}", Role="r", Command={"Name": command, "ScriptLocation": "s3://b/k.py"})

    with pytest.raises(glue.exceptions.InvalidInputException, match=f"job spark-{command} is not run: .* has no Spark"):
        glue.start_job_run(JobName=f"spark-{command}")

    assert glue.get_job_runs(JobName=f"spark-{command}")["JobRuns"] == []


def test_other_jobs_are_left_to_ministack(cloud: Cloud) -> None:
    """An unknown job is an error of its own."""
    glue = cloud.client("glue")

    with pytest.raises(glue.exceptions.EntityNotFoundException):
        glue.start_job_run(JobName="nowhere")
