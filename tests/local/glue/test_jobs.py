"""Glue jobs of the embedded cloud, also in state machines."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mlops_local.glue import jobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_local.cloud import Cloud

STATES = "states.amazonaws.com"
SYNC = "arn:aws:states:::glue:startJobRun.sync"
RIGHTS = ("glue:StartJobRun", "glue:GetJobRun", "glue:GetJobRuns", "glue:BatchStopJobRun")


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


@pytest.fixture
def job(cloud: Cloud, make_role: Callable[..., str], unique: str) -> Callable[[str], str]:
    """Make a job from a script, and return its name."""

    def make(script: str) -> str:
        s3 = cloud.client("s3")
        s3.create_bucket(Bucket=unique)
        s3.put_object(Bucket=unique, Key="job.py", Body=script.encode())
        role = make_role(service="glue.amazonaws.com")
        command = {"Name": "pythonshell", "ScriptLocation": f"s3://{unique}/job.py"}
        cloud.client("glue").create_job(Name=unique, Role=role, Command=command)
        return unique

    return make


@pytest.fixture
def role(make_role: Callable[..., str], allow: Callable[..., Any], unique: str) -> str:
    """Return a machine's role that may run one job."""
    arn = f"arn:aws:glue:us-east-1:000000000000:job/{unique}"
    return make_role(allow(*RIGHTS, resource=arn), service=STATES)


def test_a_task_follows_its_run_to_the_end(
    job: Callable[[str], str], role: str, run_machine: Callable[..., Any]
) -> None:
    """The result is the run with times in milliseconds; the task's arguments are the run's."""
    done = run_machine(role, SYNC, {"JobName": job("print(1)"), "Arguments": {"--plan": "x"}})
    assert done["status"] == "SUCCEEDED", done
    run = json.loads(done["output"])
    assert (run["JobRunState"], run["Arguments"]["--plan"]) == ("SUCCEEDED", "x")
    assert run["StartedOn"] > 10**12


def test_a_call_alone_answers_with_name_and_run(
    job: Callable[[str], str], role: str, run_machine: Callable[..., Any]
) -> None:
    """Glue returns only the run id; the integration adds the name."""
    name = job("print(1)")
    done = run_machine(role, SYNC.removesuffix(".sync"), {"JobName": name})
    assert json.loads(done["output"]).keys() == {"JobName", "JobRunId"}


def test_a_run_that_fails_fails_the_task_with_itself(
    job: Callable[[str], str], role: str, run_machine: Callable[..., Any]
) -> None:
    """The cause is the run with its error message."""
    done = run_machine(role, SYNC, {"JobName": job("raise SystemExit('no such table')")})
    assert (done["status"], done["error"]) == ("FAILED", "States.TaskFailed")
    run = json.loads(done["cause"])
    assert (run["JobRunState"], run["ErrorMessage"].strip()) == ("FAILED", "no such table")


def test_an_error_of_the_call_has_the_name_of_its_exception(
    role: str, run_machine: Callable[..., Any], unique: str
) -> None:
    """A Retry can name it."""
    done = run_machine(role, SYNC, {"JobName": unique})
    assert done["error"] == "Glue.EntityNotFoundException"
    assert done["cause"].startswith(f"Job {unique} not found")


def test_a_field_that_is_not_supported_fails_the_execution(
    job: Callable[[str], str], role: str, run_machine: Callable[..., Any]
) -> None:
    """Arguments known only to the execution are validated too."""
    name = job("print(1)")
    done = run_machine(role, SYNC, f"{{% {{'JobName': '{name}', 'JobRunId': 'x'}} %}}")
    assert (done["error"], done["cause"]) == (
        "States.Runtime",
        'The field "JobRunId" is not supported by Step Functions',
    )


def test_following_a_run_needs_four_rights_on_its_job(
    job: Callable[[str], str],
    make_role: Callable[..., str],
    allow: Callable[..., Any],
    run_machine: Callable[..., Any],
    unique: str,
) -> None:
    """The job's own ARN is enough, and another job's is not."""
    job("print(1)")
    arn = f"arn:aws:glue:us-east-1:000000000000:job/{unique}"
    for i, missing in enumerate(RIGHTS):
        given = [allow(*RIGHTS[:i], resource=arn)] if i else []
        failed = run_machine(
            make_role(*given, allow(*RIGHTS, resource=f"{arn}2"), service=STATES), SYNC, {"JobName": unique}
        )
        assert failed["error"] == "Glue.AccessDeniedException"
        assert f"perform: {missing} on resource: {arn}" in failed["cause"]


def test_a_task_out_of_time_stops_its_run(
    cloud: Cloud, job: Callable[[str], str], role: str, run_machine: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    """The run is STOPPED, and the task ends with States.Timeout."""
    name = job("import threading\nthreading.Event().wait(5)")
    assert run_machine(role, SYNC, {"JobName": name}, TimeoutSeconds=1)["error"] == "States.Timeout"
    glue = cloud.client("glue")
    assert wait_for(lambda: glue.get_job_runs(JobName=name)["JobRuns"][0]["JobRunState"] == "STOPPED")
