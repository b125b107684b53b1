"""Glue's roles and jobs: checks of role trust, stored job definitions, and runs of Spark jobs on a local Spark.

MiniStack marks a Spark job's run without Docker as succeeded. Here its script runs on a local Spark with its role's credentials;
without pyspark or Java the run is rejected by name, so that no batch appears ingested that was not.

State machines start runs by ``glue:startJobRun``, with and without ``.sync``. A ``.sync`` task polls its run until it ends and
returns the run; on failure the run is the cause. It stops the run when the execution is stopped or the task times out. No event
rule is needed, since Step Functions polls. The machine role's permissions are checked before the task runs.

See: https://docs.aws.amazon.com/step-functions/latest/dg/connect-glue.html
"""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from ministack.core.responses import error_response_json, get_account_id, get_region
from ministack.services import glue
from ministack.services import stepfunctions as machines

from mlops_local import settings
from mlops_local.iam import authorization
from mlops_local.sagemaker.machine_integrations import integrate, is_unwanted
from mlops_runtime.aws_api import unsupported_of_task

PRINCIPAL = "glue.amazonaws.com"
_SESSION = "GlueJobRunnerSession"
_BATCH = "glueetl"
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "JAVA_HOME")
_LOOK = 0.1  # real seconds between two checks of whether a run was stopped
_MESSAGE = 2000  # maximum characters of a run's error message
_START = "arn:aws:states:::glue:startJobRun"
_LOOK_AT_RUN = 0.05  # real seconds between two checks of a run
# https://docs.aws.amazon.com/glue/latest/dg/job-run-statuses.html
_TIMES = ("StartedOn", "LastModifiedOn", "CompletedOn")
_UNDER_WAY = ("STARTING", "RUNNING", "STOPPING", "WAITING")


def install() -> None:
    """Let StartJobRun reject roles that Glue may not assume, and run Spark jobs; the rest is MiniStack's."""
    start, execute, is_spark = glue._start_job_run, glue._execute_subprocess, glue._is_spark_job

    def start_or_refuse(data: dict[str, Any]) -> Any:
        # claim: glue-asks-for-its-role
        name = data.get("JobName")
        refusal = refuse_role(glue._jobs[name]["Role"]) if name in glue._jobs else None
        if refusal is not None:
            return error_response_json("InvalidInputException", refusal, 400)
        if name in glue._jobs and is_spark(glue._jobs[name]):
            missing = missing_spark(glue._jobs[name])
            if missing is not None:
                return error_response_json("InvalidInputException", f"job {name} is not run: {missing}", 400)
        return start(data)

    def execute_either(
        run: MutableMapping[str, Any], job: Mapping[str, Any], args: Mapping[str, str], path: str
    ) -> None:
        if is_spark(job):
            _run_spark(run, job, args, path)
        else:
            execute(run, job, args, path)

    glue._start_job_run, glue._execute_subprocess = start_or_refuse, execute_either
    glue._is_spark_job = _is_of_docker
    integrate({_START: _start_in_machine})


def _is_of_docker(job: Mapping[str, Any]) -> bool:  # noqa: ARG001 - MiniStack's signature
    """Return `False`: MiniStack would look for a Docker image, and report success without one."""
    return False


def missing_spark(job: Mapping[str, Any]) -> str | None:
    """Return why a Spark job cannot run here, or `None`."""
    if job["Command"]["Name"] != _BATCH:
        return "the embedded cloud runs no streams; run its module with pyspark, or deploy to AWS"
    if spark_home() is None or shutil.which("java") is None:
        return (
            "the embedded cloud has no Spark; install Java 17, and pyspark 3.5 and sagemaker-feature-store-pyspark beside it, "
            "or deploy to AWS"
        )
    return None


def spark_home() -> Path | None:
    """Return the folder that contains pyspark: on this Python's path, or `share/spark` of its environment."""
    found = importlib.util.find_spec("feature_store_pyspark"), importlib.util.find_spec("pyspark")
    if found[0] is not None and found[1] is not None and found[1].origin is not None:
        return Path(found[1].origin).parent.parent
    shared = Path(sys.prefix) / "share" / "spark"
    return shared if (shared / "pyspark").is_dir() and sys.version_info < (3, 12) else None


