"""Arguments of ``mlops features``: the feature store, groups, training sets and files that a verb works on."""

import importlib
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_cli.aws_account import Account, UserError, account
from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.contracts.unit_entries import FeatureStoreEntry
from mlops_runtime.features.feature_group import FeatureGroup, FeatureGroupError

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_runtime.features.store_client import FeatureStoreClient

Folder = Annotated[Path | None, typer.Option("--path", help="Folder of a local feature store.")]
Unit = Annotated[str | None, typer.Option(help="Business unit that owns the deployed feature store.")]

LOCK_FILE = "features.lock.json"
MIN_DIGITS = 6  # of an abbreviated training set id


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An opened feature store."""

    name: str  # folder name of a local store, business unit of a deployed one
    client: "FeatureStoreClient"
    now: datetime  # current time, of the store's cloud or of this machine
    unit: str | None = None  # the business unit; `None` for a local store
    aws: Account | None = None  # the account; `None` for a local store
    entry: FeatureStoreEntry | None = None  # the store's SSM entry; `None` for a local store


@contextmanager
def opened(
    path: Path | None,
    unit: str | None,
    profile: str | None,
    home: Path | None,
    *,
    may_make: bool = False,
    erases: bool = False,
) -> Iterator[Place]:
    """Open a feature store; errors of the store or AWS in the block become one-line messages.

    Args:
        path: Folder of a local store.
        unit: Business unit of a deployed store.
        profile: Profile of the AWS configuration.
        home: Folder of an embedded cloud.
        may_make: Whether to create a missing local store. Default: a missing store is an error.
        erases: See ``deployed``.

    Raises:
        UserError: If neither or both of ``path`` and ``unit`` are given, the store is missing, or for an error in the block.
    """
    if (path is None) == (unit is None):
        raise UserError("name a feature store: --path FOLDER for a local one, or --unit NAME for a deployed one")
    try:
        from mlops_runtime.features.batch_delivery import AnnounceError
        from mlops_runtime.features.store_client import FeatureStoreClient
    except ImportError as error:
        raise UserError(f"mlops features needs {error.name}; run: pip install 'mlops-runtime[features]'") from error
    try:
        if path is not None:
            if profile is not None or home is not None:
                raise UserError("--profile and --home require --unit; a local folder needs no account")
            if not may_make and not (path / "catalog.db").is_file():
                raise UserError(
                    f"no feature store found in {path}; create one with mlops features ingest or FeatureStoreClient.local"
                )
            now = datetime.now(UTC)
            yield Place(name=path.name, client=FeatureStoreClient.local(path, now=lambda: now), now=now)
            return
        with account(profile, home) as aws:
            yield deployed(str(unit), aws, erases=erases)
    except (ValueError, OSError, AnnounceError) as error:
        raise UserError(" ".join(str(error).split())) from error


def deployed(unit: str, aws: Account, *, erases: bool = False) -> Place:
    """Return the feature store of a unit.

    Args:
        aws: The account.
        erases: Whether the client erases entities, which includes the online store if there is one. Default: the client does not
            use the online store, to which the store's own function publishes ingested rows.

    Raises:
        UserError: If the unit has no feature store.
    """
    from mlops_runtime.features.deployed_store import open_store

    _, now = aws.caller()
    client, entry = open_store(aws.client, aws.environment(), unit=unit, now=now, erases=erases)
    return Place(name=unit, client=client, now=now, unit=unit, aws=aws, entry=entry)


def package_groups(place: Place) -> list[str]:
    """Return the model package groups of a store's unit; an empty list for a local store."""
    if place.aws is None or place.unit is None:
        return []

    ssm = place.aws.client("ssm")
    endpoints, pipelines = Entries(ssm=ssm).of_unit(place.unit)
    pages = ssm.get_paginator("get_parameters_by_path").paginate(Path=f"/mlops/{place.unit}/registry/")
    registered = [p["Name"].rpartition("/")[2] for page in pages for p in page["Parameters"]]
    return list(dict.fromkeys([*registered, *(e.group for e in endpoints), *(p.group for p in pipelines)]))


