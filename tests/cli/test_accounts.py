"""``mlops accounts show`` on the three stacks of ``examples/accounts.py``."""

import copy
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from examples.accounts import BUILD, PRODUCTION, STAGING, compose

Run = Callable[..., subprocess.CompletedProcess[str]]
STACKS = {"Build": BUILD, "Staging": STAGING, "Production": PRODUCTION}
PAIRS = [("Build", "Staging"), ("Staging", "Production")]


@pytest.fixture(scope="module")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthesize the example."""
    folder = tmp_path_factory.mktemp("accounts") / "cdk.out"
    app = cdk.App(outdir=str(folder), context={"organization": "o-a1b2c3d4e5"})
    compose(app)
    app.synth()
    return folder


def policies(value: Any) -> Iterator[list[dict[str, Any]]]:
    """Yield every list of statements of a template; a bus policy has a single statement instead of a list."""
    if isinstance(value, dict):
        if isinstance(value.get("Statement"), list):
            yield value["Statement"]
        elif isinstance(value.get("Statement"), dict):
            yield [value["Statement"]]
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from policies(each)


def template(folder: Path, stack: str) -> Any:
    """Return a stack's template."""
    return json.loads((folder / f"{stack}.template.json").read_text())


def about(folder: Path, stack: str, other: str) -> list[dict[str, Any]]:
    """Return a stack's statements that contain the other account's number."""
    account = STACKS[other].account
    return [each for found in policies(template(folder, stack)) for each in found if account in json.dumps(each)]


def key(statement: Any) -> str:
    """Return a statement as a string for sorting."""
    return json.dumps(statement, sort_keys=True)


def test_what_it_prints_are_the_statements_of_both_templates(assembly: Path, in_process: Run) -> None:
    """Prints all statements that name the other account, unchanged, and no others."""
    result = in_process("accounts", "show", "--app", assembly, "--json")

    document = json.loads(result.stdout)
    assert (result.returncode, document["problems"]) == (0, [])
    assert [(each["source"]["stack"], each["target"]["stack"]) for each in document["links"]] == PAIRS
    for link, (source, target) in zip(document["links"], PAIRS, strict=True):
        wanted = about(assembly, source, target) + about(assembly, target, source)
        assert sorted(map(key, wanted)) == sorted(key(each["statement"]) for each in link["statements"])
        assert len(wanted) == 10


def test_people_read_the_same(assembly: Path, in_process: Run) -> None:
    """Groups statements by stack, resource and role, with names for references."""
    printed = in_process("accounts", "show", "--app", assembly).stdout

    assert (
        "demand-forecast: Build (111111111111 eu-west-1) -> Staging (222222222222 eu-west-1)\n  stack Build\n"
        in printed
    )
    assert "trusts arn:aws:iam::222222222222:role/mlops-promote-" in printed
    assert "/releases/demand-forecast/*" in printed
    assert printed.count('"Effect"') == 20
    assert "Fn::" not in printed


@pytest.mark.parametrize("side", [0, 1])
def test_each_statement_that_one_side_lacks_is_named(
    assembly: Path, in_process: Run, tmp_path: Path, side: int
) -> None:
    """With any statement removed, exits with 3 and names role and action."""
    source, target = PAIRS[0]
    changed, other = (source, target) if side == 0 else (target, source)
    whole = template(assembly, changed)
    for number, dropped in enumerate(about(assembly, changed, other)):
        folder = tmp_path / f"{side}-{number}"
        shutil.copytree(assembly, folder, ignore=shutil.ignore_patterns("asset.*"))
        left = copy.deepcopy(whole)
        for resource in left["Resources"].values():
            for found in policies(resource):
                found[:] = [each for each in found if each != dropped]
            if resource.get("Properties", {}).get("Statement") == dropped:
                resource["Properties"] = {**resource["Properties"], "Statement": {}}
        (folder / f"{changed}.template.json").write_text(json.dumps(left))

        result = in_process("accounts", "show", "--app", folder, "--json")

        action = dropped["Action"][0] if isinstance(dropped["Action"], list) else dropped["Action"]
        problems = json.loads(result.stdout)["problems"]
        assert (result.returncode, len(problems)) == (3, 1), problems
        assert action in problems[0]
        assert problems[0] in result.stderr


def test_the_other_side_may_be_of_another_app(assembly: Path, in_process: Run, tmp_path: Path) -> None:
    """Reports the missing side of two repositories; both together have no problem."""
    for name in ("Build", "Staging"):
        folder = tmp_path / name
        shutil.copytree(assembly, folder, ignore=shutil.ignore_patterns("asset.*"))
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["artifacts"] = {name: manifest["artifacts"][name]}
        (folder / "manifest.json").write_text(json.dumps(manifest))

    alone = in_process("accounts", "show", "--app", tmp_path / "Build")
    both = in_process("accounts", "show", "--app", tmp_path / "Build", "--app", tmp_path / "Staging", "--json")

    assert alone.returncode == 0
    assert "-> 222222222222 eu-west-1, to which no stack here deploys" in alone.stdout
    assert (both.returncode, len(json.loads(both.stdout)["links"][0]["statements"])) == (0, 10)


def test_people_read_what_the_owner_of_a_repository_adds(assembly: Path, in_process: Run, tmp_path: Path) -> None:
    """With shared images it prints the repository owner's statements; the templates lack none."""
    folder = tmp_path / "shared"
    shutil.copytree(assembly, folder, ignore=shutil.ignore_patterns("asset.*"))
    target, repositories = template(folder, "Staging"), "arn:aws:ecr:eu-west-1:111111111111:repository/*"
    copied = next(each for each in about(folder, "Staging", "Build") if "s3:GetObject" in str(each["Action"]))
    for resource in target["Resources"].values():
        for found in policies(resource):
            if copied in found:
                found.append({"Effect": "Allow", "Action": ["ecr:DescribeImages"], "Resource": repositories})
    (folder / "Staging.template.json").write_text(json.dumps(target))

    result = in_process("accounts", "show", "--app", folder)

    assert result.returncode == 0
    (added,) = result.stdout.split("\n\n")[0].split(
        f"  the owner of {repositories} must add to its repository policy\n"
    )[1:]
    assert added.count('"Effect"') == 2
    assert added.count("ecr:GetDownloadUrlForLayer") == 1
    assert "the owner of" not in in_process("accounts", "show", "--app", assembly).stdout


def test_an_app_without_links_is_refused(in_process: Run, tmp_path: Path) -> None:
    """The error has the stacks and the property that declares a link."""
    app = cdk.App(outdir=str(tmp_path / "cdk.out"))
    cdk.CfnOutput(cdk.Stack(app, "Alone", env=BUILD.cdk), "Name", value="alone")
    app.synth()

    result = in_process("accounts", "show", "--app", tmp_path / "cdk.out")

    assert (result.returncode, result.stdout) == (1, "")
    assert "deploy_to" in result.stderr
    assert "stacks: Alone (111111111111 eu-west-1)" in result.stderr


def test_a_folder_without_an_assembly_is_refused(in_process: Run, tmp_path: Path) -> None:
    """Rejects it like ``mlops plan``."""
    result = in_process("accounts", "show", "--app", tmp_path)

    assert (result.returncode, "no cloud assembly" in result.stderr) == (1, True)
