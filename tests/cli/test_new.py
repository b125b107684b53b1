"""Names that would hide what a generated project imports.

`mlops new` makes a repository that works, or nothing; `mlops upgrade` touches nothing that is somebody's.
"""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlops_cli import new
from mlops_cli.__main__ import app
from mlops_cli.aws_account import UserError
from mlops_cli.new import RECORD, Answers, changes, digest, owner, render

Run = Callable[..., subprocess.CompletedProcess[str]]
GOOD = ("--unit", "demand", "--model", "forecast", "--kind", "number")
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    ("package", "found"),
    [
        ("aws_cdk", "aws-cdk-lib"),
        ("mlops_runtime", "mlops-runtime"),
        ("mlops_cli", "mlops-cli"),
        ("mlops_constructs", "mlops-constructs"),  # its distribution would ask for itself
        ("aws_cdk_lib", "aws-cdk-lib"),  # a distribution whose module has another name
        ("cdk_nag", "cdk-nag"),
        ("typing_extensions", "typing-extensions"),  # what is needed of what is needed
        ("pydoc_data", "Python's own pydoc_data"),
    ],
)
def test_a_name_that_is_taken_has_an_owner(package: str, found: str) -> None:
    """A module, a distribution, one of Python's own."""
    owned = owner(package)

    assert owned is not None
    assert owned.replace("_", "-") == found.replace("_", "-")


@pytest.mark.parametrize("package", ["demand_forecast", "mlops_model", "aws_forecast"])
def test_a_name_that_nobody_has_is_free(package: str) -> None:
    """Also one that begins as another does."""
    assert owner(package) is None


@pytest.fixture
def in_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command in this process, in the test's folder or another: what a user did wrong is on stderr."""

    def run(*arguments: object, cwd: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(cwd)
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        error = f"mlops: {result.exception}\n" if isinstance(result.exception, UserError) else ""
        return subprocess.CompletedProcess(arguments, result.exit_code, result.output, error)

    return run


def _in_project(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the project in this environment instead of one of its own, with no network."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONDONTWRITE"))}
    environment = {**clean, "CDK_VALIDATION": "false", "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "answers",
    [
        Answers(unit="demand", model="forecast", kind="number"),
        Answers(unit="everybodys-customers", model="chance-2be", kind="chance"),  # as long as names may be
    ],
    ids=lambda answers: answers.endpoint,
)
def test_what_is_made_is_clean(answers: Answers, tmp_path: Path) -> None:
    """Ruff finds nothing and would format nothing, with short names and with long ones; every file parses."""
    assert answers.problems() == []
    folder = tmp_path / "project"
    files = render(answers, folder)

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


def test_a_first_endpoint_takes_fifteen_lines_at_most(tmp_path: Path) -> None:
    """The class of the stack, with its docstring."""
    answers = Answers(unit="demand", model="forecast", kind="number")
    stack = render(answers, tmp_path / "project")["demand_forecast/stack.py"].decode()
    (declared,) = (node for node in ast.parse(stack).body if isinstance(node, ast.ClassDef))

    assert declared.end_lineno is not None
    assert declared.end_lineno - declared.lineno + 1 <= 15


def test_the_projects_own_tests_pass(mlops: Run, tmp_path: Path) -> None:
    """A chance is trained, measured by log loss and gated; the stack synthesizes. The pipeline's test runs those of a number."""
    made = mlops("new", "shop", "--unit", "customers", "--model", "returns", "--kind", "chance")
    assert (made.returncode, made.stderr) == (0, "")

    tested = _in_project(tmp_path / "shop", "pytest", "-q", "-k", "not production")

    assert tested.returncode == 0, tested.stdout[-3000:]
    assert "4 passed, 2 deselected" in tested.stdout