def _run_spark(run: MutableMapping[str, Any], job: Mapping[str, Any], args: Mapping[str, str], script: str) -> None:
    """Run a job's script in a process, with its role's credentials, until it ends or times out."""
    session = authorization.assume(_arn(job["Role"]), service=PRINCIPAL, source_arn="", name=_SESSION)
    url, region = settings.endpoint_url(), get_region()
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ} | {
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ENDPOINT_URL": url,
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYTHONPATH": os.pathsep.join([*(path for path in sys.path if path), str(spark_home())]),
        **session.environment(),
    }
    given = {**args, "--JOB_NAME": run["JobName"], "--JOB_RUN_ID": run["Id"]}
    command = [
        sys.executable,
        "-m",
        "mlops_local.glue.spark_session",
        script,
        *(part for each in given.items() for part in each),
    ]
    ended = _ended(run, command, environment, 60 * int(job.get("Timeout", 2880)))
    if ended is None:
        return
    code, output = ended
    if code == 0:
        run["JobRunState"] = "SUCCEEDED"
        return
    last = next((line for line in reversed(output.splitlines()) if line.strip()), f"exit code {code}")
    run.update(JobRunState="FAILED", ErrorMessage=last[-_MESSAGE:])


def _ended(
    run: MutableMapping[str, Any], command: Sequence[str], environment: Mapping[str, str], seconds: int
) -> tuple[int, str] | None:
    """Return a script's exit code and output; `None` if it was stopped or timed out."""
    # claim: glue-run-that-is-stopped-ends-its-process
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=output, start_new_session=True
        )
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(_LOOK)
                break
            is_late = time.monotonic() > deadline
            if is_late or run["JobRunState"] == "STOPPED":
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                if is_late:
                    run.update(JobRunState="TIMEOUT", ErrorMessage="the job ran longer than its timeout")
                return None
        output.seek(0)
        return code, output.read()


def refuse_role(role: str) -> str | None:
    """Return Glue's error if Glue may not assume a role, or `None`."""
    # claim: glue-asks-for-its-role
    arn = _arn(role)
    try:
        authorization.assume(arn, service=PRINCIPAL, source_arn="", name=_SESSION)
    except authorization.AccessDeniedError:
        return f"Role {arn} should be given assume role permissions for Glue Service."
    return None


def _arn(role: str) -> str:
    return role if role.startswith("arn:") else f"arn:aws:iam::{get_account_id()}:role/{role}"


def check_optimizer(_physical_id: str, _old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Check that Glue may assume the role of a table's optimizer.

    Raises:
        ValueError: If Glue may not assume it.
    """
    # claim: glue-asks-for-its-role
    refusal = refuse_role(new["TableOptimizerConfiguration"]["RoleArn"])
    if refusal is not None:
        raise ValueError(refusal)


def _start_in_machine(resource: str, data: dict[str, Any]) -> dict[str, Any]:
    # claim: machine-follows-its-glue-run
    for found in unsupported_of_task("StartJobRun", "", resource, data):
        raise machines._ExecutionError("States.Runtime", found.refusal)
    started = _answered(glue._start_job_run(data))
    name, run = data["JobName"], started["JobRunId"]
    if not resource.endswith(".sync"):
        return {"JobName": name, **started}
    return _follow_run(name, run)


def _follow_run(name: str, run: str) -> dict[str, Any]:
    # claim: machine-follows-its-glue-run
    pause, is_stopped = threading.Event(), False
    while (found := _answered(glue._get_job_run({"JobName": name, "RunId": run}))["JobRun"])[
        "JobRunState"
    ] in _UNDER_WAY:
        if is_unwanted() and not is_stopped:
            glue._batch_stop_job_run({"JobName": name, "JobRunIds": [run]})
            is_stopped = True
        pause.wait(_LOOK_AT_RUN)
    described = {key: value * 1000 if key in _TIMES and value else value for key, value in found.items()}
    if found["JobRunState"] != "SUCCEEDED":
        # claim: glue-run-that-failed-is-the-cause
        raise machines._ExecutionError("States.TaskFailed", json.dumps(described))
    return described


def _answered(response: Any) -> dict[str, Any]:
    """Return Glue's response, or raise its error in the naming of Step Functions."""
    status, _headers, body = response
    content: dict[str, Any] = json.loads(body)
    if status >= 400:
        # claim: glue-errors-have-the-services-names
        name = str(content.get("__type", "AWSGlueException")).rpartition("#")[2]
        message = content.get("message", content.get("Message", ""))
        raise machines._ExecutionError(
            f"Glue.{name}", f"{message} (Service: AWSGlue; Status Code: {status}; Error Code: {name})"
        )
    return content
