"""``mlops unit create``: add the stack of a new team's unit to the platform team's repository."""

import keyword
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from mlops_cli.answers import AsJson, answer
from mlops_cli.aws_account import UserError
from mlops_cli.project import write_all

app = typer.Typer(help="Manage the units of a platform.", no_args_is_help=True)

_FOLDER = "units"
_NAME = r"[a-z][a-z0-9-]{0,18}[a-z0-9]"
_NAME_ALLOWED = "2 to 20 lower-case letters, digits or hyphens, starting with a letter"
_TAG = r"[\w .:/=+@-]{1,256}"
_TAG_KEY = r"[\w .:/=+@-]{1,128}"
_ACCOUNT = r"[0-9]{12}"
_REGION = r"[a-z]{2}(-[a-z]+)+-[0-9]"
# accepted by GitLabSubject
_PROJECT = r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)+"

_APP = '''"""Every unit of the platform, one module each in `units/`; `cdk.json` runs it."""

import importlib
import pkgutil
import sys

import aws_cdk as cdk
import units
from mlops_constructs import ValidationError


def build(app: cdk.App) -> None:
    """Define the stack of each unit, in the order of their names."""
    for name in sorted(module.name for module in pkgutil.iter_modules(units.__path__)):
        importlib.import_module(f"units.{name}").define(app)


if __name__ == "__main__":
    main = cdk.App()
    try:
        build(main)
    except ValidationError as error:  # one line, without a stack trace
        sys.exit(str(error))
    main.synth()
'''
_CDK = """{
  "app": "python app.py",
  "output": "cdk.out",
  "context": {
    "@aws-cdk/core:validateAgainstDefaultRules": true,
    "@aws-cdk/aws-s3:serverAccessLogsUseBucketPolicy": true,
    "@aws-cdk/aws-s3:publicAccessBlockedByDefault": true,
    "@aws-cdk/aws-iam:minimizePolicies": true
  }
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUnit:
    """Properties of a new team's unit. ``defaults`` is ``module:NAME`` of the platform's ``PlatformDefaults``."""

    name: str
    owner: str
    cost_center: str
    account: str
    region: str
    defaults: str
    project: str | None
    profile: str
    tags: Mapping[str, str]

    def problems(self) -> list[str]:
        """Return all problems that constructs, AWS or Python would report later."""
        tagged = {"--owner": self.owner, "--cost-center": self.cost_center}
        tagged |= {f"--unit-tag {key}": value for key, value in self.tags.items()}
        problems = [] if re.fullmatch(_NAME, self.name) else [f"NAME must be {_NAME_ALLOWED}, got {self.name!r}"]
        problems += [
            f"{name} must be 1 to 256 letters, digits, spaces or .:/=+@-_, got {value!r}"
            for name, value in tagged.items()
            if not re.fullmatch(_TAG, value)
        ]
        problems += [
            f"--unit-tag must have a key of 1 to 128 letters, digits, spaces or .:/=+@-_, got {key!r}"
            for key in self.tags
            if not re.fullmatch(_TAG_KEY, key)
        ]
        if not re.fullmatch(_ACCOUNT, self.account):
            problems.append(f"account of --place must be 12 digits, got {self.account!r}")
        if not re.fullmatch(_REGION, self.region):
            problems.append(f"Region of --place must be a Region such as 'eu-west-1', got {self.region!r}")
        if self.project is not None and not re.fullmatch(_PROJECT, self.project):
            problems.append(f"--project must be a path such as 'retail/demand', got {self.project!r}")
        module, _, constant = self.defaults.partition(":")
        if not all(_is_name(part) for part in (*module.split("."), constant)):
            problems.append(f"--defaults must be module:NAME of the platform's PlatformDefaults, got {self.defaults!r}")
        taken = self.module in sys.stdlib_module_names or keyword.iskeyword(self.module)
        if re.fullmatch(_NAME, self.name) and taken:
            problems.append(f"NAME must not be a Python keyword or standard module, got {self.name!r}; choose another")
        problems += [
            f"--unit-tag must not name {key!r}, which is reserved for the unit; give --owner or --cost-center"
            for key in self.tags
            if key.startswith("mlops:")
        ]
        return problems

    @property
    def module(self) -> str:
        """Name of the module."""
        return self.name.replace("-", "_")

    @property
    def stack(self) -> str:
        """Name of the stack."""
        return "".join(part.capitalize() for part in self.name.split("-")) + "Unit"

    def imported(self) -> str:
        """Return the statement with which the team's own stacks import the unit."""
        given = (
            f'name="{self.name}", profile=Profile.{self.profile.upper()}, defaults={self.defaults.partition(":")[2]}'
        )
        return f'BusinessUnit.from_name(self, "Unit", {given})'

    def render(self) -> str:
        """Return the module that defines the stack."""
        module, _, constant = self.defaults.partition(":")
        names = ["BusinessUnit", *(("GitLabDeployRole", "GitLabSubject") if self.project else ()), "Profile"]
        tags = f"            tags={_mapping(self.tags)},\n" if self.tags else ""
        return (
            f'"""The unit {self.name!r}, which the platform provides. The team\'s own stacks import it by name."""\n\n'
            "import aws_cdk as cdk\n"
            f"from mlops_constructs import {', '.join(names)}\n"
            f"from {module} import {constant}\n\n"
            f"ENV = cdk.Environment(account={_text(self.account)}, region={_text(self.region)})\n\n\n"
            f"class {self.stack}(cdk.Stack):\n"
            f'    """Network, keys, buckets and records of the unit{_ROLES if self.project else ""}."""\n\n'
            "    def __init__(self, scope: cdk.App, id: str) -> None:\n"
            "        super().__init__(scope, id, env=ENV)\n"
            "        self.unit = BusinessUnit(\n"
            "            self,\n"
            '            "Unit",\n'
            f"            name={_text(self.name)},\n"
            f"            owner={_text(self.owner)},\n"
            f"            cost_center={_text(self.cost_center)},\n"
            f"            profile=Profile.{self.profile.upper()},\n"
            f"{tags}"
            f"            defaults={constant},\n"
            "        )\n"
            f"{'' if self.project is None else _roles(self.project)}"
            "\n\n"
            "def define(app: cdk.App) -> cdk.Stack:\n"
            '    """Define the stack of the unit."""\n'
            f"    return {self.stack}(app, {_text(self.stack)})\n"
        )


