"""``mlops new`` and ``mlops upgrade``: create a business unit's repository, and update it to a newer template.

Of the user's git configuration, only the name is used for the first commit: hooks and signing are disabled, since both may prompt.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from mlops_cli.answers import AsJson, answer
from mlops_cli.aws_account import UserError
from mlops_cli.frameworks import DEFAULT, FRAMEWORKS
from mlops_cli.termination import ended_by_sigterm
from mlops_runtime.training_data.baseline_names import baseline_names
from mlops_runtime.training_data.stored_schema import plain_name, stored_schema
from mlops_runtime.training_data.table_file import TableError
from mlops_runtime.training_data.table_schema import DAY, InputColumn, TableSchema, read_schema, schema_lines

KIND_IN_DATA = "--kind is derived from --data; omit it"
_KINDS = {"number": "a quantity", "chance": "a probability"}
DataFile = Annotated[
    Path | None, typer.Option("--data", help="Parquet or CSV file with training rows. Default: generated rows.")
]
Label = Annotated[str | None, typer.Option(help="With --data: the column to predict.")]
Time = Annotated[str | None, typer.Option(help="With --data: the column with the time of prediction.")]
Key = Annotated[
    str | None, typer.Option(help="With --data: the column that identifies a time series, such as a store.")
]
HoldoutFrom = Annotated[
    str | None,
    typer.Option(help="With --data: start time of the holdout. Default: the last 15 % of the rows, or 200 rows."),
]
Known = Annotated[
    list[str] | None,
    typer.Option(
        help="With --data: a column known at the time of prediction, although the data suggests that it is not."
    ),
]
FrameworkName = Annotated[
    str, typer.Option("--framework", help=f"Framework of the training script: {', '.join(FRAMEWORKS)}.")
]
LeaveOut = Annotated[list[str] | None, typer.Option(help="With --data: a column to exclude.")]
HasStore = Annotated[
    bool,
    typer.Option(
        "--feature-store",
        help="Store features and labels in the unit's feature store, and build training sets from it. Default: the file is the "
        "training set.",
    ),
]
RowKey = Annotated[
    list[str] | None,
    typer.Option(
        help="With --feature-store: a column that, with the key, identifies a row at one time, such as a product."
    ),
]
_OF_A_HOOK = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
_QUIET = ("-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null", "-c", "core.autocrlf=false")


def new(
    folder: Annotated[Path, typer.Argument(help="Folder to create; it must be new or empty.")],
    *,
    data: DataFile = None,
    label: Label = None,
    time: Time = None,
    key: Key = None,
    unit: Annotated[
        str | None, typer.Option(help="Name of the business unit. Default: with --data the folder's name, else prompt.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Name of the model. Default: with --data the label's name, else prompt.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="Without --data: kind of prediction, number or chance. Default: prompt.")
    ] = None,
    holdout_from: HoldoutFrom = None,
    known: Known = None,
    leave_out: LeaveOut = None,
    framework: FrameworkName = DEFAULT,
    feature_store: HasStore = False,
    row_key: RowKey = None,
    environment: Annotated[
        list[str] | None,
        typer.Option(
            help="Environment of a promotion chain, as NAME=ACCOUNT/REGION, repeated in order: the first one trains, each other "
            "takes the models that the one before releases. Append /manual if a person starts deployments and approves models, "
            "or /automatic. Default: only the last one is manual; without any, a development and a production account that both "
            "train."
        ),
    ] = None,
    index: Annotated[
        str | None,
        typer.Option(help="URL of a package index with this library. Default: the source of this installation."),
    ] = None,
    no_git: Annotated[
        bool,
        typer.Option(
            "--no-git",
            help="Create no git repository. Default: create one with a first commit, unless the folder is in one.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create a project for a business unit from a data file or prompts: stack, training code, tests, GitLab pipeline."""
    require_scaffold()
    from mlops_cli.project import RECORD, Answers, ModelAnswers, folder_problems, make_folder, record_of, render
    from mlops_cli.project_environments import read_environments
    from mlops_cli.project_packages import locked, package_sources

    folder = folder if folder.name else folder.resolve()  # the current one
    problems = folder_problems(folder)
    columns = {"label": label, "time": time, "key": key, "holdout-from": holdout_from}
    if data is None:
        problems += [f"--{name} needs --data" for name, value in columns.items() if value is not None]
        unit, model, kind, unanswered = _answered(unit, model, kind, problems)
        schema = made_up_schema(kind, has_store=feature_store) if kind in _KINDS else None
    else:
        unanswered = ()
        if kind is not None:
            problems.append(KIND_IN_DATA)
        unit = _slug(folder.name) if unit is None else unit
        model = _slug(label or "") if model is None else model
        schema = described(data, columns, known or (), leave_out or (), problems)
        if feature_store and schema is not None:
            schema = with_store(data, schema, row_key or (), problems)
    problems += row_key_problems(row_key, data, has_store=feature_store)
    environments, chain_problems = read_environments(environment or ())
    problems += chain_problems
    names = Answers(
        unit=unit or "",
        index=index,
        models=(
            ModelAnswers(
                unit=unit or "", model=model or "", schema=schema or sample_schema("number"), framework=framework
            ),
        ),
    )
    if label is not None or data is None:  # a missing label is reported above
        problems += [each for each in names.problems() if not (unanswered and each.startswith(unanswered))]
    if data is None and kind is not None and schema is None:
        problems.append(f"--kind must be one of {', '.join(_KINDS)}, got {kind!r}")
    if problems or schema is None:
        raise UserError(f"nothing was created: {'; '.join(problems)}")
    answers = replace(names, data=None if data is None else _seen_from(folder, data), environments=environments)
    sources = package_sources(index)
    made: list[str] = []  # message about the git repository
    has_git = not no_git and takes_repository(folder)
    with ended_by_sigterm():
        with tempfile.TemporaryDirectory() as rendered:
            files = render(answers, Path(rendered) / "project", sources)
        whole = {**files, **locked(files), RECORD: record_of(answers, files)}
        make_folder(folder, whole, finish=lambda part: made.append(commit_project(part)) if has_git else None)
    lines = [
        f"created {folder} with {len(files)} files",
        *made,
        *(schema_lines(schema) if data is not None else ()),
        "next:",
    ]
    document = {
        "folder": str(folder),
        "files": sorted(files),
        "unit": unit,
        "endpoint": names.models[0].endpoint,
        "found": list(schema_lines(schema)),
        "git": made[0] if made else None,
        "next": f"cd {shlex.quote(str(folder))} && uv sync && uv run pytest",
    }
    answer(document, "\n".join([*lines, f"  {document['next']}"]), as_json=as_json)


