"""Glue jobs of the embedded cloud."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlops_local.glue import jobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_local.cloud import Cloud


def test_a_stream_is_refused_and_not_said_to_have_succeeded(cloud: Cloud, make_role: Callable[..., str]) -> None:
    """The error is one of StartJobRun's, and the job has no run.

    See: https://docs.aws.amazon.com/glue/latest/webapi/API_StartJobRun.html#API_StartJobRun_Errors
    """
    glue = cloud.client("glue")
    role = make_role(service="glue.amazonaws.com")
    glue.create_job(Name="stream", Role=role, Command={"Name": "gluestreaming", "ScriptLocation": "s3://b/k.py"})

    with pytest.raises(glue.exceptions.InvalidInputException, match=r"job stream is not run: .* runs no streams"):
        glue.start_job_run(JobName="stream")

    assert glue.get_job_runs(JobName="stream")["JobRuns"] == []


@pytest.mark.parametrize("missing", ["pyspark", "java"])
def test_a_spark_job_is_refused_where_spark_is_missing(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """The message names the package to install."""
    monkeypatch.setattr(jobs, "spark_home", lambda: None if missing == "pyspark" else Path("/spark"))
    monkeypatch.setattr(jobs.shutil, "which", lambda _name: None if missing == "java" else "/usr/bin/java")
    found = jobs.missing_spark({"Command": {"Name": "glueetl"}})
    assert found is not None
    assert found.startswith("the embedded cloud has no Spark; install Java 17, and pyspark 3.5 and")
    monkeypatch.setattr(jobs, "spark_home", lambda: Path("/spark"))
    monkeypatch.setattr(jobs.shutil, "which", lambda _name: "/usr/bin/java")
    assert jobs.missing_spark({"Command": {"Name": "glueetl"}}) is None


@pytest.mark.parametrize(
    ("operator", "key", "is_assumed"),
    [
        ("StringEquals", "aws:SourceAccount", False),
        ("ArnLike", "aws:SourceArn", False),
        ("StringEqualsIfExists", "aws:SourceAccount", True),
    ],
)
def test_a_role_is_assumed_without_source_keys(
    cloud: Cloud, make_role: Callable[..., str], unique: str, operator: str, key: str, is_assumed: bool
) -> None:
    """No page says that Glue sends them, and AWS's trust examples have no condition.

    See: https://docs.aws.amazon.com/glue/latest/dg/optimization-prerequisites.html
    """
    glue = cloud.client("glue")
    value = {"aws:SourceAccount": "000000000000", "aws:SourceArn": "arn:aws:glue:us-east-1:000000000000:*"}[key]
    role = make_role(service="glue.amazonaws.com", trust={"Condition": {operator: {key: value}}})
    glue.create_job(Name=unique, Role=role, Command={"Name": "pythonshell", "ScriptLocation": "s3://b/k.py"})
    if is_assumed:
        assert glue.start_job_run(JobName=unique)["JobRunId"]
        return

    with pytest.raises(glue.exceptions.InvalidInputException, match="should be given assume role permissions for Glue"):
        glue.start_job_run(JobName=unique)


def test_other_jobs_are_left_to_ministack(cloud: Cloud) -> None:
    """An unknown job is an error of its own."""
    glue = cloud.client("glue")

    with pytest.raises(glue.exceptions.EntityNotFoundException):
        glue.start_job_run(JobName="nowhere")


@pytest.mark.parametrize(
    ("script", "seconds", "state", "ended"),
    [
        ("import sys; sys.stderr.write('lost'); sys.exit(3)", 60, "RUNNING", (3, "lost")),
        ("import threading; threading.Event().wait(60)", 60, "STOPPED", None),
        ("import threading; threading.Event().wait(60)", 0, "TIMEOUT", None),
    ],
)
def test_a_script_runs_until_it_ends_is_stopped_or_is_late(
    script: str, seconds: int, state: str, ended: tuple[int, str] | None
) -> None:
    """Its output comes with its exit code; no process of it is left."""
    run = {"JobRunState": "STOPPED" if state == "STOPPED" else "RUNNING"}
    assert jobs._ended(run, [sys.executable, "-c", script], {}, seconds) == ended
    assert run["JobRunState"] == state
