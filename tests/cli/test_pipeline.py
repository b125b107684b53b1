"""The pipeline of a generated repository, run job by job with gitlab-ci-local: it passes, and fails for the right reasons."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import boto3
import pytest
import yaml
from botocore.exceptions import ClientError
from examples.gitlab_platform import Platform
from tests.cli.pipeline_run import (
    INPUTS,
    OFFLINE,
    commit,
    declared,
    edit,
    id_token,
    make_repository,
    needs_gitlab,
    printed,
    rendered,
    results,
    run_jobs,
)

from mlops_local.cloud import Cloud, up
from mlops_local.stacks import deployer
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.inference_api.request_promise import request_schema

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "000000000000"
# uv's local cache, for packages from an index; without a network there is no other source
_CACHE = subprocess.run(["uv", "cache", "dir"], env=OFFLINE, capture_output=True, text=True, check=False).stdout.strip()
# not needed on an embedded cloud, or unavailable without a network
LOCAL = (
    "RUN=env",
    "DEPENDENCY_AUDIT=off",
    "CI_COMMIT_REF_PROTECTED=true",
    "GITLAB_USER_LOGIN=ann",
    f"UV_CACHE_DIR={_CACHE}",
)
# test_new.py runs the stack's own tests
WITHOUT_STACK = (*LOCAL, "PYTEST_ADDOPTS=--ignore=tests/test_stack.py")
Ci = Callable[..., subprocess.CompletedProcess[str]]


def _has_scanner() -> bool:
    command = ["uvx", "--from", "detect-secrets@1.5.0", "detect-secrets", "--version"]
    return (
        shutil.which("uvx") is not None
        and subprocess.run(command, env=OFFLINE, capture_output=True, check=False).returncode == 0
    )


pytestmark = needs_gitlab
needs_scanner = pytest.mark.skipif(
    not _has_scanner(), reason="no detect-secrets in uv's cache: uvx detect-secrets@1.5.0"
)

needs_cdk = pytest.mark.skipif(shutil.which("cdk", path=OFFLINE["PATH"]) is None, reason="no cdk: npm install aws-cdk")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return a unit's repository as `mlops new` writes it."""
    return rendered(tmp_path_factory.mktemp("rendered") / "project")


@pytest.fixture
def project(tmp_path: Path, files: dict[str, bytes]) -> Path:
    """The repository in git, with one commit on its default branch."""
    return make_repository(tmp_path / "project", files)


