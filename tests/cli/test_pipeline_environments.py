"""The pipeline of a repository with several environments: each deployed with its own account's roles, one model through all."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pandas as pd
import pytest
import yaml
from examples.gitlab_platform import Platform
from tests.cli.pipeline_run import (
    INPUTS,
    OFFLINE,
    declared,
    id_token,
    make_repository,
    needs_gitlab,
    printed,
    rendered,
    results,
    run_jobs,
)
from tests.cli.test_pipeline import LOCAL, needs_cdk
from typer.testing import CliRunner

from mlops_cli.__main__ import app as command
from mlops_local import accounts
from mlops_local.cloud import Cloud, up
from mlops_local.stacks import deployer
from mlops_runtime.registry.package_approval import BY_POLICY

pytestmark = needs_gitlab
REGION = "us-east-1"
ACCOUNTS = {"build": "111111111111", "staging": "222222222222", "production": "333333333333"}
TIERS = {"build": "development", "staging": "staging", "production": "production"}
ENVIRONMENTS = tuple(f"{name}={account}/{REGION}" for name, account in ACCOUNTS.items())
SUBJECT = "project_path:retail/demand:ref_type:branch:ref:main:ref_protected:true:environment_protected"
PLANS = f"{SUBJECT}:false:deployment_tier:other"
DENIED = "Not authorized to perform sts:AssumeRoleWithWebIdentity"
# commands of jobs: with AWS_ENDPOINT_URL they would assume no roles
_SERVICES = (
    *(
        "API_GATEWAY",
        "CLOUDFORMATION",
        "CLOUDWATCH",
        "CLOUDWATCH_LOGS",
        "DYNAMODB",
        "EC2",
        "ECR",
        "EVENTBRIDGE",
        "GLUE",
    ),
    *("IAM", "KMS", "LAMBDA", "PRICING", "S3", "SAGEMAKER", "SFN", "SNS", "SQS", "SSM", "STS"),
)


def deploys(environment: str) -> str:
    """Return the subject of the job that deploys an environment."""
    return f"{SUBJECT}:true:deployment_tier:{TIERS[environment]}"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return a unit's repository for three accounts, as `mlops new` writes it."""
    return rendered(tmp_path_factory.mktemp("rendered") / "project", ENVIRONMENTS)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> Path:
    """The repository in git, with one commit on its default branch."""
    return make_repository(tmp_path_factory.mktemp("repository") / "project", files)


def variables(**roles: str) -> tuple[str, ...]:
    """Return a pipeline's variables: common ones, and roles by variable name."""
    return (*LOCAL, "CDK_VALIDATION=false", "CI_PROJECT_ID=7", "CI_JOB_ID=42", *(f"{n}={v}" for n, v in roles.items()))


def listed(project: Path, **roles: str) -> dict[str, str]:
    """Return when each job of a pipeline runs."""
    done = run_jobs(project, "--list-json", variables=variables(**roles))
    rows = json.loads(done.stdout[done.stdout.index("[\n") :])
    return {row["name"]: row["when"] for row in rows if row["when"] != "never"}


def test_the_file_is_one_that_gitlab_takes(project: Path) -> None:
    """GitLab's schema, included in gitlab-ci-local, accepts it; test_pipeline.py shows that it rejects others."""
    assert "json schema validated" in run_jobs(project, "--list", variables=LOCAL).stdout


