"""`mlops new` creates a working repository or nothing; `mlops upgrade` keeps changed files."""

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.cli.pipeline_run import LOCK, rendered
from typer.testing import CliRunner

from mlops_cli import new, project, project_packages
from mlops_cli.__main__ import app
from mlops_cli.aws_account import UserError
from mlops_cli.new import commit_project, made_up_schema, sample_schema, takes_repository
from mlops_cli.project import RECORD, Answers, ModelAnswers, digest, render
from mlops_cli.project_environments import read_environments
from mlops_cli.project_packages import LOCKS, PackageSources
from mlops_runtime.contracts import to_dict

Run = Callable[..., subprocess.CompletedProcess[str]]
NEW = """
import sys
from pathlib import Path
from mlops_cli import project_packages
from mlops_cli.__main__ import main
from mlops_cli.project_packages import PackageSources

project_packages.package_sources = lambda index=None: PackageSources(index=index)
project_packages.lock = lambda folder, name: (folder / name).write_bytes(Path(LOCK).read_bytes())
sys.argv = ["mlops", "new", "made/demand", "--unit", "demand", "--model", "forecast", "--kind", "number", *MORE]
sys.exit(main())
"""


def answers_of(unit: str, model: str, kind: str) -> Answers:
    """Return the answers for a project with generated rows."""
    return Answers(unit=unit, models=(ModelAnswers(unit=unit, model=model, schema=sample_schema(kind)),))


# the unit's stack has no store, the second one defines it, the third one imports it
WITH_STORE = Answers(
    unit="shop",
    models=tuple(
        ModelAnswers(unit="shop", model=name, schema=made_up_schema(kind, has_store=name != "plain"))
        for name, kind in (("plain", "number"), ("units", "number"), ("again", "chance"))
    ),
)
GOOD = ("--unit", "demand", "--model", "forecast", "--kind", "number")
CHAIN = ("build=111111111111/eu-west-1", "pre-prod-eu=222222222222/eu-west-1", "production=333333333333/eu-west-1")
THROUGH_ACCOUNTS = replace(
    answers_of("everybodys-customers", "chance-2be", "chance"), environments=read_environments(CHAIN)[0]
)
STORE_THROUGH_ACCOUNTS = Answers(
    unit="shop",
    models=(ModelAnswers(unit="shop", model="units", schema=made_up_schema("number", has_store=True)),),
    environments=read_environments(CHAIN)[0],
)
BIN = Path(sys.executable).parent


def write_lock(folder: Path, name: str) -> None:
    """Write a lock without an index: an example's lock with the packages of a project's first framework."""
    (folder / name).write_bytes(LOCK.read_bytes())