@pytest.fixture
def ci(project: Path) -> Ci:
    """Run the named jobs, or all: ``ci("test", variables=["NAME=value"], AWS_ENDPOINT_URL=...)``."""

    def run(*jobs: str, variables: tuple[str, ...] = LOCAL, **more: Any) -> subprocess.CompletedProcess[str]:
        return run_jobs(project, *jobs, variables=variables, **more)

    return run


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A bootstrapped account in which the unit has the names of its README."""
    running = up(tmp_path_factory.mktemp("account"))
    try:
        deployer.bootstrap(running)
        yield running
    finally:
        running.down(forget=True)


@needs_scanner
@needs_cdk
def test_what_a_merge_request_makes_is_green(ci: Ci, project: Path) -> None:
    """Needs no account; test_new.py covers its tests, a test below the failing scan, a campaign all jobs together."""
    jobs = ("package", "leaks", "synth:development")
    done = ci(*jobs)

    assert done.returncode == 0, done.stdout[-6000:]
    assert results(done.stdout) == dict.fromkeys(jobs, "PASS")
    artifacts = project / ".gitlab-ci-local/artifacts"
    assert [wheel.name for wheel in (artifacts / "package/dist").glob("*.whl")] == [
        "demand_forecast-0.1.0-py3-none-any.whl"
    ]
    assert list(artifacts.glob("*/cdk.out/development/DemandForecast.template.json")) != []


@pytest.mark.campaign
@needs_scanner
@needs_cdk
def test_the_pipeline_is_green_from_the_commit_to_the_account(ci: Ci, account: Cloud, project: Path) -> None:
    """Each job works, and the stock CLI deploys what was planned; manual jobs do not run."""
    done = ci(variables=WITHOUT_STACK, **account.environment())

    assert done.returncode == 0, done.stdout[-6000:]
    jobs = ["test", "package", "compliance", "leaks", "synth:development", "plan:development", "deploy:development"]
    assert results(done.stdout) == dict.fromkeys(jobs, "PASS")
    assert "retail/demand may deploy from main" in done.stdout
    assert "DemandForecast (new): " in done.stdout
    (stack,) = account.client("cloudformation").describe_stacks(StackName="DemandForecast")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert account.client("ssm").get_parameter(Name="/mlops/demand/endpoint/demand-forecast")
    evidence = json.loads((project / ".gitlab-ci-local/artifacts/compliance/compliance.json").read_text())
    assert evidence["stacks"][0]["findings"] == []


def test_a_model_that_fails_its_gate_is_red(ci: Ci, project: Path) -> None:
    """Shows the gate's reasons: it learned nothing, does not beat the store's mean, and rejects requests that an API allows."""
    edit(project / "demand_forecast/training/train.py", "rows[LABEL])", "rows[LABEL].to_numpy()[::-1])")
    weather = SignatureColumn(name="weather", type="category")
    promise = json.dumps(request_schema(ModelSignature(inputs=(weather,), output="demand")))
    (project / "demand_forecast/request.schema.json").write_text(promise)
    commit(project)

    done = ci("test", variables=WITHOUT_STACK)

    assert done.returncode != 0
    assert results(done.stdout) == {"test": "FAIL"}
    assert "loss against naive_median_by_store +" in done.stdout
    assert "must be below +0.0%" in done.stdout
    assert "request.schema.json allows column 'weather', which the model does not have" in printed(done.stdout)


OPEN_TOPIC = '''"""A stack with a finding."""

import aws_cdk as cdk
from aws_cdk import aws_sns as sns


def build(app: cdk.App) -> cdk.Stack:
    """Define a topic that takes messages over plain HTTP."""
    stack = cdk.Stack(app, "DemandForecast")
    sns.Topic(stack, "Open")
    return stack
'''


def test_a_finding_is_red(ci: Ci, project: Path) -> None:
    """Prints rule, construct and fix, before anything is synthesized for an account."""
    (project / "app.py").write_text(OPEN_TOPIC)
    commit(project)

    done = ci("compliance", variables=(*LOCAL, "CDK_VALIDATION=false"))  # only cdk-nag finds it

    assert done.returncode != 0
    assert results(done.stdout) == {"compliance": "FAIL"}
    assert "error AwsSolutions-SNS3 at DemandForecast/Open/Resource; fix it" in done.stdout


@needs_scanner
def test_a_secret_in_a_file_is_red(ci: Ci, project: Path) -> None:
    """Prints file and line."""
    key = "AKIA" + "IOSFODNN7EXAMPL3"
    (project / "settings.py").write_text(f'KEY = "{key}"\n')
    commit(project)

    done = ci("leaks")

    assert done.returncode != 0
    assert "Secret Type: AWS Access Key" in done.stdout
    assert "settings.py:1" in done.stdout


def test_a_job_without_its_variables_says_all_that_is_missing(ci: Ci) -> None:
    """Lists variables, token and protection of the ref in one message, each with its setting."""
    done = ci("plan:development", variables=("RUN=env", "CI_COMMIT_REF_PROTECTED=false"))

    assert done.returncode != 0
    for problem in (
        "mlops: this job cannot deploy: the ref 'main' of retail/demand is not protected",
        "the variable DEVELOPMENT_PLAN_ROLE must be the ARN of the GitLabDeployRole, got ''",
        "the variable AWS_REGION must be the Region to deploy to",
        "AWS_ID_TOKEN is not set",
    ):
        assert problem in printed(done.stdout)


KEPT = '''"""A stack with data."""

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb

app = cdk.App()
stack = cdk.Stack(app, "KeptPrices")
for name in ("Prices", "Costs"):
    key = dynamodb.Attribute(name="store", type=dynamodb.AttributeType.STRING)
    dynamodb.Table(stack, name, partition_key=key, billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST)
app.synth()
'''


@needs_cdk
def test_the_input_alone_lets_data_go(ci: Ci, account: Cloud, project: Path) -> None:
    """Each table must be named; a pipeline without the input fails, as does one with an older template's variable."""
    (project / "app.py").write_text(KEPT)
    commit(project)
    # other tests cover its findings
    assert ci("synth:development", variables=(*LOCAL, "CDK_VALIDATION=false")).returncode == 0
    before = project.parent / "before"
    shutil.copytree(project / "cdk.out/development", before)
    template = before / "KeptPrices.template.json"
    template.write_text(template.read_text().replace('"store"', '"shop"'))
    deployer.deploy(account, before)
    names = [
        row["LogicalResourceId"]
        for row in account.client("cloudformation").describe_stack_resources(StackName="KeptPrices")["StackResources"]
    ]

    plain = ci("plan:development", **account.environment())
    one, both = (
        ci("plan:development", inputs=(*INPUTS, f"allow={' '.join(allowed)}"), **account.environment())
        for allowed in (names[:1], names)
    )
    by_variable = ci("plan:development", variables=(*LOCAL, "MLOPS_ALLOW=--allow X"), **account.environment())

    assert len(names) == 2
    assert [results(done.stdout)["plan:development"] for done in (plain, one, both)] == ["FAIL", "FAIL", "PASS"], (
        both.stdout
    )
    assert names[1] in printed(one.stdout)
    assert results(by_variable.stdout) == {"plan:development": "FAIL"}
    assert "the variable MLOPS_ALLOW has no effect" in printed(by_variable.stdout)