def test_fails_with_every_wrong_answer_at_once_and_makes_nothing(in_process: Run, tmp_path: Path) -> None:
    """The folder too; what is there stays as it is."""
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
        (("--model", "y" * 31, "--kind", "number"), "--unit: required, since standard input is not a terminal"),
        ((), "--unit, --model, --kind: required, since standard input is not a terminal"),
        (("--unit", "demand", "--model", "m" * 30, "--kind", "number"), "must have at most 32 characters, got 37"),
        (("--unit", "ab", "--model", "m" * 21, "--kind", "number"), "--model must be 2 to 20 lower-case letters"),
        (("--unit", "ab", "--model", "9fore", "--kind", "number"), "starting with a letter"),
        (
            ("--unit", "aws", "--model", "cdk", "--kind", "number"),
            "make the package 'aws_cdk', which would hide the package of aws-cdk-lib; choose another model name, such as "
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
    """A program is not asked questions; names of jobs have 63 characters."""
    result = in_process("new", "shop", *arguments)

    assert result.returncode == 1
    assert problem in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_fails_where_a_file_has_the_folders_name(in_process: Run, tmp_path: Path) -> None:
    """It is no folder to make anything in."""
    (tmp_path / "shop").write_text("")

    result = in_process("new", "shop", *GOOD)

    assert result.stderr == "mlops: nothing was created: 'shop' is a file; name a folder\n"


def test_fails_beside_what_a_run_that_was_killed_has_left(in_process: Run, tmp_path: Path) -> None:
    """One line, and not a traceback."""
    (tmp_path / ".shop.part").mkdir()

    result = in_process("new", "shop", *GOOD)

    assert result.stderr == (
        "mlops: nothing was created: '.shop.part' exists: another run is using it, or was killed; if none is running, delete it\n"
    )


def test_the_folder_one_stands_in_may_be_filled(in_process: Run, tmp_path: Path) -> None:
    """By its dot, as one that was cloned from nothing; one goes into it anew, as it took the place of the empty one."""
    result = in_process("new", ".", *GOOD)

    assert result.returncode == 0, result.stderr
    assert f"cd {tmp_path} && git init" in result.stdout
    assert (tmp_path / "app.py").is_file()


def test_nothing_is_half_made(in_process: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full in the middle leaves no folder; an empty one that was there stays empty."""
    (tmp_path / "shop").mkdir()

    def write(folder: Path, files: Mapping[str, bytes]) -> None:
        (folder / next(iter(files))).write_bytes(b"")
        raise OSError("no space left on device")

    monkeypatch.setattr(new, "write_all", write)

    assert in_process("new", "shop", *GOOD).returncode == 1
    assert [path.name for path in tmp_path.rglob("*")] == ["shop"]


def test_an_empty_folder_may_be_filled(in_process: Run, tmp_path: Path) -> None:
    """Such as one that was cloned from nothing."""
    (tmp_path / "shop").mkdir()

    assert in_process("new", "shop", *GOOD).returncode == 0
    assert (tmp_path / "shop" / "app.py").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_an_upgrade_keeps_what_somebody_changed(in_process: Run, tmp_path: Path) -> None:
    """Untouched files follow the template, changed ones stay with the new text beside them, deleted ones stay away."""
    assert in_process("new", "shop", *GOOD).returncode == 0
    shop = tmp_path / "shop"
    same = in_process("upgrade", cwd=shop)
    assert (same.returncode, same.stdout) == (0, "nothing to upgrade\n")

    record = json.loads((shop / RECORD).read_text())
    for name in ("app.py", "compliance.py", "ci/aws.sh"):  # as an older template had made them
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
        "left compliance.py as you changed it; merge compliance.py.new, then delete it",
        "removed gone.py",
    ]
    assert "def build" in (shop / "app.py").read_text()
    assert (shop / "compliance.py").read_text() == "# mine\n"
    assert not (shop / "ci/aws.sh").exists()
    assert (shop / "README.md").read_text().startswith("mine")
    assert in_process("upgrade", cwd=shop).stdout == "nothing to upgrade\n"


def test_a_new_file_of_the_template_comes_and_never_over_one_that_is_there() -> None:
    """Even where nothing was recorded of it."""
    found = changes({}, {"a": b"new", "b": b"new", "c": b"same"}, {"b": b"mine", "c": b"same"})

    assert found.written == {"a": b"new", "b.new": b"new"}
    assert found.removed == ()


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (None, "no .mlops-project.json in '.'; run this in a folder created by mlops new"),
        ("{", "does not have the format 'mlops.project/1'; restore it from git"),
        ('{"format": "mlops.project/1", "answers": {"unit": "demand"}, "files": {}}', "does not have the format"),
        (
            '{"format": "mlops.project/1", "answers": {"unit": "x", "model": "forecast", "kind": "number"}, "files": {"a": "b"}}',
            "has invalid answers: --unit must be 2 to 20 lower-case letters",
        ),
        (
            '{"format": "mlops.project/1", "answers": {"unit": "demand", "model": "forecast", "kind": "number"}, "files": ["a"]}',
            "does not have the format",
        ),
        (
            '{"format": "mlops.project/1", "answers": {"unit": "demand", "model": "forecast", "kind": 1}, "files": {"a": "b"}}',
            "does not have the format",
        ),
    ],
)
def test_fails_to_upgrade_what_was_not_made_here(
    in_process: Run, tmp_path: Path, record: str | None, problem: str
) -> None:
    """Nothing is changed."""
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
        ("../outside/kept.txt", "holds '..'"),
        ("ci/../../outside/kept.txt", "holds '..'"),
        ("{outside}/kept.txt", "is absolute"),
        ("link/kept.txt", "points outside the repository"),
        ("link.txt", "points outside the repository"),
        ("circle/a", "points outside the repository"),
        ("a\0", "points outside the repository"),
        (".git/config", "is git's"),
        ("sub/.GIT/config", "is git's"),
        ("ci\\aws.sh", "contains a backslash"),
        ("", "is empty"),
    ],
)
def test_fails_to_upgrade_outside_of_the_repository(in_process: Run, tmp_path: Path, name: str, problem: str) -> None:
    """A record with paths that lead elsewhere is refused by their names; nothing is deleted or written, there or here."""
    assert in_process("new", "shop", *GOOD).returncode == 0
    shop, outside = tmp_path / "shop", tmp_path / "outside"
    for folder in (outside, shop / ".git", shop / "sub/.GIT"):
        folder.mkdir(parents=True)
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
    """A folder of the template that is a link to elsewhere is not written through."""
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
    """The part that a file is written to before it gets its name may be a link to elsewhere; it gives way."""
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


def test_what_is_missing_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Three questions at most, and none for what was given."""
    monkeypatch.setattr(new.sys, "stdin", type("Terminal", (), {"isatty": lambda _: True})())
    answers = {"Name of the model, such as forecast": "forecast"}
    asked: list[str] = []

    def prompt(text: str) -> str:
        asked.append(text)
        return answers.get(text, "number")

    monkeypatch.setattr(new.typer, "prompt", prompt)

    new.new(tmp_path / "shop", unit="demand")

    assert asked == [
        "Name of the model, such as forecast",
        "What it predicts (number: a quantity, chance: how probable)",
    ]
    record = json.loads((tmp_path / "shop" / RECORD).read_text())
    assert record["answers"] == {"unit": "demand", "model": "forecast", "kind": "number"}