@pytest.fixture
def in_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command in this process, in the test's folder or another; usage errors are on stderr."""
    monkeypatch.setattr(project_packages, "package_sources", lambda index=None: PackageSources(index=index))
    monkeypatch.setattr(project_packages, "lock", write_lock)

    def run(*arguments: object, cwd: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(cwd)
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        error = f"mlops: {result.exception}\n" if isinstance(result.exception, UserError) else ""
        return subprocess.CompletedProcess(arguments, result.exit_code, result.output, error)

    return run


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the files that `mlops new` writes, with its record."""
    return rendered(tmp_path_factory.mktemp("rendered") / "project")


def _in_project(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the project in this environment instead of its own, without a network."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONDONTWRITE"))}
    environment = {**clean, "CDK_VALIDATION": "false", "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "answers",
    [
        answers_of("demand", "forecast", "number"),
        answers_of("everybodys-customers", "chance-2be", "chance"),  # the longest possible names
        WITH_STORE,
        THROUGH_ACCOUNTS,
        STORE_THROUGH_ACCOUNTS,
    ],
    ids=lambda answers: f"{answers.models[0].endpoint}-{len(answers.environments)}",
)
def test_what_is_made_is_clean(answers: Answers, tmp_path: Path) -> None:
    """Ruff has no finding and no reformatting, with short and long names; every file parses."""
    assert answers.problems() == []
    folder = tmp_path / "project"
    files = render(answers, folder, PackageSources())

    linted = _in_project(folder, "ruff", "check", ".")
    formatted = _in_project(folder, "ruff", "format", "--check", ".")

    assert (linted.returncode, formatted.returncode) == (0, 0), linted.stdout + formatted.stdout
    assert {
        "app.py",
        ".gitlab-ci.yml",
        "cdk.json",
        "pyproject.toml",
        "README.md",
        ".gitignore",
        "ci/aws.sh",
    } <= files.keys()
    assert not any(b"{{" in content or b"{%" in content for content in files.values())
    json.loads(files["cdk.json"])


def test_programs_without_their_arguments_end_without_a_traceback(tmp_path: Path) -> None:
    """The app without the CDK CLI's context reports how to set it; the check of compliance prints its usage."""
    project.write_all(
        tmp_path / "shop", render(answers_of("demand", "forecast", "number"), tmp_path / "rendered", PackageSources())
    )
    write_lock(tmp_path / "shop", "requirements.lock")

    app = _in_project(tmp_path / "shop", sys.executable, "app.py")
    checked = _in_project(tmp_path / "shop", sys.executable, "compliance.py")

    (line,) = app.stderr.splitlines()
    assert (app.returncode, app.stdout) == (1, "")
    assert line.startswith("InvalidProfile: context profile must be 'development' or 'production', got None")
    assert (checked.returncode, checked.stdout) == (2, "")
    assert checked.stderr.startswith("usage: compliance.py [-h] path [{development,production}]")


def test_stacks_with_a_feature_store_break_no_rule(tmp_path: Path) -> None:
    """Runs cdk-nag's packs in production on the stack that defines the store, and on one that imports it."""
    project.write_all(tmp_path / "shop", render(WITH_STORE, tmp_path / "rendered", PackageSources()))
    write_lock(tmp_path / "shop", "requirements.lock")

    checked = _in_project(tmp_path / "shop", sys.executable, "compliance.py", "evidence.json")

    assert checked.stdout.count(", 0 findings, ") == 3, checked.stdout + checked.stderr


def test_stacks_of_several_accounts_break_no_rule(tmp_path: Path) -> None:
    """Runs cdk-nag's packs and the project's stack tests, each with the right group and machines of the endpoint."""
    project.write_all(tmp_path / "shop", render(STORE_THROUGH_ACCOUNTS, tmp_path / "rendered", PackageSources()))
    write_lock(tmp_path / "shop", "requirements.lock")

    checked = _in_project(tmp_path / "shop", sys.executable, "compliance.py", "evidence.json")
    tested = _in_project(tmp_path / "shop", "pytest", "-q", "tests/test_stack.py")

    assert checked.stdout.count(", 0 findings, ") == 3, checked.stdout + checked.stderr
    assert "2 passed" in tested.stdout, tested.stdout[-3000:]
    evidence = json.loads((tmp_path / "shop/evidence.json").read_text())
    assert [each["stack"] for each in evidence["stacks"]] == [
        "ShopUnitsBuild",
        "ShopUnitsPreProdEu",
        "ShopUnitsProduction",
    ]


def test_a_list_of_environments_makes_a_project_that_upgrades(in_process: Run, tmp_path: Path) -> None:
    """The list is recorded, so a newer template renders the same; adding a second model is rejected without changes."""
    options = [part for each in CHAIN for part in ("--environment", each)]
    made = in_process("new", "shop", *GOOD, *options)

    assert (made.returncode, made.stderr) == (0, "")
    shop = tmp_path / "shop"
    recorded = json.loads((shop / RECORD).read_text())["answers"]["environments"]
    assert recorded[1:] == [
        {"name": "pre-prod-eu", "account": "222222222222", "region": "eu-west-1", "is_manual": False},
        {"name": "production", "account": "333333333333", "region": "eu-west-1", "is_manual": True},
    ]
    assert in_process("upgrade", cwd=shop).stdout == "nothing to upgrade\n"
    before = _all_files(shop)
    added = in_process("add", "model", "returns", cwd=shop)
    assert (added.returncode, added.stderr) == (
        1,
        "mlops: nothing was changed: a project with environments can have only one model, 'demand_forecast', since the stack that "
        "receives releases must define the unit; create another project for another unit\n",
    )
    assert _all_files(shop) == before


def test_a_list_that_is_no_chain_makes_nothing(in_process: Run, tmp_path: Path) -> None:
    """Reports every problem of the list together with those of names."""
    options = ("build=1/eu-west-1", "Pro=222222222222/eu-west-9", "x=222222222222/eu-west-1/later", "build=1/eu-west-1")
    result = in_process(
        "new", "shop", "--unit", "Demand!", *GOOD[2:], *[part for each in options for part in ("--environment", each)]
    )

    assert result.returncode == 1
    for part in (
        "an environment must be NAME=ACCOUNT/REGION or",
        "the account of environment 'build' must be 12 digits, got '1'",
        "the name of an environment must be 2 to 20 lower-case letters, digits or hyphens",
        "the Region of environment 'Pro' must be an AWS Region, such as 'eu-west-1', got 'eu-west-9'",
        "the environment 'build' is named twice",
        "--unit must be 2 to 20 lower-case letters",
    ):
        assert part in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_first_endpoint_takes_fifteen_lines_at_most(tmp_path: Path) -> None:
    """Counts the stack's class with its docstring."""
    files = render(answers_of("demand", "forecast", "number"), tmp_path / "project", PackageSources())
    stack = files["demand_forecast/stack.py"].decode()
    (declared,) = (node for node in ast.parse(stack).body if isinstance(node, ast.ClassDef))

    assert declared.end_lineno is not None
    assert declared.end_lineno - declared.lineno + 1 <= 15


def test_the_projects_own_tests_pass(in_process: Run, tmp_path: Path) -> None:
    """Trains, evaluates by log loss and gates a probability; the stack synthesizes. test_pipeline.py covers a numeric label."""
    made = in_process("new", "shop", "--unit", "customers", "--model", "returns", "--kind", "chance")
    assert (made.returncode, made.stderr) == (0, "")

    tested = _in_project(tmp_path / "shop", "pytest", "-q", "-k", "not production")

    assert tested.returncode == 0, tested.stdout[-3000:]
    assert "4 passed, 2 deselected" in tested.stdout


def test_fails_with_every_wrong_answer_at_once_and_makes_nothing(in_process: Run, tmp_path: Path) -> None:
    """Includes the folder; existing files stay."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "kept.txt").write_text("mine")

    result = in_process("new", "shop", "--unit", "Demand!", "--model", "x", "--kind", "text")

    assert result.returncode == 1
    assert result.stderr == (
        "mlops: nothing was created: the folder 'shop' exists and is not empty; name another, or run mlops upgrade in it; "
        "--unit must be 2 to 20 lower-case letters, digits or hyphens, starting with a letter and not ending with a hyphen, "
        "such as 'demand', got 'Demand!'; "
        "--model must be 2 to 20 lower-case letters, digits or hyphens, starting with a letter and not ending with a hyphen, "
        "such as 'forecast', got 'x'; "
        "--kind must be one of number, chance, got 'text'\n"
    )
    assert [path.name for path in tmp_path.rglob("*")] == ["shop", "kept.txt"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--model", "y" * 31, "--kind", "number"), "--unit: required, because standard input is not a terminal"),
        ((), "--unit, --model, --kind: required, because standard input is not a terminal"),
        (("--unit", "demand", "--model", "m" * 30, "--kind", "number"), "must have at most 32 characters, got 37"),
        (("--unit", "ab", "--model", "m" * 21, "--kind", "number"), "--model must be 2 to 20 lower-case letters"),
        (("--unit", "ab", "--model", "9fore", "--kind", "number"), "starting with a letter"),
        (
            ("--unit", "aws", "--model", "cdk", "--kind", "number"),
            "result in the package 'aws_cdk', which would hide the package of aws-cdk-lib; choose another model name, such as "
            "'cdk-model'",
        ),
        (
            ("--unit", "mlops", "--model", "runtime", "--kind", "number"),
            "which would hide the package of mlops-runtime",
        ),
    ],
)
def test_fails_for_answers_that_are_missing_or_too_long(
    in_process: Run, tmp_path: Path, arguments: tuple[str, ...], problem: str
) -> None:
    """Programs get no prompts; job names have at most 63 characters."""
    result = in_process("new", "shop", *arguments)

    assert result.returncode == 1
    assert problem in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_fails_where_a_file_has_the_folders_name(in_process: Run, tmp_path: Path) -> None:
    """The folder's name is taken by a file."""
    (tmp_path / "shop").write_text("")

    result = in_process("new", "shop", *GOOD)

    assert result.stderr == "mlops: nothing was created: 'shop' is a file; name a folder\n"
    below = in_process("new", "shop/a/b", *GOOD)
    reason = f"'shop/a/b' cannot be created, since {str(tmp_path / 'shop')!r} is a file; name another folder"
    assert below.stderr == f"mlops: nothing was created: {reason}\n"
    assert [each.name for each in tmp_path.iterdir()] == ["shop"]


def test_fails_beside_what_a_run_that_was_killed_has_left(in_process: Run, tmp_path: Path) -> None:
    """Prints one line without a traceback."""
    (tmp_path / ".shop.part").mkdir()

    result = in_process("new", "shop", *GOOD)

    assert result.stderr == (
        "mlops: nothing was created: '.shop.part' exists: another run is using it, or was killed; if none is running, delete it\n"
    )


def test_the_folder_one_stands_in_may_be_filled(in_process: Run, tmp_path: Path) -> None:
    """Written as a dot, for example in an empty clone; the user enters it again, as it was replaced."""
    result = in_process("new", ".", *GOOD)

    assert result.returncode == 0, result.stderr
    assert f"cd {tmp_path} && uv sync" in result.stdout
    assert (tmp_path / "app.py").is_file()


def test_nothing_is_half_made(in_process: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves no folder; an existing empty one stays empty."""
    (tmp_path / "shop").mkdir()

    def write(folder: Path, files: Mapping[str, bytes]) -> None:
        (folder / next(iter(files))).write_bytes(b"")
        raise OSError("no space left on device")

    monkeypatch.setattr(project, "write_all", write)

    assert in_process("new", "shop", *GOOD).returncode == 1
    assert [path.name for path in tmp_path.rglob("*")] == ["shop"]


def test_an_empty_folder_may_be_filled(in_process: Run, tmp_path: Path) -> None:
    """For example an empty clone."""
    (tmp_path / "shop").mkdir()

    assert in_process("new", "shop", *GOOD).returncode == 0
    assert (tmp_path / "shop" / "app.py").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_an_upgrade_keeps_what_somebody_changed(in_process: Run, tmp_path: Path) -> None:
    """Unchanged files follow the template, changed ones stay beside the new text, deleted ones stay deleted."""
    assert in_process("new", "shop", *GOOD).returncode == 0
    shop = tmp_path / "shop"
    same = in_process("upgrade", cwd=shop)
    assert (same.returncode, same.stdout) == (0, "nothing to upgrade\n")

    record = json.loads((shop / RECORD).read_text())
    for name in ("app.py", "compliance.py", "ci/aws.sh"):  # as written by an older template
        (shop / name).write_text("# of an older version\n")
        record["files"][name] = digest((shop / name).read_bytes())
    (shop / "gone.py").write_text("# the template has it no more\n")
    record["files"]["gone.py"] = digest((shop / "gone.py").read_bytes())
    (shop / RECORD).write_text(json.dumps(record))
    (shop / "compliance.py").write_text("# mine\n")
    (shop / "ci/aws.sh").unlink()
    (shop / "README.md").write_text("mine, and the template says what it said\n")

    done = in_process("upgrade", cwd=shop)

    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "wrote app.py",
        "kept your changes in compliance.py; merge compliance.py.new, then delete it",
        "removed gone.py",
    ]
    assert "def build" in (shop / "app.py").read_text()
    assert (shop / "compliance.py").read_text() == "# mine\n"
    assert not (shop / "ci/aws.sh").exists()
    assert (shop / "README.md").read_text().startswith("mine")
    assert in_process("upgrade", cwd=shop).stdout == "nothing to upgrade\n"


def test_an_upgrade_locks_what_another_template_requires(
    in_process: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Locked versions are passed to uv; the lock of an unchanged file stays; a failing one changes nothing."""
    assert in_process("new", "shop", *GOOD).returncode == 0
    shop, seen = tmp_path / "shop", dict[str, bytes]()

    def lock(folder: Path, name: str) -> None:
        seen[name] = (folder / name).read_bytes()
        if not (folder / LOCKS[name]).read_text().startswith("pandas\n"):
            raise UserError("uv cannot lock the project: no such package")
        (folder / name).write_text("of the new requirements\n")

    monkeypatch.setattr(project_packages, "lock", lock)
    record = json.loads((shop / RECORD).read_text())
    (shop / "requirements.in").write_text("an-older-one\n")
    record["files"]["requirements.in"] = digest(b"an-older-one\n")
    (shop / RECORD).write_text(json.dumps(record))

    done = in_process("upgrade", cwd=shop)

    assert done.stdout.splitlines() == ["wrote requirements.in", "wrote requirements.lock"]
    assert seen == {"requirements.lock": LOCK.read_bytes()}
    assert (shop / "requirements.lock").read_text() == "of the new requirements\n"
    assert (shop / "uv.lock").read_bytes() == LOCK.read_bytes()

    record = json.loads((shop / RECORD).read_text())
    (shop / "pyproject.toml").write_text("# of an older version\n")
    record["files"]["pyproject.toml"] = digest(b"# of an older version\n")
    (shop / RECORD).write_text(json.dumps(record))
    before = _all_files(shop)
    assert "no such package" in in_process("upgrade", cwd=shop).stderr
    assert _all_files(shop) == before


def test_changed_requirements_name_what_locks_them(in_process: Run, tmp_path: Path) -> None:
    """The template's text is written beside the file, and nothing is locked until it is merged."""
    assert in_process("new", "shop", *GOOD).returncode == 0
    shop = tmp_path / "shop"
    record = json.loads((shop / RECORD).read_text())
    record["files"]["requirements.in"] = digest(b"of an older version")
    (shop / RECORD).write_text(json.dumps(record))
    (shop / "requirements.in").write_text("mine\n")
    assert in_process("upgrade", cwd=shop).stdout == (
        "kept your changes in requirements.in; merge requirements.in.new, then delete it and run mlops image lock\n"
    )


RECORDED = (
    '{"format": "mlops.project/1", "answers": {"unit": %s, "models": [{"model": %s, "schema": SCHEMA}]}, "files": %s}'
).replace("SCHEMA", json.dumps(to_dict(sample_schema("number"))))


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (None, "no .mlops-project.json in '.'; run this in a folder created by mlops new"),
        ("{", "does not have the format 'mlops.project/1'; restore it from git"),
        ('{"format": "mlops.project/1", "answers": {"unit": "demand"}, "files": {}}', "does not have the format"),
        (
            '{"format": "mlops.project/1", "answers": {"unit": "demand", "models": []}, "files": {"a": "b"}}',
            "does not have the",
        ),
        (
            RECORDED % ('"x"', '"forecast"', '{"a": "b"}'),
            "has invalid answers: --unit must be 2 to 20 lower-case letters",
        ),
        (
            RECORDED % ('"demand"', '"forecast"', '["a"]'),
            "does not have the format",
        ),
        (
            RECORDED % ('"demand"', "1", '{"a": "b"}'),
            "does not have the format",
        ),
    ],
)
def test_fails_to_upgrade_what_was_not_made_here(
    in_process: Run, tmp_path: Path, record: str | None, problem: str
) -> None:
    """Changes nothing."""
    if record is not None:
        (tmp_path / RECORD).write_text(record)

    result = in_process("upgrade")

    assert result.returncode == 1
    assert result.stderr.startswith("mlops: nothing was changed: ")
    assert problem in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ([] if record is None else [RECORD])


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("../outside/kept.txt", "contains '..'"),
        ("ci/../../outside/kept.txt", "contains '..'"),
        ("{outside}/kept.txt", "is absolute"),
        ("link/kept.txt", "points outside the repository"),
        ("link.txt", "points outside the repository"),
        ("circle/a", "points outside the repository"),
        ("a\0", "points outside the repository"),
        (".git/config", "is in .git"),
        ("sub/.GIT/config", "is in .git"),
        ("ci\\aws.sh", "contains a backslash"),
        ("", "is empty"),
    ],
)
def test_fails_to_upgrade_outside_of_the_repository(
    in_process: Run, files: dict[str, bytes], tmp_path: Path, name: str, problem: str
) -> None:
    """Rejects a record with paths outside, by name; nothing is deleted or written anywhere."""
    shop, outside = tmp_path / "shop", tmp_path / "outside"
    project.write_all(shop, files)
    for folder in (outside, shop / ".git", shop / "sub/.GIT"):
        folder.mkdir(parents=True, exist_ok=True)
        for file in ("kept.txt", "config"):
            (folder / file).write_text("kept\n")
    (shop / "link").symlink_to(outside, target_is_directory=True)
    (shop / "link.txt").symlink_to(outside / "kept.txt")
    (shop / "circle").symlink_to(shop / "circle")
    (shop / "gone.py").write_text("# the template has it no more\n")
    name = name.format(outside=outside)
    record = json.loads((shop / RECORD).read_text())
    record["files"] |= {name: digest(b"kept\n"), "gone.py": digest((shop / "gone.py").read_bytes())}
    (shop / RECORD).write_text(json.dumps(record))
    before = _all_files(tmp_path)

    result = in_process("upgrade", cwd=shop)

    assert result.returncode == 1
    assert f"nothing was changed: {RECORD} names {name!r}, which {problem}" in result.stderr
    assert _all_files(tmp_path) == before


