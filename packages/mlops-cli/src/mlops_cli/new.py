"""``mlops new`` and ``mlops upgrade``: a business unit's repository, and a later version of what it was made from."""

import os
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_cli.answers import AsJson, answer
from mlops_cli.aws_account import UserError
from mlops_cli.frameworks import DEFAULT, FRAMEWORKS
from mlops_cli.termination import ended_by_sigterm

if TYPE_CHECKING:
    from mlops_runtime.training_data.table_schema import TableSchema

KIND_IN_DATA = "--kind is found in the data; leave it out"
_KINDS = {"number": "a quantity", "chance": "how probable"}
DataFile = Annotated[
    Path | None,
    typer.Option(
        "--data", help="Parquet or CSV file with rows to learn from. Default: rows are made up.", show_default=False
    ),
]
Label = Annotated[str | None, typer.Option(help="With --data: the column that is to be predicted.", show_default=False)]
Time = Annotated[
    str | None, typer.Option(help="With --data: the column with the time of prediction.", show_default=False)
]
Key = Annotated[
    str | None,
    typer.Option(
        help="With --data: the column whose values have histories of their own, such as a store.", show_default=False
    ),
]
HoldoutFrom = Annotated[
    str | None,
    typer.Option(
        help="With --data: first time of the holdout. Default: the last 15 % of the rows, or 200 rows.",
        show_default=False,
    ),
]
Known = Annotated[
    list[str] | None,
    typer.Option(help="With --data: a column that is known at the time of prediction, though it looks otherwise."),
]
FrameworkName = Annotated[
    str, typer.Option("--framework", help=f"What the training script learns with: {', '.join(FRAMEWORKS)}.")
]
LeaveOut = Annotated[list[str] | None, typer.Option(help="With --data: a column to leave out.")]
HasStore = Annotated[
    bool,
    typer.Option(
        "--feature-store",
        help="Keep features and labels in the unit's feature store, from which each training set is built. Default: the file "
        "itself is the training set.",
    ),
]
RowKey = Annotated[
    list[str] | None,
    typer.Option(
        help="With --feature-store: a column that beside the key tells rows of one time apart, such as a product."
    ),
]