@pytest.mark.parametrize(
    ("value", "name"),
    [("allow=Prices; id", "allow"), ("allow=$(id)", "allow"), ("image_prefix=registry.example.com", "image_prefix")],
)
def test_an_input_out_of_form_makes_no_pipeline(ci: Ci, value: str, name: str) -> None:
    """Fails before a job runs: the value would be part of a script or an image name."""
    done = ci("--list", inputs=(*INPUTS, value))

    assert done.returncode != 0
    assert re.search(rf"`{name}` input: `.*` does not match required regex", done.stdout)


def test_images_come_through_a_proxy_where_one_is_named(ci: Ci) -> None:
    """Without a proxy they come from Docker Hub."""
    proxy = "$CI_DEPENDENCY_PROXY_GROUP_IMAGE_PREFIX/"
    for inputs, prefix in ((INPUTS, ""), ((*INPUTS, f"image_prefix={proxy}"), proxy)):
        shown = ci("--preview", inputs=inputs).stdout
        assert set(re.findall(r"name: (\S*python:3.13)@sha256", shown)) == {f"{prefix}python:3.13"}


def test_a_merge_request_keeps_its_files_for_a_week(ci: Ci) -> None:
    """Uses separate jobs, as GitLab accepts no variable for expiry; files of the branch stay deployable."""
    review = ("CI_PIPELINE_SOURCE=merge_request_event", "PRODUCTION_DEPLOY_ROLE=arn:aws:iam::1:role/x")
    listed = ci("--list-json", "--unset-variable", "CI_COMMIT_BRANCH", variables=(*LOCAL, *review))
    shown = ci("--preview", variables=(*LOCAL, *review)).stdout
    jobs = yaml.safe_load(shown[shown.index("---") :])

    rows = json.loads(listed.stdout[listed.stdout.index("[\n") :])
    found = {row["name"] for row in rows if row["when"] != "never"}
    assert found == {
        *("test", "package:review", "compliance", "leaks"),
        *("synth:development:review", "synth:production:review"),
    }
    for name in ("package", "synth:development", "synth:production"):
        kept, reviewed = jobs[name]["artifacts"], jobs[f"{name}:review"]["artifacts"]
        assert (kept.pop("expire_in"), reviewed.pop("expire_in")) == ("90 days", "1 week")
        assert (kept, jobs[name]["script"]) == (reviewed, jobs[f"{name}:review"]["script"])


