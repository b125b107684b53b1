"""Conventions of all verbs: order and names of options, ``--json``, exit codes."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from mlops_cli import __main__
from mlops_cli.__main__ import app, main
from mlops_cli.aws_account import UserError, VerdictError

ROOT = Path(__file__).resolve().parents[2]
SOURCES = Path(__main__.__file__).parent

# local only: these never call AWS and have no profile
EMBEDDED = (
    "deploy",
    "destroy",
    "local up",
    "local down",
    "local status",
    "local logs",
    "local env",
    "local browse",
    "local clock",
    "local image add",
    "local image list",
    "local image remove",
)
# read and write files, or one URL, without a cloud
OFFLINE = (
    "new",
    "upgrade",
    "add model",
    "add environment",
    "unit create",
    "accounts show",
    "demo",
    "assets build",
    "audit machine",
    "models verify",
    "features lock",
    "monitor dashboard",
    "serving check",
    "api export",
    "api schema",
    "image build",
    "image lock",
    "terraform export",
)
# lists of names without an order in time
UNORDERED = ("features list", "local image list")
# meaning of each option name, for all verbs
OPTIONS = {
    "--owner": "who answers for a unit",
    "--cost-center": "who pays for a unit",
    "--place": "account and Region of a unit",
    "--defaults": "what a platform declares",
    "--project": "of GitLab",
    "--development": "data go with the stack",
    "--unit-tag": "of a unit's resources",
    "--again": "the same is asked although it was done",
    "--allow": "logical id whose loss is allowed",
    "--app": "command that synthesizes",
    "--architecture": "of processors",
    "--as-of": "time as of which rows are known",
    "--backfill": "times may be old",
    "--baseline": "file of counts to compare with",
    "--browser": "program that shows pages",
    "--check": "a file that is checked, and nothing else done",
    "--clean": "remove what an earlier run left",
    "--cluster": "kind of blocks of rows",
    "--column": "of a table",
    "--environment": "an account and Region of a chain",
    "--condition": "what the rows must be",
    "--content-type": "of a request",
    "--context": "folder of a build",
    "--correct": "rows that exist are replaced",
    "--create": "make what is missing",
    "--data": "file of rows",
    "--costs": "ask what it cost",
    "--environments": "file of accounts and Regions",
    "--ended": "pending builds whose processes are known to have ended",
    "--entities": "file of keys and times",
    "--entity": "keys of one thing",
    "--every-hours": "step between windows",
    "--feature-store": "a generated project keeps features in its unit's store",
    "--features": "groups and columns",
    "--folder": "of copied files",
    "--follow": "what comes until interrupted, or the chain of another account that records name",
    "--account": "account of the embedded cloud",
    "--accounts": "how many accounts the embedded cloud has",
    "--forget": "delete what would be kept",
    "--format": "of files of rows",
    "--free": "only what costs nothing",
    "--from": "start of a time span",
    "--gitlab": "checks of a pipeline",
    "--glue": "for jobs of Glue",
    "--group": "package group",
    "--groups": "module or file that declares feature groups",
    "--head": "hash of a chain's newest record",
    "--holdout-from": "first time of the holdout",
    "--home": "folder of the embedded cloud",
    "--ids": "column that names a row",
    "--image": "of containers",
    "--image-only": "the lock of the image alone",
    "--in-use": "what may be erased although used",
    "--include-in-use": "the same for all",
    "--index": "of packages",
    "--json": "one document on standard output",
    "--jump": "time that the embedded clock passes over",
    "--keep": "leave the cloud running",
    "--key": "idempotency key of a batch, or the column whose values have histories",
    "--known": "columns that are known at the time of prediction",
    "--kind": "of unit",
    "--label": "column that is predicted",
    "--label-delay": "until the label of a row is due",
    "--labels": "column of labels that are sent when due",
    "--last": "how many of the newest",
    "--layer": "name of a layer",
    "--leave-out": "columns that are not sent, or no inputs",
    "--read": "path of the console's API",
    "--row-key": "columns that beside the key tell rows of one time apart",
    "--framework": "what a made training script learns with",
    "--lock": "file of feature groups",
    "--mapping": "file of `cdk import --resource-mapping`",
    "--max-rows": "of a call",
    "--max-usd": "bound of a cost",
    "--model": "name of a model",
    "--no-git": "a project is no repository",
    "--no-wait": "end before the verdict",
    "--now": "rows are sent at once",
    "--open": "show it in the browser",
    "--output": "file, folder or place in S3 that is written",
    "--packages": "environments and packages beside a state",
    "--path": "folder of a feature store",
    "--pid": "process that is watched",
    "--pipeline": "of a run",
    "--platform": "of an image",
    "--port": "on 127.0.0.1",
    "--predictions": "file of predictions",
    "--prices": "the price table and AWS's list",
    "--profile": "of the AWS configuration",
    "--public-key": "file of a key",
    "--publish-only": "a training set is published, and nothing trained",
    "--query": "of Athena",
    "--reason": "what a person answers for",
    "--region": "of AWS",
    "--replace-newer": "an older training set takes the place of a newer one",
    "--repository": "of images",
    "--request": "file that is sent",
    "--requirements": "lock of an environment",
    "--role": "to act in, or to assume",
    "--runtime": "wheel of mlops-runtime",
    "--scale": "speed of the embedded clock",
    "--semantics": "of a join",
    "--sequence": "number of an audit record",
    "--serve": "command that serves",
    "--set": "a threshold to try",
    "--sha256": "hash that is looked for",
    "--shift": "of times of rows",
    "--signature": "file of a signature",
    "--snapshot": "version of a table",
    "--source-profile": "of the account that released",
    "--speed": "of a replay",
    "--step": "job of a run",
    "--tag": "of an image",
    "--own": "the way of a file",
    "--target": "where models are served",
    "--text": "columns whose values are texts",
    "--time": "column of times",
    "--time-zone": "zone of times without one",
    "--objects-only": "rows of calls are never arrays",
    "--on": "columns of entity rows that hold the keys of a use of a group",
    "--engine": "what builds a training set, at any size",
    "--timestamp": "column of times",
    "--to": "end of a time span, or the version to go back to",
    "--tracking-uri": "of an MLflow server",
    "--trust": "what loading a model may do",
    "--unit": "business unit",
    "--value": "column of labels",
    "--venv": "environment of Python",
    "--wait": "follow to the end",
    "--wait-seconds": "how long others are waited for",
    "--watch": "follow until interrupted",
    "--window": "of a monitor",
    "--window-hours": "length of windows",
    "--write": "into the app's settings",
    "--yes": "do not ask",
    "--workgroup": "that runs a query",
}
Run = Callable[..., subprocess.CompletedProcess[str]]


def leaves(command: Any = None, path: str = "") -> Iterator[tuple[str, Any]]:
    """Return every verb by its full name."""
    command = get_command(app) if command is None else command
    children = getattr(command, "commands", {})
    if not children:
        yield path, command
    for name, child in children.items():
        yield from leaves(child, f"{path} {name}".strip())


VERBS = dict(leaves())


def options(command: Any) -> set[str]:
    """Return the option names of a verb, as typed."""
    return {option for each in command.params if each.param_type_name != "argument" for option in each.opts} - {
        "--help"
    }


def prompts(name: str) -> set[str]:
    """Return the verb's options that choose an account."""
    return set() if name in OFFLINE else {"--home"} if name in EMBEDDED else {"--home", "--profile"}