def upgrade(
    folder: Annotated[Path, typer.Argument(help="The repository. Default: the current folder.")] = Path(),
    *,
    as_json: AsJson = False,
) -> None:
    """Update a project to the current template. Edited files are kept; their new version is written to a .new file."""
    require_scaffold()
    from mlops_cli.project import read_record, update
    from mlops_cli.project_packages import package_sources

    answers, made = read_record(folder)
    change = update(folder, answers, made, package_sources(answers.index))
    answer(change.document(), "\n".join(change.lines()), as_json=as_json)


def require_scaffold() -> None:
    """Check that the packages of the ``scaffold`` extra are installed.

    Raises:
        UserError: With each missing package.
    """
    missing = [name for name in ("copier", "duckdb", "pyarrow") if find_spec(name) is None]
    if missing:
        raise UserError(f"mlops new needs {', '.join(missing)}; run: pip install 'mlops-cli[scaffold]'")


def described(
    data: Path, columns: Mapping[str, str | None], known: Sequence[str], without: Sequence[str], problems: list[str]
) -> TableSchema | None:
    """Return the schema of a data file, prompting for what the data cannot show; ``None`` if there are problems.

    Args:
        data: The file.
        columns: Values of the options ``label``, ``time``, ``key`` and ``holdout-from``.
        known: Columns known at the time of prediction.
        without: Columns to exclude.
        problems: Receives all problems.
    """
    if columns["label"] is None:
        problems.append("--label is required with --data: the column to predict")
        if columns["time"] is None:
            problems.append("--time is required with --data: the column with the time of prediction")
        return None
    known, without = list(known), list(without)
    while True:
        try:
            return read_schema(
                data,
                label=columns["label"],
                time=columns["time"],
                key=columns["key"],
                holdout_from=columns["holdout-from"],
                known=known,
                without=without,
            )
        except TableError as error:
            if problems or len(error.questions) < len(error.problems) or not sys.stdin.isatty():
                problems += error.problems
                return None
            for name, why in zip(error.questions, error.problems, strict=True):
                print(why, file=sys.stderr)
                is_known = typer.confirm(f"Is {name} known at the time of prediction?", err=True)
                (known if is_known else without).append(name)


def with_store(data: Path, schema: TableSchema, entities: Sequence[str], problems: list[str]) -> TableSchema | None:
    """Return a schema with features in a feature store; ``None`` if there are problems.

    Args:
        data: The file.
        entities: Columns that, with the key, identify a row at one time.
        problems: Receives all problems.
    """
    try:
        return stored_schema(data, schema, entities=entities)
    except TableError as error:
        problems += error.problems
        return None


def row_key_problems(entities: Sequence[str] | None, data: Path | None, *, has_store: bool) -> list[str]:
    """Return the options that ``--row-key`` requires and that are missing."""
    if not entities:
        return []
    given = {"--feature-store": has_store, "--data": data is not None}
    return [f"--row-key needs {name}" for name, is_given in given.items() if not is_given]