def load_groups(groups: str, folder: Path | None = None) -> tuple[ModuleType, tuple[FeatureGroup, ...]]:
    """Return a module, searched first in a folder, and the feature groups that it declares: ``<module>:<name>``.

    Raises:
        UserError: If the module or the name is missing, the module does not load, or the name is not a sequence of groups.
    """
    name, _, attribute = groups.partition(":")
    if not name or not attribute:
        raise UserError(f"groups must be <module>:<name>, got {groups!r}")
    if (place := str(Path.cwd() if folder is None else folder)) not in sys.path:
        sys.path.insert(0, place)
    try:
        module = importlib.import_module(name)
    except Exception as error:
        # the user's module may raise anything; our own errors are clear without their class name
        cause = error.msg if isinstance(error, SyntaxError) else str(error)
        kind = "" if isinstance(error, FeatureGroupError | ImportError) else f"{type(error).__name__}: "
        raise UserError(f"cannot load module {name!r}: {_line_of(error)}{kind}{' '.join(cause.split())}") from error
    found = getattr(module, attribute, None)
    if not isinstance(found, list | tuple) or not found or not all(isinstance(group, FeatureGroup) for group in found):
        raise UserError(
            f"{groups!r} must be a tuple or list of FeatureGroup, got {'nothing' if found is None else repr(found)[:80]}"
        )
    return module, tuple(found)


def table_of(place: Place, group: str) -> str:
    """Return the table of a group, named by its table or, if it has only one version, by its group name.

    Raises:
        UserError: If no table or several tables match.
    """
    from mlops_runtime.features.training_set_request import TrainingSetError, resolved

    try:
        return resolved("", [group], place.client.table_names())[group]
    except TrainingSetError as error:
        raise UserError(str(error).removeprefix("training set : ")) from error


def full_id(place: Place, given: str) -> str:
    """Return the full id of a training set from its first digits.

    Raises:
        UserError: If these are not hexadecimal digits, are too few, or do not match exactly one id.
    """
    if not re.fullmatch(rf"[0-9a-f]{{{MIN_DIGITS},64}}", given):
        raise UserError(f"a training set is named by {MIN_DIGITS} to 64 hexadecimal digits of its id, got {given!r}")
    if len(given) == 64:
        return given
    found = [each for each in place.client.manifests.ids() if each.startswith(given)]
    if len(found) != 1:
        how_many = f"{len(found)} training sets have" if found else "no training set has"
        raise UserError(
            f"{how_many} an id that starts with {given!r}; give more digits, or find the id in the catalogue"
        )
    return found[0]


def pairs(option: str, given: Sequence[str]) -> list[tuple[str, str]]:
    """Return the names and values of ``NAME=VALUE`` arguments.

    Raises:
        UserError: If an argument has another form, or a name is repeated.
    """
    found = [(name, value) for name, sign, value in (each.partition("=") for each in given) if name and sign and value]
    if len(found) < len(given):
        wrong = [each for each in given if not re.fullmatch(r"[^=]+=.+", each)]
        raise UserError(f"{option} must be NAME=VALUE, got {', '.join(map(repr, wrong))}")
    twice = sorted({name for name, _ in found if [n for n, _ in found].count(name) > 1})
    if twice:
        raise UserError(f"{option} names {', '.join(twice)} more than once")
    return found


def read_parquet(option: str, path: Path) -> "pa.Table":
    """Return the rows of a Parquet file given as an option.

    Raises:
        UserError: If the file is not a readable Parquet file.
    """
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UserError("mlops features needs pyarrow; run: pip install 'mlops-runtime[features]'") from error
    try:
        return pq.read_table(path)
    except (OSError, ValueError) as error:
        why = "the file does not exist" if not path.exists() else " ".join(str(error).split())
        raise UserError(f"{option} must be a Parquet file, got {path}: {why}") from error


def _line_of(error: Exception) -> str:
    """Return ``file:line: `` of the module-level code that failed, or an empty string if no module was being loaded."""
    lines = [
        (step.filename, step.lineno) for step in traceback.extract_tb(error.__traceback__) if step.name == "<module>"
    ]
    if isinstance(error, SyntaxError) and error.filename is not None:
        lines.append((error.filename, error.lineno))
    if not lines:
        return ""
    file, line = Path(lines[-1][0]), lines[-1][1]
    return f"{file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file}:{line}: "