def test_fails_to_upgrade_through_a_link_on_the_way_of_the_template(in_process: Run, tmp_path: Path) -> None:
    """Does not write through a template folder that is a symbolic link."""
    assert in_process("new", "shop", *GOOD).returncode == 0
    shop, outside = tmp_path / "shop", tmp_path / "outside"
    (shop / "ci").rename(outside)
    (shop / "ci").symlink_to(outside, target_is_directory=True)
    (outside / "aws.sh").write_text("# of an older version\n")
    record = json.loads((shop / RECORD).read_text())
    record["files"]["ci/aws.sh"] = digest((outside / "aws.sh").read_bytes())
    (shop / RECORD).write_text(json.dumps(record))

    result = in_process("upgrade", cwd=shop)

    assert result.returncode == 1
    assert f"{RECORD} names 'ci/aws.sh', which points outside the repository" in result.stderr
    assert (outside / "aws.sh").read_text() == "# of an older version\n"


def test_an_upgrade_writes_through_no_link_beside_a_file(in_process: Run, tmp_path: Path) -> None:
    """A symbolic link in place of the temporary file is replaced."""
    assert in_process("new", "shop", *GOOD).returncode == 0
    shop, kept = tmp_path / "shop", tmp_path / "kept.txt"
    kept.write_text("kept\n")
    (shop / "app.py").write_text("# of an older version\n")
    (shop / "app.py.part").symlink_to(kept)
    record = json.loads((shop / RECORD).read_text())
    record["files"]["app.py"] = digest((shop / "app.py").read_bytes())
    (shop / RECORD).write_text(json.dumps(record))

    assert in_process("upgrade", cwd=shop).returncode == 0

    assert kept.read_text() == "kept\n"
    assert "def build" in (shop / "app.py").read_text()
    assert not (shop / "app.py").is_symlink()