def test_gitlabs_own_scans_are_included_and_get_nothing_of_our_jobs(ci: Ci, files: dict[str, bytes]) -> None:
    """The templates are GitLab's own; without a network the pipeline stops at the first, by name."""
    inputs, jobs = declared(files)

    assert inputs["gitlab_scans"]["default"] is True
    assert [entry["template"] for entry in jobs["include"]] == [
        "Jobs/SAST.gitlab-ci.yml",
        "Jobs/Secret-Detection.gitlab-ci.yml",
    ]
    assert "default" not in jobs  # a `before_script` would run in their images, which have no pip
    assert jobs["variables"]["AST_ENABLE_MR_PIPELINES"] == "true"
    done = ci("--list", inputs=(), http_proxy="http://127.0.0.1:9", https_proxy="http://127.0.0.1:9")
    assert done.returncode != 0
    assert "lib/gitlab/ci/templates/Jobs/S" in done.stdout


def test_production_waits_for_a_person_and_is_there_with_its_role_only(ci: Ci) -> None:
    """Every rollback is manual too."""
    role = f"PRODUCTION_DEPLOY_ROLE=arn:aws:iam::{ACCOUNT}:role/deploy"
    rows = [
        {
            row["name"]: row["when"]
            for row in json.loads(done.stdout[done.stdout.index("[\n") :])
            if row["when"] != "never"
        }
        for done in (ci("--list-json"), ci("--list-json", variables=(*LOCAL, role)))
    ]

    assert [name for name in rows[0] if "production" in name] == []
    assert rows[0]["deploy:development"] == "on_success"
    assert rows[0]["rollback:development"] == "manual"
    assert rows[1]["plan:production"] == "on_success"
    assert {rows[1]["deploy:production"], rows[1]["rollback:production"]} == {"manual"}


def test_the_file_is_one_that_gitlab_takes(ci: Ci, project: Path) -> None:
    """GitLab's schema, included in gitlab-ci-local, accepts the file, and would reject an unknown keyword."""
    assert "json schema validated" in ci("--list").stdout
    edit(project / ".gitlab-ci.yml", "  stage: package\n  script:", "  stage: package\n  scripts:")
    broken = ci("--list")

    assert broken.returncode != 0
    assert "json schema validated" not in broken.stdout


def test_jobs_that_change_an_account_are_one_at_a_time_and_in_an_environment(files: dict[str, bytes]) -> None:
    """GitLab's protection of production depends on these keywords."""
    _, jobs = declared(files)

    for profile in ("development", "production"):
        job = jobs[f"deploy:{profile}"]
        assert (job["resource_group"], job["environment"]["name"]) == (profile, profile)
        assert ".account" in jobs[job["extends"][0]]["extends"]
        behind = _behind(jobs, f"deploy:{profile}")
        assert {
            "test",
            "package",
            "compliance",
            "leaks",
            "dependencies",
            f"synth:{profile}",
            f"plan:{profile}",
        } <= behind
    assert jobs[".account"]["id_tokens"]["AWS_ID_TOKEN"]["aud"] == "sts.amazonaws.com"
    assert jobs[".account"]["interruptible"] is False


def test_a_rollback_is_a_deployment_of_its_pipeline_and_waits_for_none(files: dict[str, bytes]) -> None:
    """GitLab treats older pending deployments as outdated after it; no action bypasses the environment's protection."""
    _, jobs = declared(files)

    for profile in ("development", "production"):
        job = jobs[f"rollback:{profile}"]
        assert job["environment"] == {"name": profile}
        assert "resource_group" not in job
        assert jobs[".rollback"]["needs"] == []


def _behind(jobs: dict[str, Any], name: str) -> set[str]:
    """Return the jobs that a job depends on: with `needs`, stages have no effect."""
    needs = {need if isinstance(need, str) else need["job"] for need in jobs[name].get("needs", [])}
    return needs.union(*(_behind(jobs, need) for need in needs))