def test_each_environment_has_its_jobs_in_the_order_of_the_list(files: dict[str, bytes]) -> None:
    """Planned and tested first, after the previous environment, one at a time, with their own stack, account and roles."""
    _, jobs = declared(files)

    assert [name for name in jobs if name.startswith("deploy:")] == [f"deploy:{name}" for name in ACCOUNTS]
    before = None
    for name, account in ACCOUNTS.items():
        job = jobs[f"deploy:{name}"]
        assert (job["resource_group"], job["environment"]) == (name, {"name": name, "deployment_tier": TIERS[name]})
        assert {"package", "synth", f"plan:{name}"} | ({before} if before else set()) == set(job["needs"])
        assert {"test", "compliance", "leaks", "synth"} < {
            need if isinstance(need, str) else need["job"] for need in jobs[f"plan:{name}"]["needs"]
        }
        assert jobs[f"plan:{name}"]["environment"] == {
            "name": f"plan/{name}",
            "action": "verify",
            "deployment_tier": "other",
        }
        values = jobs[f".environment:{name}"]["variables"]
        # the first environment serves no model
        assert (f"rollback:{name}" in jobs, "MLOPS_OPERATOR_ROLE" in values) == (before is not None,) * 2
        if before:
            assert jobs[f"rollback:{name}"]["environment"] == job["environment"]
        assert (values["MLOPS_ACCOUNT"], values["MLOPS_REGION"]) == (account, REGION)
        assert values["MLOPS_STACK"] == f"DemandForecast{name.title()}"
        assert (values["MLOPS_ROLE"], jobs[f"plan:{name}"]["variables"]["MLOPS_ROLE"]) == (
            f"${name.upper()}_DEPLOY_ROLE",
            f"${name.upper()}_PLAN_ROLE",
        )
        before = f"deploy:{name}"


def test_no_role_leads_from_one_account_to_another(files: dict[str, bytes]) -> None:
    """Needs no bootstrap that trusts another account, and each profile uses the job's own role."""
    text = b"\n".join(files[name] for name in (".gitlab-ci.yml", "ci/aws.sh", "app.py")).decode()

    assert "--trust" not in text
    assert re.findall(r"role_arn = (\S+?)(?:\$aws_account|$)", text, flags=re.MULTILINE) == [
        "$MLOPS_ROLE",
        "arn:$aws_partition:iam::",
        "$MLOPS_OPERATOR_ROLE",
    ]
    assert "`cdk bootstrap`" in files["README.md"].decode()


def test_an_environment_is_there_with_its_roles_and_those_before_it(project: Path) -> None:
    """Production never precedes staging; the last environment and every rollback are manual."""
    roles = {f"{name.upper()}_DEPLOY_ROLE": f"arn:aws:iam::{account}:role/x" for name, account in ACCOUNTS.items()}
    first, ahead, all_three = (
        listed(project, **{name: roles[name] for name in roles if name[0] in initials})
        for initials in ("B", "BP", "BSP")
    )

    assert {name for name in first if "staging" in name or "production" in name} == set()
    assert first["deploy:build"] == "on_success"
    assert {name for name in ahead if "production" in name} == set()
    assert (all_three["deploy:staging"], all_three["plan:production"]) == ("on_success", "on_success")
    assert {all_three[name] for name in ("deploy:production", "rollback:staging")} == {"manual"}


def test_a_manual_environment_waits_wherever_it_stands(tmp_path: Path) -> None:
    """Its models are manual too; an automatic last environment is not."""
    options = (f"{ENVIRONMENTS[0]}/manual", f"{ENVIRONMENTS[1]}/manual", f"{ENVIRONMENTS[2]}/automatic")
    made = rendered(tmp_path / "rendered", options)
    _, jobs = declared(made)

    waits = {name: jobs[f"deploy:{name}"]["rules"][0].get("when") for name in ACCOUNTS}
    assert waits == {"build": "manual", "staging": "manual", "production": None}
    assert re.findall(r"Approval\.(\w+)\(\)", made["app.py"].decode()) == ["manual", "automatic"]
    assert [jobs[f"deploy:{name}"]["environment"]["deployment_tier"] for name in ACCOUNTS] == [
        "development",
        "production",
        "production",
    ]


def test_what_may_go_is_named_with_its_environment(project: Path, files: dict[str, bytes]) -> None:
    """An id without an environment, or with an unknown one, creates no pipeline."""
    inputs, _ = declared(files)

    for value, is_allowed in (
        ("staging:Rows build:Rows", True),
        ("", True),
        ("Rows", False),
        ("test:Rows", False),
        ("staging:$(id)", False),
    ):
        assert bool(re.fullmatch(inputs["allow"]["regex"], value)) is is_allowed, value
    done = run_jobs(project, "--list", inputs=(*INPUTS, "allow=Rows"))
    assert "`allow` input: `Rows` does not match required regex" in done.stdout