def _all_files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_what_is_missing_is_asked(in_process: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """At most three prompts, and none for given answers."""
    requests: list[str] = []
    monkeypatch.setattr(new, "sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True), stderr=sys.stderr))

    def prompt(text: str, **_: object) -> str:
        requests.append(text)
        return "forecast" if "model" in text else "number"

    monkeypatch.setattr(new.typer, "prompt", prompt)

    assert in_process("new", "shop", "--unit", "demand").returncode == 0
    assert requests == [
        "Name of the model, such as forecast",
        "Kind of prediction (number: a quantity, chance: a probability)",
    ]
    record = json.loads((tmp_path / "shop" / RECORD).read_text())
    assert (record["answers"]["unit"], record["answers"]["models"][0]["model"]) == ("demand", "forecast")


def sales(folder: Path, **changed: Any) -> Path:
    """Write a table of sales: three hundred days of twenty stores."""
    days = [(day, store) for day in range(300) for store in range(20)]
    table = {
        "store": [f"s{store:02}" for _, store in days],
        "day": [datetime(2025, 1, 1) + timedelta(days=day) for day, _ in days],
        "price": [1 + (day * 7 + store) % 13 / 4 for day, store in days],
        "customer_name": [f"Ann {store % 3}" for _, store in days],
        "units": [40 - 3 * ((day * 7 + store) % 13) + day % 5 for day, store in days],
        **changed,
    }
    pq.write_table(pa.table(table), folder / "sales.parquet")
    return folder / "sales.parquet"


FROM_FILE = ("new", "shop", "--data", "sales.parquet", "--label", "units", "--time", "day", "--key", "store")


def test_a_file_makes_a_project(in_process: Run, tmp_path: Path) -> None:
    """Names derive from folder and label, columns from the file; the repository contains no row and no personal value."""
    sales(tmp_path)
    made = in_process(*FROM_FILE)

    assert (made.returncode, made.stderr) == (0, "")
    assert "compared by store with naive_median_by_store, naive_last_by_store" in made.stdout
    shop = tmp_path / "shop"
    assert 'EvaluationPlan(\n    label="units",' in (shop / "shop_units/declaration.py").read_text()
    assert "mlops train --data ../sales.parquet" in (shop / "README.md").read_text()
    assert (shop / "uv.lock").is_file()
    assert b"Ann" not in b"".join(_all_files(shop).values())
    assert json.loads((shop / "shop_units/request.json").read_text())["instances"][0].keys() == {
        "store",
        "price",
        "customer_name",
    }
    assert in_process("upgrade", cwd=shop).stdout == "nothing to upgrade\n"


def test_a_file_makes_a_project_with_a_feature_store(in_process: Run, tmp_path: Path) -> None:
    """Writes groups of the file's columns, their lock and a plan; the project's own tests find each row's features."""
    sales(tmp_path)
    made = in_process(*FROM_FILE, "--feature-store")

    assert (made.returncode, made.stderr) == (0, "")
    assert "feature store: features and labels by store and day; a training holds out the newest 45 days" in made.stdout
    shop = tmp_path / "shop"
    assert 'Feature("price", "double", "about 1 to 4"),' in (shop / "shop_units/features.py").read_text()
    assert "label_group=LABELS.name," in (shop / "shop_units/declaration.py").read_text()
    assert b"Ann" not in b"".join(_all_files(shop).values())
    tested = _in_project(shop, "pytest", "-q", "-k", "own_features or wait_for_their_first_model and development")
    assert "2 passed" in tested.stdout, tested.stdout[-3000:]
    locked = in_process("features", "lock", "shop_units.features:GROUPS", "features.lock.json", cwd=shop)
    assert locked.stdout == "features.lock.json: 2 tables, unchanged\n"
    assert in_process("upgrade", cwd=shop).stdout == "nothing to upgrade\n"


@pytest.mark.parametrize(
    ("arguments", "changed", "problem"),
    [
        (("--row-key", "price"), {}, "--row-key needs --feature-store"),
        (("--feature-store", "--row-key", "price"), {}, "--row-key must be text or integers, got DOUBLE in 'price'"),
        (("--feature-store",), {"Total price": [1.5, 2.5] * 3000}, "rename in the file 'Total price' to 'total_price'"),
        (
            ("--feature-store",),
            {"day": [datetime(2025, 1, 1) + timedelta(days=n // 40) for n in range(6000)]},
            "6000 rows have only 3000 values of store and day, but a feature has one value for each of these; set --row-key",
        ),
    ],
)
def test_a_file_that_a_store_does_not_take_makes_nothing(
    in_process: Run, tmp_path: Path, arguments: tuple[str, ...], changed: dict[str, Any], problem: str
) -> None:
    """Prints one message with the fix, and creates no folder."""
    sales(tmp_path, **changed)
    result = in_process(*FROM_FILE, *arguments)

    assert (result.returncode, result.stdout) == (1, "")
    assert problem in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["sales.parquet"]


def test_json_is_one_document(in_process: Run, tmp_path: Path) -> None:
    """Covers created files, and changes of an upgrade."""
    sales(tmp_path)
    made = json.loads(in_process(*FROM_FILE, "--json").stdout)
    assert (made["endpoint"], made["folder"]) == ("shop-units", "shop")
    done = json.loads(in_process("upgrade", "--json", cwd=tmp_path / "shop").stdout)
    assert done == {"left": [], "removed": [], "written": []}


@pytest.mark.parametrize(
    ("arguments", "changed", "problem"),
    [
        (("--kind", "number"), {}, "--kind is derived from --data; omit it"),
        ((), {"units": [1] * 6000}, "label 'units' has one value in all 6000 rows"),
        (
            (),
            {"total": [40 - 3 * ((n // 20 * 7 + n % 20) % 13) + n // 20 % 5 for n in range(6000)]},
            "is almost a copy of the label",
        ),
        ((), {"store": [f"o{n}" for n in range(6000)]}, "--key 'store' is an identifier"),
        ((), {"day": [datetime(2025, 1, 1)] * 6000}, "'day' has 1 time, fewer than three"),
        (("--holdout-from", "2024-01-01"), {}, "--holdout-from must be after 2025-01-01"),
    ],
)
def test_a_file_that_makes_no_model_makes_nothing(
    in_process: Run, tmp_path: Path, arguments: tuple[str, ...], changed: dict[str, Any], problem: str
) -> None:
    """Prints one message, and creates no folder."""
    sales(tmp_path, **changed)
    result = in_process(*FROM_FILE, *arguments)

    assert result.returncode == 1
    assert result.stderr.startswith("mlops: nothing was created: ")
    assert problem in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["sales.parquet"]


def test_options_of_a_file_need_it_and_it_needs_them(in_process: Run, tmp_path: Path) -> None:
    """Reports all at once."""
    sales(tmp_path)
    alone = in_process("new", "shop", *GOOD, "--label", "units", "--time", "day").stderr
    bare = in_process("new", "shop", "--data", "sales.parquet").stderr

    assert "--label needs --data; --time needs --data" in alone
    assert "--label is required with --data: the column to predict; --time is required with --data" in bare


def test_a_person_is_asked_what_only_a_person_knows(
    in_process: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The answer about a possibly leaking column is recorded."""
    sales(tmp_path, units_ordered=[n * 31 % 17 for n in range(6000)])
    monkeypatch.setattr(new, "sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True), stderr=sys.stderr))
    monkeypatch.setattr(
        new.typer, "confirm", lambda text, **_: text == "Is units_ordered known at the time of prediction?"
    )

    assert in_process(*FROM_FILE).returncode == 0
    record = json.loads((tmp_path / "shop" / RECORD).read_text())
    assert record["answers"]["models"][0]["schema"]["known"] == ["units_ordered"]


def test_a_lock_that_fails_leaves_nothing(in_process: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Prints uv's reason; interruptions behave alike."""

    def fail(folder: Path, name: str) -> None:
        raise UserError("uv cannot lock the project: no such package")

    monkeypatch.setattr(project_packages, "lock", fail)
    result = in_process("new", "shop", *GOOD)

    assert result.stderr == "mlops: uv cannot lock the project: no such package\n"
    assert list(tmp_path.iterdir()) == []


def test_what_makes_projects_is_named_where_it_is_missing(
    in_process: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Lists every missing package."""
    monkeypatch.setattr(new, "find_spec", lambda _: None)
    assert "mlops new needs copier, duckdb, pyarrow; run: pip install" in in_process("new", "shop", *GOOD).stderr


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A configured git user without other settings."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    (tmp_path / "gitconfig").write_text("[user]\nname = Ann\nemail = ann@example.com\n")


def git(folder: Path, *arguments: str) -> str:
    """Run git and return its output."""
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def written_project(folder: Path) -> Path:
    """Create a folder with a file, and an ignored one."""
    folder.mkdir()
    (folder / "app.py").write_text("")
    (folder / ".gitignore").write_text("*.log\n")
    (folder / "a.log").write_text("")
    return folder


@pytest.mark.usefixtures("person")
def test_the_first_commit_has_every_file(tmp_path: Path) -> None:
    """Committed by the user, without their hooks; a folder inside a repository gets no own one."""
    (tmp_path / "gitconfig").write_text("[user]\nname = Ann\nemail = a@b.example\n[commit]\ngpgsign = true\n")
    assert takes_repository(tmp_path / "made" / "shop")
    shop = written_project(tmp_path / "shop")
    assert commit_project(shop) == "a git repository with a first commit"
    assert git(shop, "log", "--format=%an %s") == "Ann Create the project"
    assert git(shop, "ls-files").split() == [".gitignore", "app.py"]
    assert git(shop, "status", "--porcelain") == ""
    assert not takes_repository(shop / "sub" / "other")


@pytest.mark.usefixtures("person")
def test_without_a_name_the_files_are_staged(tmp_path: Path) -> None:
    """No invented author appears in the history."""
    (tmp_path / "gitconfig").write_text("[user]\nuseConfigOnly = true\n")
    shop = written_project(tmp_path / "shop")
    assert commit_project(shop).startswith("a git repository with all files staged; to commit, set your name")
    assert git(shop, "diff", "--cached", "--name-only").split() == [".gitignore", "app.py"]


@pytest.mark.usefixtures("person")
def test_where_git_is_missing_there_is_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same if git fails, as in a read-only folder."""
    shop = written_project(tmp_path / "shop")
    (shop / ".git").write_text("not a repository")
    assert commit_project(shop).startswith("no git repository was created: ")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not takes_repository(tmp_path / "other")


def _program(*more: str) -> list[str]:
    return [sys.executable, "-c", f"LOCK, MORE = {str(LOCK)!r}, {list(more)!r}\n{NEW}"]


@pytest.mark.usefixtures("person")
def test_a_project_is_a_repository_unless_told_otherwise(tmp_path: Path) -> None:
    """The command prints whether it made a repository; the branch is main."""
    done = subprocess.run(_program(), cwd=tmp_path, capture_output=True, text=True, check=True)
    made = tmp_path / "made" / "demand"
    assert done.stdout.splitlines()[1] == "a git repository with a first commit"
    assert git(made, "status", "--porcelain", "--branch") == "## main"
    done = subprocess.run(
        [*_program("--no-git")[:2], _program("--no-git")[2].replace("made/demand", "other")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "git" not in done.stdout.splitlines()[1]
    assert not (tmp_path / "other" / ".git").exists()


@pytest.mark.usefixtures("person", "interruptible")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_leaves_nothing(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """Covers Ctrl-C and SIGTERM while the folder is created; the next run works."""
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text(
        '#!/bin/sh\ncase "$PWD" in *.demand.part) mkdir .git; : > "$READY"; exec sleep 60;; esac\n'
        f'exec {shutil.which("git")} "$@"\n'
    )
    slow.chmod(0o755)
    ready = tmp_path / "ready"
    environment = os.environ | {"PATH": f"{slow.parent}:{os.environ['PATH']}", "READY": str(ready)}
    running = subprocess.Popen(
        _program(),
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    limit = time.monotonic() + 60
    while not ready.exists():
        assert running.poll() is None, running.stderr and running.stderr.read()
        assert time.monotonic() < limit
        time.sleep(0.02)
    assert (tmp_path / "made" / ".demand.part" / "app.py").exists()
    running.send_signal(number)
    assert running.wait(30) == code
    assert not (tmp_path / "made").exists()