def test_every_verb_that_asks_a_cloud_says_which() -> None:
    """Verbs that call a cloud have the same two options; others have neither."""
    wrong = {
        name: options(command) & {"--home", "--profile"}
        for name, command in VERBS.items()
        if options(command) & {"--home", "--profile"} != prompts(name)
    }

    assert wrong == {}


def test_every_verb_prints_json() -> None:
    """Every verb supports JSON."""
    assert [name for name, command in VERBS.items() if "--json" not in options(command)] == []


def test_names_of_options_are_those_of_the_table() -> None:
    """Option names have one meaning everywhere: a new name needs a line in the table."""
    unknown = {name: found for name, command in VERBS.items() if (found := options(command) - set(OPTIONS))}
    used = {option for command in VERBS.values() for option in options(command)}

    assert unknown == {}
    assert sorted(set(OPTIONS) - used) == []


def test_lists_take_last() -> None:
    """Callers choose the length of a list."""
    lists = [name for name in VERBS if name.split()[-1] in ("list", "logs") and name not in UNORDERED]

    assert [name for name in lists if "--last" not in options(VERBS[name])] == []


def test_files_that_are_written_are_named_by_output() -> None:
    """Applies to all verbs; `plan --mapping` has the name of cdk's option."""
    written = {
        (name, each.opts[0])
        for name, command in VERBS.items()
        for each in command.params
        if each.param_type_name != "argument"
        and each.type_descriptor.annotation is Path
        and re.match(r"(File|Folder) to write|Write", each.help or "")
    }

    assert {each for each in written if each[1] != "--output"} == {("plan", "--mapping")}


def test_arguments_that_may_be_left_out_come_last() -> None:
    """Otherwise none could be omitted."""
    for name, command in VERBS.items():
        required = [each.required for each in command.params if each.param_type_name == "argument"]
        assert required == sorted(required, reverse=True), name


# they need no cloud: one is started, and a list may be empty
ON_CLOUDS = sorted(name for name in VERBS if name not in (*OFFLINE, "local up", "local image list"))