def test_a_merge_request_synthesizes_every_environment_once(project: Path) -> None:
    """No job requests a token; artifacts are kept for a week."""
    review = (*LOCAL, "CI_PIPELINE_SOURCE=merge_request_event", "STAGING_DEPLOY_ROLE=x", "PRODUCTION_DEPLOY_ROLE=x")
    done = run_jobs(project, "--list-json", "--unset-variable", "CI_COMMIT_BRANCH", variables=review)
    shown = run_jobs(project, "--preview", variables=review).stdout

    rows = json.loads(done.stdout[done.stdout.index("[\n") :])
    found = {row["name"] for row in rows if row["when"] != "never"}
    assert found == {"test", "package:review", "compliance", "leaks", "synth:review"}
    jobs = yaml.safe_load(shown[shown.index("---") :])
    assert (jobs["synth"]["artifacts"]["expire_in"], jobs["synth:review"]["artifacts"]["expire_in"]) == (
        "90 days",
        "1 week",
    )


class Pipeline:
    """Three accounts, each bootstrapped and with the roles of its own platform stack, and the pipeline's jobs."""

    def __init__(self, cloud: Cloud, project: Path, folder: Path) -> None:
        self.cloud, self.project = cloud, project
        for account in ACCOUNTS.values():
            done = subprocess.run(
                ["cdk", "bootstrap", f"aws://{account}/{REGION}", "--profile", accounts.profile(account)],
                cwd=folder,
                env={**OFFLINE, **cloud.environment(), "CI": "true"},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr[-2000:]
        app = cdk.App(outdir=str(folder / "platform"))
        for name, account in ACCOUNTS.items():
            env = cdk.Environment(account=account, region=REGION)
            Platform(app, f"Platform{name.title()}", project="retail/demand", tier=TIERS[name], env=env)  # type: ignore[arg-type] # of the four
        app.synth()
        outputs = deployer.deploy(cloud, folder / "platform")
        self.roles = {
            f"{name.upper()}_{access.upper()}_ROLE": outputs[f"Platform{name.title()}"][f"{access}Role"]
            for name in ACCOUNTS
            for access in ("Plan", "Deploy")
        }
        done = self.run("synth")
        assert results(done.stdout) == {"synth": "PASS"}, done.stdout[-3000:]

    def run(self, job: str, subject: str = "", **changes: str) -> subprocess.CompletedProcess[str]:
        """Run a job with the token that GitLab would issue; it finds each service, but no embedded cloud."""
        given = variables(**(self.roles | {"AWS_ID_TOKEN": id_token(subject)} | changes))
        urls = {f"AWS_ENDPOINT_URL_{service}": self.cloud.endpoint_url for service in _SERVICES}
        return run_jobs(self.project, job, variables=given, **urls)

    def command(self, *arguments: str, environment: str, codes: tuple[int, ...] = (0,)) -> Any:
        """Run a verb as a user of an environment's account, and return its JSON."""
        who = ("--profile", accounts.profile(ACCOUNTS[environment]), "--home", str(self.cloud.home))
        with chdir(self.project):
            result = CliRunner().invoke(command, [*arguments, *who, "--json"])
        assert result.exit_code in codes, (arguments, result.output, result.exception)
        return json.loads(result.stdout)


@pytest.fixture(scope="module")
def pipeline(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """The accounts in their own cloud, whose clock the test moves."""
    folder = tmp_path_factory.mktemp("accounts")
    cloud = up(folder / "cloud", clock_scale=60.0, account_count=4)
    try:
        yield Pipeline(cloud, project, folder)
    finally:
        cloud.down(forget=True)


@needs_cdk
@pytest.mark.parametrize(
    ("job", "subject", "changes", "problem"),
    [
        # a variable of another account
        (
            "deploy:staging",
            "staging",
            {"STAGING_DEPLOY_ROLE": "PRODUCTION_DEPLOY_ROLE"},
            "the variable STAGING_DEPLOY_ROLE is a role of account 333333333333, but the environment 'staging' is account "
            "222222222222; a job can only deploy to its own account",
        ),
        # and a file that claims the opposite: the plan finds the stack elsewhere
        (
            "deploy:staging",
            "production",
            {"STAGING_DEPLOY_ROLE": "PRODUCTION_DEPLOY_ROLE", "MLOPS_ACCOUNT": ACCOUNTS["production"]},
            "these credentials are for 333333333333 us-east-1, but DemandForecastStaging belongs to 222222222222 us-east-1",
        ),
        # a staging job that uses production's role and stack
        (
            "deploy:staging",
            "staging",
            {
                "STAGING_DEPLOY_ROLE": "PRODUCTION_DEPLOY_ROLE",
                "MLOPS_ACCOUNT": ACCOUNTS["production"],
                "MLOPS_STACK": "DemandForecastProduction",
            },
            DENIED,
        ),
        # a job without approval
        ("deploy:production", "", {}, DENIED),
        # and a planning job with the deploying role
        ("plan:production", "", {"PRODUCTION_PLAN_ROLE": "PRODUCTION_DEPLOY_ROLE"}, DENIED),
    ],
)
def test_a_job_deploys_no_stack_of_another_account(
    pipeline: Pipeline, job: str, subject: str, changes: dict[str, str], problem: str
) -> None:
    """Doctor, the plan or the account rejects it, even with false variables; none of it is created."""
    given = {name: pipeline.roles.get(value, value) for name, value in changes.items()}

    done = pipeline.run(job, deploys(subject) if subject else PLANS, **given)

    assert results(done.stdout) == {job: "FAIL"}
    assert problem in printed(done.stdout)
    for account in (ACCOUNTS["staging"], ACCOUNTS["production"]):
        found = pipeline.cloud.at(account, REGION).client("cloudformation").describe_stacks()["Stacks"]
        assert "DemandForecast" not in json.dumps([row["StackName"] for row in found])


@pytest.mark.cloud
@needs_cdk
def test_three_accounts_are_deployed_and_a_model_arrives_by_two_approvals(
    pipeline: Pipeline, wait_for: Callable[..., Any]
) -> None:
    """Each job uses its account's roles; a person approves in build, a policy in staging, a second person in production.

    Build has no endpoint: its champion is production's model, with which the next candidate is compared.
    """
    for name, account in ACCOUNTS.items():
        for job, subject in ((f"plan:{name}", PLANS), (f"deploy:{name}", deploys(name))):
            done = pipeline.run(job, subject)
            assert results(done.stdout) == {job: "PASS"}, printed(done.stdout)[-3000:]
        stacks = pipeline.cloud.at(account, REGION).client("cloudformation").describe_stacks()["Stacks"]
        assert {row["StackName"]: row["StackStatus"] for row in stacks} == {
            "CDKToolkit": "CREATE_COMPLETE",
            f"Platform{name.title()}": "CREATE_COMPLETE",
            f"DemandForecast{name.title()}": "CREATE_COMPLETE",
        }
    # drift of a serving model requests a retraining in the training account
    assert [name for name in ACCOUNTS if _asks_for_retraining(pipeline, name)] == ["staging", "production"]
    # locally the same job uses the account's profile of the embedded cloud, finds deployed stacks, and may do what is
    # allowed in its own environment
    again = run_jobs(
        pipeline.project,
        "plan:staging",
        variables=variables(**pipeline.roles),
        inputs=(*INPUTS, "allow=build:Costs staging:Rows"),
        **pipeline.cloud.environment(),
    )
    assert results(again.stdout) == {"plan:staging": "FAIL"}
    assert "no changes" in printed(again.stdout)
    assert "--allow Rows has no effect in this plan" in printed(again.stdout)
    assert "Costs" not in printed(again.stdout)

    rows = pipeline.project.parent / "rows.parquet"
    schema = pipeline.project / "demand_forecast/schema.json"
    subprocess.run([sys.executable, "-m", "mlops_runtime.training_data.sample_rows", schema, rows], check=True)
    trained = pipeline.command("train", "--data", str(rows), "--reason", "the first model", environment="build")
    assert trained["outcome"] == "REGISTERED", trained
    pipeline.command("models", "approve", "latest", "--reason", "beats the guesses", environment="build")
    staged = wait_for(lambda: _offer(pipeline, "staging", "APPROVED"), seconds=240.0)
    waiting = wait_for(lambda: _offer(pipeline, "production", "WAITING"), seconds=240.0)
    assert waiting["source_version"] == staged["version"]
    pipeline.command("models", "approve", "latest", "--wait", "--reason", "it served staging", environment="production")

    arrived = _offer(pipeline, "production", "APPROVED")
    (built,) = pipeline.command("promotions", environment="build")["releases"]
    assert staged["source_version"] == built["version"]
    assert arrived["model_sha256"] == staged["model_sha256"] == built["model_sha256"]
    assert [_approved_by(pipeline, name) for name in ACCOUNTS] == [
        ("111111111111", "a person"),
        ("222222222222", "the policy"),
        ("333333333333", "a person"),
    ]
    request = str(pipeline.project / "demand_forecast/request.json")
    predictions = [
        pipeline.command("invoke", "demand-forecast", request, environment=name)["answer"]["predictions"]
        for name in ("staging", "production")
    ]
    assert len(predictions[0]) == 2
    assert predictions[0] == predictions[1]

    assert pipeline.cloud.at(ACCOUNTS["build"], REGION).client("sagemaker").list_endpoints()["Endpoints"] == []
    wait_for(lambda: _served_in_production(pipeline) == built["version"], seconds=240.0)
    known = pd.read_parquet(rows)
    year = known[known["week"] > known["week"].max() - pd.Timedelta(weeks=52)]
    pd.concat([known, year.assign(week=year["week"] + pd.Timedelta(weeks=52))]).to_parquet(rows)
    # registered or rejected by its metrics, compared with the champion's
    again = pipeline.command(
        "train", "--data", str(rows), "--reason", "a year later", environment="build", codes=(0, 3)
    )
    first, second = (
        pipeline.command("runs", "show", each["execution"].rpartition(":")[2], environment="build")
        for each in (trained, again)
    )
    assert "champion" not in first["evaluation"]["metrics"]
    assert {"candidate", "champion"} < set(second["evaluation"]["metrics"]), second


def _offer(pipeline: Pipeline, environment: str, state: str) -> Any:
    """Return the newest offer of an environment if it has a state."""
    offers = pipeline.command("promotions", environment=environment)["offers"]
    return offers[0] if offers and offers[0]["state"] == state else None


def _asks_for_retraining(pipeline: Pipeline, environment: str) -> bool:
    """Return whether alarms of an environment's monitor request retrainings from its source."""
    events = pipeline.cloud.at(ACCOUNTS[environment], REGION).client("events")
    return "Alarms that request retrainings of demand-forecast" in [
        rule.get("Description") for page in events.get_paginator("list_rules").paginate() for rule in page["Rules"]
    ]


def _served_in_production(pipeline: Pipeline) -> str | None:
    """Return the version of build's registry that production serves, as reported to build."""
    targets = pipeline.command("promotions", environment="build").get("targets", ())
    served = (each.get("serves") for each in targets if each["name"] == "production")
    return next((each["released_as"] for each in served if each), None)


def _approved_by(pipeline: Pipeline, environment: str) -> tuple[str, str]:
    """Return the account and the role session that approved an environment's first model."""
    shown = pipeline.command("models", "show", "demand-forecast/1", environment=environment)
    is_policy = shown["description"].startswith(BY_POLICY)
    return shown["changed_by"].split(":")[4], "the policy" if is_policy else "a person"
