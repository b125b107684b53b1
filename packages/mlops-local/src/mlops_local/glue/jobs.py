"""Glue's roles and jobs: a role must let Glue assume it, jobs are kept as they are declared, and no Spark job is run.

MiniStack takes a run of a Spark job without Docker for a success. Here it is refused by name, so that a batch which was
not ingested does not look ingested.
"""

from collections.abc import Mapping
from typing import Any

from ministack.core.responses import error_response_json, get_account_id
from ministack.services import glue

from mlops_local import compat
from mlops_local.iam import authorization

PRINCIPAL = "glue.amazonaws.com"

compat.expect("ministack.services.glue", _start_job_run="(data)", _is_spark_job="(job)", _jobs=object)


def install() -> None:
    """Let StartJobRun refuse roles that Glue may not assume, and Spark jobs; all else of jobs is MiniStack's."""
    start = glue._start_job_run

    def start_or_refuse(data: dict[str, Any]) -> Any:
        # claim: glue-asks-for-its-role
        name = data.get("JobName")
        refusal = refuse_role(glue._jobs[name]["Role"]) if name in glue._jobs else None
        if refusal is not None:
            return error_response_json("InvalidInputException", refusal, 400)
        if name in glue._jobs and glue._is_spark_job(glue._jobs[name]):
            return error_response_json(
                "InvalidInputException",
                f"job {name} is not run: the embedded cloud has no Spark; run its module with pyspark, or deploy to AWS",
                400,
            )
        return start(data)

    glue._start_job_run = start_or_refuse


def refuse_role(role: str) -> str | None:
    """Say in AWS's words that Glue may not assume a role, or `None`."""
    # claim: glue-asks-for-its-role
    arn = role if role.startswith("arn:") else f"arn:aws:iam::{get_account_id()}:role/{role}"
    try:
        authorization.assume(arn, service=PRINCIPAL, source_arn="", name="GlueJobRunnerSession")
    except authorization.AccessDeniedError:
        return f"Role {arn} should be given assume role permissions for Glue Service."
    return None


def check_optimizer(_physical_id: str, _old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Check that Glue may assume the role of a table's optimizer.

    Raises:
        ValueError: If it may not.
    """
    # claim: glue-asks-for-its-role
    refusal = refuse_role(new["TableOptimizerConfiguration"]["RoleArn"])
    if refusal is not None:
        raise ValueError(refusal)