def required(command: Any) -> list[str]:
    """Return arguments that satisfy the parser."""
    given: list[str] = []
    for each in command.params:
        if each.required:
            given += ["x"] if each.param_type_name == "argument" else [each.opts[0], "x"]
    return given


@pytest.mark.parametrize("name", ON_CLOUDS)
def test_a_refusal_is_one_document_too(
    name: str, in_process: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs always read standard output; people read one line on standard error."""
    monkeypatch.chdir(tmp_path)

    result = in_process(*name.split(), *required(VERBS[name]), "--json", "--home", tmp_path / "none")

    assert result.returncode == (3 if name == "doctor" else 1)
    assert json.loads(result.stdout)["error"] in result.stderr
    assert "Traceback" not in result.stderr


def test_a_wrong_option_is_one_document_too(in_process: Run) -> None:
    """Usage errors exit with 2, as in other shell tools."""
    result = in_process("train", "--json", "--bogus")

    assert result.returncode == 2
    assert json.loads(result.stdout) == {"error": "No such option: --bogus"}


def test_without_json_a_refusal_is_text_alone(in_process: Run, tmp_path: Path) -> None:
    """Prints nothing on standard output, which may be redirected to a file."""
    result = in_process("status", "--home", tmp_path / "none")

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("mlops: no embedded cloud runs in ")


@pytest.mark.parametrize(
    ("error", "code", "document"),
    [
        (UserError("no"), 1, {"error": "no"}),
        (UserError("no", document={"refused": 2}), 1, {"error": "no", "refused": 2}),
        (VerdictError("it differs", document={"findings": []}), 3, {"error": "it differs", "findings": []}),
    ],
)
def test_codes_and_documents_of_errors(
    error: UserError,
    code: int,
    document: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A negative result is not a failure of the command, and has a document."""

    def fail(**_options: object) -> None:
        raise error

    monkeypatch.setattr(__main__, "app", fail)
    monkeypatch.setattr(sys, "argv", ["mlops", "any", "--json"])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == code
    assert json.loads(capsys.readouterr().out) == document


def test_an_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Follows shell convention; leaving a prompt counts too."""
    from mlops_cli import status

    def interrupt(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(status, "account", interrupt)
    monkeypatch.setattr(sys, "argv", ["mlops", "status"])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 130
    assert "Traceback" not in capsys.readouterr().err


def test_prints_its_version(in_process: Run) -> None:
    """Prints the version for bug reports."""
    result = in_process("--version")

    assert (result.returncode, result.stdout) == (0, "mlops 0.1.0\n")


def test_completes_in_shells() -> None:
    """Enables Typer's own completion."""
    result = subprocess.run(
        [sys.executable, "-m", "mlops_cli"],
        env={"_MLOPS_COMPLETE": "complete_bash", "COMP_WORDS": "mlops models s", "COMP_CWORD": "2"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.stdout.split() == ["show"]


def test_tables_are_printed_in_one_way() -> None:
    """Other tables would be cut at 80 columns when piped."""
    wrong = [
        path.name
        for path in sorted(SOURCES.glob("*.py"))
        if path.name != "answers.py" and "rich.table" in path.read_text("utf-8")
    ]

    assert wrong == []


def test_codes_are_named() -> None:
    """No verb has its own exit code."""
    wrong = [
        f"{path.name}:{node.lineno}"
        for path in sorted(SOURCES.glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "typer.Exit"
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and node.args[0].value not in (0, 1, 130)
    ]

    assert wrong == []


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "packages").glob("*/README.md"))]


def test_pages_quote_verbs_as_they_are() -> None:
    """Quoted verbs and options exist; worklogs and the changelog are excluded."""
    wrong: list[str] = []
    quoted: set[str] = set()
    for page in PAGES:
        if "worklog" in page.parts:
            continue
        for line in re.findall(
            r"`(mlops [a-z][^`]+)`|^(?: {4}|\$ )?(mlops [a-z].+)$", page.read_text("utf-8"), re.MULTILINE
        ):
            reported = line[0] or line[1]
            name = max(
                (known for known in VERBS if f"{reported} ".startswith(f"mlops {known} ")), key=len, default=None
            )
            if name is None and any(known.startswith(f"{reported.removeprefix('mlops ')} ") for known in VERBS):
                continue  # a group of verbs
            if name is None:
                wrong.append(f"{page.relative_to(ROOT)}: {reported}")
                continue
            quoted.add(name)
            unknown = (
                set(re.findall(r"(?<= )--[a-z][a-z0-9-]*", reported.partition(" #")[0]))
                - options(VERBS[name])
                - {"--help"}
            )
            wrong += [f"{page.relative_to(ROOT)}: {reported}: {sorted(unknown)}"] if unknown else []

    assert len(quoted) > 60
    assert wrong == []