def new(
    folder: Annotated[Path, typer.Argument(help="Folder to create; it must be new or empty.")],
    *,
    data: DataFile = None,
    label: Label = None,
    time: Time = None,
    key: Key = None,
    unit: Annotated[
        str | None,
        typer.Option(
            help="Name of the business unit. Default: with --data that of the folder, else prompt.", show_default=False
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Name of the model. Default: with --data that of the label, else prompt.", show_default=False
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(help="Without --data: what it predicts, number or chance. Default: prompt.", show_default=False),
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
            help="An account and Region of a chain, as NAME=ACCOUNT/REGION, the first one first: there the model is trained, each "
            "other takes what the one before releases. With /manual a person starts its deployment and approves each model, with "
            "/automatic none does. Default: the last one is manual; without any, a development and a production account that each "
            "train their own.",
            show_default=False,
        ),
    ] = None,
    index: Annotated[
        str | None,
        typer.Option(help="URL of a package index that has this library. Default: as it is installed here."),
    ] = None,
    no_git: Annotated[
        bool,
        typer.Option(
            "--no-git", help="Make no git repository. Default: one with a first commit, if the folder lies in none."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create a project for a business unit: stack, training code, tests, GitLab pipeline; from a file or from questions."""
    require_scaffold()
    from mlops_cli.project import RECORD, Answers, ModelAnswers, folder_problems, make_folder, record_of, render
    from mlops_cli.project_environments import read_environments
    from mlops_cli.project_packages import locked, package_sources
    from mlops_cli.project_repository import commit_project, takes_repository
    from mlops_runtime.training_data.table_schema import told

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
    if label is not None or data is None:  # else its name is missing for that reason
        problems += [each for each in names.problems() if not (unanswered and each.startswith(unanswered))]
    if data is None and kind is not None and schema is None:
        problems.append(f"--kind must be one of {', '.join(_KINDS)}, got {kind!r}")
    if problems or schema is None:
        raise UserError(f"nothing was created: {'; '.join(problems)}")
    answers = replace(names, data=None if data is None else _seen_from(folder, data), environments=environments)
    sources = package_sources(index)
    made: list[str] = []  # what became of git
    has_git = not no_git and takes_repository(folder)
    with ended_by_sigterm():
        with tempfile.TemporaryDirectory() as rendered:
            files = render(answers, Path(rendered) / "project", sources)
        whole = {**files, **locked(files), RECORD: record_of(answers, files)}
        make_folder(folder, whole, finish=lambda part: made.append(commit_project(part)) if has_git else None)
    lines = [f"created {folder} with {len(files)} files", *made, *(told(schema) if data is not None else ()), "next:"]
    document = {
        "folder": str(folder),
        "files": sorted(files),
        "unit": unit,
        "endpoint": names.models[0].endpoint,
        "found": list(told(schema)),
        "git": made[0] if made else None,
        "next": f"cd {shlex.quote(str(folder))} && uv sync && uv run pytest",
    }
    answer(document, "\n".join([*lines, f"  {document['next']}"]), as_json=as_json)


def upgrade(
    folder: Annotated[Path, typer.Argument(help="The repository. Default: the current folder.")] = Path(),
    *,
    as_json: AsJson = False,
) -> None:
    """Update a project to the current template. Local edits are kept; the new version is written to a .new file."""
    require_scaffold()
    from mlops_cli.project import read_record, update
    from mlops_cli.project_packages import package_sources

    answers, made = read_record(folder)
    change = update(folder, answers, made, package_sources(answers.index))
    answer(change.document(), "\n".join(change.lines()), as_json=as_json)


def require_scaffold() -> None:
    """Check that what makes projects is installed.

    Raises:
        UserError: With each package that is missing.
    """
    missing = [name for name in ("copier", "duckdb", "pyarrow") if find_spec(name) is None]
    if missing:
        raise UserError(f"mlops new needs {', '.join(missing)}; run: pip install 'mlops-cli[scaffold]'")


def described(
    data: Path, columns: Mapping[str, str | None], known: Sequence[str], without: Sequence[str], problems: list[str]
) -> "TableSchema | None":
    """Return what a file holds, asking a person what only a person knows; None where there are problems.

    Args:
        data: The file.
        columns: ``label``, ``time``, ``key`` and ``holdout-from`` as given.
        known: Columns that are known at the time of prediction.
        without: Columns to leave out.
        problems: Gets every problem that is found.
    """
    from mlops_runtime.training_data.table_file import TableError
    from mlops_runtime.training_data.table_schema import read_schema

    if columns["label"] is None:
        problems.append("--label is required with --data: the column that is to be predicted")
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


def with_store(data: Path, schema: "TableSchema", entities: Sequence[str], problems: list[str]) -> "TableSchema | None":
    """Return a schema whose features are kept in a store; None where there are problems.

    Args:
        data: The file.
        schema: What it holds.
        entities: Columns that beside the key tell rows of one time apart.
        problems: Gets every problem that is found.
    """
    from mlops_runtime.training_data.stored_schema import stored_schema
    from mlops_runtime.training_data.table_file import TableError

    try:
        return stored_schema(data, schema, entities=entities)
    except TableError as error:
        problems += error.problems
        return None


def row_key_problems(entities: Sequence[str] | None, data: Path | None, *, has_store: bool) -> list[str]:
    """Return which option is missing where entities are named."""
    if not entities:
        return []
    given = {"--feature-store": has_store, "--data": data is not None}
    return [f"--row-key needs {name}" for name, is_given in given.items() if not is_given]


def made_up_schema(kind: str, *, has_store: bool) -> "TableSchema":
    """Return what the made-up table of a kind holds, with its features in a store or not."""
    schema = sample_schema(kind)
    if not has_store:
        return schema
    import pyarrow.parquet as pq

    from mlops_runtime.training_data.sample_rows import sample_table
    from mlops_runtime.training_data.stored_schema import stored_schema

    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.parquet"
        pq.write_table(sample_table(schema), rows)
        return stored_schema(rows, schema)


def sample_schema(kind: str) -> "TableSchema":
    """Return what the made-up table of a kind holds: sales of stores, or purchases of customers."""
    from mlops_runtime.training_data.baseline_names import baseline_names
    from mlops_runtime.training_data.table_schema import DAY, InputColumn, TableSchema

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
    """Return the three answers, asked for where they are missing and a person is there, and the options without one."""
    given = {"unit": unit, "model": model, "kind": kind}
    missing = tuple(f"--{name}" for name, value in given.items() if value is None)
    if missing and not sys.stdin.isatty():
        problems.append(
            f"{', '.join(missing)}: required, since standard input is not a terminal and mlops cannot prompt; or give --data"
        )
        return unit, model, kind, missing
    if not missing or problems:
        return unit, model, kind, missing
    questions = {
        "unit": "Name of the business unit, such as demand",
        "model": "Name of the model, such as forecast",
        "kind": f"What it predicts ({', '.join(f'{kind}: {what}' for kind, what in _KINDS.items())})",
    }
    asked = {name: typer.prompt(questions[name], err=True) if value is None else value for name, value in given.items()}
    return asked["unit"], asked["model"], asked["kind"], ()


def _slug(text: str) -> str:
    """Return a name that is allowed, of a folder's or column's.

    Example:
        >>> _slug("Stück (Woche)")
        'stueck-woche'
    """
    from mlops_runtime.training_data.plain_names import plain_name

    return plain_name(text)[:20].strip("-")


def _seen_from(folder: Path, data: Path) -> str:
    """Return a file's path from a repository; its name alone where that path would say much of this machine."""
    path = os.path.relpath(data, folder)
    return path if path.count("..") <= 1 else data.name
