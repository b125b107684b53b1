"""State machines that run Glue jobs on the embedded cloud."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_local.cloud import Cloud

pytestmark = pytest.mark.cloud

STATES = "states.amazonaws.com"
SYNC = "arn:aws:states:::glue:startJobRun.sync"
RIGHTS = ("glue:StartJobRun", "glue:GetJobRun", "glue:GetJobRuns", "glue:BatchStopJobRun")


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