BOOTSTRAP = "arn:aws:iam::{account}:role/cdk-hnb659fds-{name}-{account}-us-east-1"


@pytest.fixture(scope="module")
def roles(account: Cloud, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Create the two roles of retail/demand's main, and two of CDK's: one may deploy, one only read."""
    app = cdk.App(outdir=str(tmp_path_factory.mktemp("platform")))
    Platform(app, "Platform", project="retail/demand")
    app.synth()
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
    for name in ("deploy-role", "lookup-role"):
        account.client("iam").create_role(
            RoleName=BOOTSTRAP.format(account=ACCOUNT, name=name).rpartition("/")[2],
            AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
        )
    outputs = deployer.deploy(account, Path(app.outdir))["Platform"]
    return {"deploy": outputs["DeployRole"], "plan": outputs["PlanRole"]}


@pytest.fixture
def profiles(
    account: Cloud, roles: dict[str, str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], Callable[[str], boto3.Session]]:
    """Source `ci/aws.sh` as a job does; return a profile's session: ``profiles("plan", subject)("lookup")``."""

    def source(role: str, subject: str) -> Callable[[str], boto3.Session]:
        variables = {
            "AWS_REGION": "us-east-1",
            "MLOPS_ROLE": roles[role],
            "MLOPS_OPERATOR_ROLE": "",
            "AWS_ID_TOKEN": id_token(subject),
            "CI_PROJECT_ID": "7",
            "CI_JOB_ID": "42",
        }
        for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        made = subprocess.run(
            ["sh", "-ec", '. ci/aws.sh; echo "$AWS_CONFIG_FILE"; echo "$AWS_PROFILE $MLOPS_PLAN_PROFILE"'],
            cwd=project,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=True,
        )
        path, chosen = made.stdout.splitlines()
        assert chosen == "gitlab --profile lookup"
        monkeypatch.setenv("AWS_CONFIG_FILE", path)
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", account.endpoint_url)
        return lambda profile: boto3.Session(profile_name=profile)

    return source


Profiles = Callable[[str, str], Callable[[str], boto3.Session]]
APPROVED = "project_path:retail/demand:ref_type:branch:ref:main:ref_protected:true:environment_protected:true"
UNAPPROVED = APPROVED.replace("environment_protected:true", "environment_protected:false")
DENIED = "Not authorized to perform sts:AssumeRoleWithWebIdentity"


def _who(session: boto3.Session) -> str:
    return str(session.client("sts").get_caller_identity()["Arn"])


@pytest.mark.parametrize(("role", "subject"), [("plan", UNAPPROVED), ("deploy", APPROVED)])
def test_a_job_becomes_its_role_by_its_own_token(
    profiles: Profiles, roles: dict[str, str], role: str, subject: str
) -> None:
    """Without a stored key: its token gives a role, and that role CDK's read-only one."""
    session = profiles(role, subject)

    assert (
        _who(session("gitlab")) == f"arn:aws:sts::{ACCOUNT}:assumed-role/{roles[role].rpartition('/')[2]}/gitlab-7-42"
    )
    assert f"assumed-role/cdk-hnb659fds-lookup-role-{ACCOUNT}-us-east-1/" in _who(session("lookup"))


def test_the_lookup_role_is_in_the_partition_of_the_account(project: Path) -> None:
    """The partitions of China and GovCloud are not `aws`."""
    role = "arn:aws-us-gov:iam::111122223333:role/plan"
    made = subprocess.run(
        ["sh", "-ec", '. ci/aws.sh; cat "$AWS_CONFIG_FILE"'],
        cwd=project,
        env={"PATH": os.environ["PATH"], "AWS_REGION": "us-gov-west-1", "MLOPS_ROLE": role},
        capture_output=True,
        text=True,
        check=True,
    )

    lookup = "role_arn = arn:aws-us-gov:iam::111122223333:role/cdk-hnb659fds-lookup-role-111122223333-us-gov-west-1"
    assert lookup in made.stdout.splitlines()


def test_a_job_that_plans_gets_nothing_that_deploys(profiles: Profiles) -> None:
    """Whatever its script: neither the deploying role, nor CDK's deploying one by way of its own."""
    with pytest.raises(ClientError, match=DENIED):
        _who(profiles("deploy", UNAPPROVED)("gitlab"))

    deploying = {"RoleArn": BOOTSTRAP.format(account=ACCOUNT, name="deploy-role"), "RoleSessionName": "edited"}
    with pytest.raises(ClientError, match="AccessDenied"):
        profiles("plan", UNAPPROVED)("gitlab").client("sts").assume_role(**deploying)
    assert profiles("deploy", APPROVED)("gitlab").client("sts").assume_role(**deploying)["Credentials"]


@pytest.mark.parametrize("role", ["plan", "deploy"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ref_protected:true", "ref_protected:false"),
        ("ref:main", "ref:feature"),
        ("demand", "other"),
        (":environment_protected:true", ":environment_protected:"),  # a job without an environment
        (":environment_protected:true", ""),
    ],
)
def test_fails_for_any_other_ref(profiles: Profiles, role: str, old: str, new: str) -> None:
    """The account denies it, whatever the pipeline contains."""
    with pytest.raises(ClientError, match=DENIED):
        _who(profiles(role, APPROVED.replace(old, new))("gitlab"))


def test_jobs_that_plan_name_no_environment_that_is_protected(files: dict[str, bytes]) -> None:
    """Nor one that GitLab's tier detection takes for production; it is no deployment."""
    _, jobs = declared(files)

    for profile in ("development", "production"):
        job = jobs[f"plan:{profile}"]
        assert job["environment"] == {"name": f"plan/{profile}", "action": "verify", "deployment_tier": "other"}
        assert job["variables"]["MLOPS_ROLE"] == f"${profile.upper()}_PLAN_ROLE"
        assert jobs[f".{profile}"]["variables"]["MLOPS_ROLE"] == f"${profile.upper()}_DEPLOY_ROLE"


def test_what_a_pipeline_installs_is_named_exactly(files: dict[str, bytes]) -> None:
    """Images by digest, uv by hash, tools by version; jobs with credentials install nothing."""
    _, jobs = declared(files)
    text = files[".gitlab-ci.yml"].decode()

    assert re.fullmatch(r"\$\[\[ inputs\.image_prefix \]\]python:3\.13@sha256:[0-9a-f]{64}", jobs[".project"]["image"])
    assert re.findall(r"aws-cdk@\S+", text) == re.findall(r"aws-cdk@\d+\.\d+\.\d+", text) != []
    assert [
        tool for tool in re.findall(r"uvx (?:--from )?(\S+)", text) if not re.search(r"(@|==)\d+\.\d+\.\d+$", tool)
    ] == []
    locked = files["ci/uv.txt"].decode().splitlines()
    assert re.fullmatch(r"uv==\d+\.\d+\.\d+ \\", locked[1])
    assert len([line for line in locked if "--hash=sha256:" in line]) == len(locked) - 2
    installing = {
        name
        for name, job in jobs.items()
        if isinstance(job, dict) and "install" in str(job.get("script", "")) + str(job.get("before_script", ""))
    }
    assert installing == {".project", ".package"}  # `.project` installs only uv, by hash
    assert "package" in jobs["deploy:production"]["needs"]


def test_our_own_pipeline_is_one_that_gitlab_takes(tmp_path: Path) -> None:
    """Runs jobs that need no account."""
    done = subprocess.run(
        [
            "gitlab-ci-local",
            "--list",
            "--home",
            tmp_path,
            "--state-dir",
            os.path.relpath(tmp_path, ROOT),
        ],
        cwd=ROOT,
        env=OFFLINE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    assert "json schema validated" in done.stdout
    jobs = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())
    assert jobs["test"]["script"] == ["bash .ci/run"]
    assert jobs["release"]["release"]["tag_name"] == "$CI_COMMIT_TAG"
    assert jobs["release"]["rules"][0] in jobs["workflow"]["rules"]