_ROLES = ", and the roles that its GitLab project assumes"


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the unit.")],
    *,
    owner: Annotated[str, typer.Option(help="Owner of the unit.")],
    cost_center: Annotated[str, typer.Option("--cost-center", help="Cost center of the unit.")],
    place: Annotated[str, typer.Option(help="Account and Region of its stacks, such as 111122223333/eu-west-1.")],
    defaults: Annotated[str, typer.Option(help="module:NAME of the PlatformDefaults in the platform's package.")],
    project: Annotated[
        str | None,
        typer.Option(
            help="GitLab project of the team, whose main branch may deploy in any deployment tier. Default: no pipeline roles."
        ),
    ] = None,
    development: Annotated[
        bool, typer.Option("--development", help="Delete its data with its stack. Default: retain them.")
    ] = False,
    unit_tag: Annotated[
        list[str] | None, typer.Option("--unit-tag", help="KEY=VALUE of a tag that the platform requires.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the stack of a new team's unit to this folder, the platform team's repository; existing files are not changed."""
    tags, problems = _tags(unit_tag or ())
    account, _, region = place.partition("/")
    unit = NewUnit(
        name=name,
        owner=owner,
        cost_center=cost_center,
        account=account,
        region=region,
        defaults=defaults,
        project=project,
        profile="development" if development else "production",
        tags=tags,
    )
    folder, path = Path(), f"{_FOLDER}/{unit.module}.py"
    problems += unit.problems()
    if (folder / path).exists():
        problems.append(f"{path} already exists; edit it there or choose another name")
    if problems:
        raise UserError(f"nothing was created: {'; '.join(problems)}")
    common = {f"{_FOLDER}/__init__.py": '"""The units of the platform."""\n', "app.py": _APP, "cdk.json": _CDK}
    kept = sorted(each for each in common if (folder / each).exists())
    files = {path: unit.render(), **{each: text for each, text in common.items() if each not in kept}}
    write_all(folder, {each: text.encode() for each, text in files.items()})
    document = {
        "unit": name,
        "stack": unit.stack,
        "files": sorted(files),
        "kept": kept,
        "next": f"cdk deploy {unit.stack}",
        "team": unit.imported(),
    }
    lines = [
        f"wrote {', '.join(sorted(files))}",
        *([f"kept {', '.join(kept)}"] if kept else []),
        "next:",
        f"  {document['next']}",
        "the team's stacks import the unit:",
        f"  {unit.imported()}",
    ]
    answer(document, "\n".join(lines), as_json=as_json)


def _tags(given: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    pairs = [each.partition("=") for each in given]
    problems = [
        f"--unit-tag must be KEY=VALUE, got {each!r}"
        for each, pair in zip(given, pairs, strict=True)
        if not pair[2] or not pair[0]
    ]
    return {key: value for key, _, value in pairs if key and value}, problems


def _is_name(word: str) -> bool:
    return word.isidentifier() and not keyword.iskeyword(word)


def _text(value: str) -> str:
    """Return a string literal; validated values contain neither quotes nor backslashes."""
    return f'"{value}"'


def _mapping(values: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{_text(key)}: {_text(value)}" for key, value in sorted(values.items())) + "}"


def _roles(project: str) -> str:
    return (
        f'        subject = GitLabSubject.branch("main", project={_text(project)}, claims_environment=True)\n'
        '        deploys = GitLabDeployRole(self, "GitLab", subject=subject)\n'
        "        plans = GitLabDeployRole(\n"
        '            self, "Plan", subject=subject.unapproved(), access="plan", provider=deploys.provider\n'
        "        )\n"
        '        cdk.CfnOutput(self, "DeployRole", value=deploys.role.role_arn)\n'
        '        cdk.CfnOutput(self, "PlanRole", value=plans.role.role_arn)\n'
        '        cdk.CfnOutput(self, "SubjectComponents", value=",".join(subject.components))\n'
    )