def made_up_schema(kind: str, *, has_store: bool) -> TableSchema:
    """Return the schema of the generated sample table, with or without a feature store."""
    schema = sample_schema(kind)
    if not has_store:
        return schema
    import pyarrow.parquet as pq

    from mlops_runtime.training_data.sample_rows import sample_table

    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.parquet"
        pq.write_table(sample_table(schema), rows)
        return stored_schema(rows, schema)


def sample_schema(kind: str) -> TableSchema:
    """Return the schema of the sample table: sales of stores (``number``), or purchases of customers (``chance``)."""
    if kind == "number":
        key = InputColumn(
            name="store",
            type="category",
            kind="text",
            nullable=False,
            categories=tuple(f"s{n:02}" for n in range(1, 25)),
        )
        return TableSchema(
            label="units",
            label_kind="number",
            metric="wape",
            time="week",
            block="store",
            cluster=DAY,
            baselines=baseline_names("store"),
            inputs=(
                key,
                InputColumn(name="price", type="number", kind="float", nullable=False, low=1.0, high=20.0),
                InputColumn(name="promotion", type="number", kind="boolean", nullable=False),
            ),
            left_out=(),
            rows=2400,
            holdout_rows=360,
            minimum_rows=200,
            low=5.0,
            high=90.0,
            key="store",
            key_kind="text",
        )
    return TableSchema(
        label="bought",
        label_kind="chance",
        metric="log_loss",
        time="week",
        block="segment",
        cluster="segment",
        baselines=baseline_names("segment", is_chance=True),
        inputs=(
            InputColumn(name="days_since_visit", type="number", kind="integer", nullable=True, low=0.0, high=60.0),
            InputColumn(name="spend", type="number", kind="float", nullable=False, low=0.0, high=200.0),
            InputColumn(name="has_coupon", type="number", kind="boolean", nullable=False),
        ),
        left_out=(),
        rows=2400,
        holdout_rows=360,
        minimum_rows=200,
        key="segment",
        key_kind="text",
    )


def _answered(
    unit: str | None, model: str | None, kind: str | None, problems: list[str]
) -> tuple[str | None, str | None, str | None, tuple[str, ...]]:
    """Return unit, model and kind, prompted for on a terminal if missing, and the options that remain missing."""
    given = {"unit": unit, "model": model, "kind": kind}
    missing = tuple(f"--{name}" for name, value in given.items() if value is None)
    if missing and not sys.stdin.isatty():
        problems.append(
            f"{', '.join(missing)}: required, because standard input is not a terminal to prompt on; or give --data"
        )
        return unit, model, kind, missing
    if not missing or problems:
        return unit, model, kind, missing
    questions = {
        "unit": "Name of the business unit, such as demand",
        "model": "Name of the model, such as forecast",
        "kind": f"Kind of prediction ({', '.join(f'{kind}: {what}' for kind, what in _KINDS.items())})",
    }
    prompted = {
        name: typer.prompt(questions[name], err=True) if value is None else value for name, value in given.items()
    }
    return prompted["unit"], prompted["model"], prompted["kind"], ()


def _slug(text: str) -> str:
    """Return a valid name derived from the name of a folder or column.

    Example:
        >>> _slug("Stück (Woche)")
        'stueck-woche'
    """
    return plain_name(text)[:20].strip("-")


def _seen_from(folder: Path, data: Path) -> str:
    """Return a file's path relative to a repository; only its name if it is more than one folder above."""
    path = os.path.relpath(data, folder)
    return path if path.count("..") <= 1 else data.name


def takes_repository(folder: Path) -> bool:
    """Return whether git is installed, and a folder to create would be outside of any repository."""
    if shutil.which("git") is None:
        return False
    above = next(each for each in folder.absolute().parents if each.is_dir())
    return _git(above, "rev-parse", "--git-dir").returncode != 0


def commit_project(folder: Path) -> str:
    """Create a repository in a folder, and commit its files if git has a user name; return a message about the result."""
    made = _git(folder, "init", "--quiet", "--initial-branch", "main")
    if made.returncode == 0:
        made = _git(folder, "add", "--all")
    if made.returncode != 0:  # an old git, or an unsuitable file system
        shutil.rmtree(folder / ".git", ignore_errors=True)
        return f"no git repository was created: {_git_message(made)}"
    if _git(folder, "var", "GIT_COMMITTER_IDENT").returncode != 0:
        return 'a git repository with all files staged; to commit, set your name: git config user.name "..."'
    done = _git(folder, *_QUIET, "commit", "--quiet", "--message", "Create the project")
    if done.returncode != 0:
        return f"a git repository with all files staged; the commit failed: {_git_message(done)}"
    return "a git repository with a first commit"


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # when run by a git hook, these variables name the hook's repository
    environment = {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    return subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def _git_message(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr or done.stdout).strip().splitlines()
    return lines[-1] if lines else f"git exited with {done.returncode}"
