"""What the arguments of ``mlops features`` stand for: groups of a module, ids of training sets, files, pairs."""

import importlib
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from mlops_cli.errors import UserError
from mlops_cli.feature_place import Place

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_runtime.features.feature_group import FeatureGroup

LOCK_FILE = "features.lock.json"
MIN_DIGITS = 6  # of the id of a training set


def load_groups(groups: str) -> "tuple[ModuleType, tuple[FeatureGroup, ...]]":
    """Return a module and the feature groups that it declares under a name.

    Args:
        groups: ``<module>:<name>``; modules of the working directory are found.

    Raises:
        UserError: If the module or the name is missing, the module does not load, or the name is not a sequence of groups.
    """
    from mlops_runtime.features.feature_group import FeatureGroup, FeatureGroupError

    name, _, attribute = groups.partition(":")
    if not name or not attribute:
        raise UserError(f"groups must be <module>:<name of the groups>, got {groups!r}")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(name)
    except Exception as error:
        # a module of the user's may raise anything; our own words need no name of their class
        said = error.msg if isinstance(error, SyntaxError) else str(error)
        kind = "" if isinstance(error, FeatureGroupError | ImportError) else f"{type(error).__name__}: "
        raise UserError(f"cannot load module {name!r}: {_line_of(error)}{kind}{' '.join(said.split())}") from error
    found = getattr(module, attribute, None)
    if not isinstance(found, list | tuple) or not found or not all(isinstance(group, FeatureGroup) for group in found):
        raise UserError(
            f"{groups!r} must be a tuple or list of FeatureGroup, got {'nothing' if found is None else repr(found)[:80]}"
        )
    return module, tuple(found)


def table_of(place: Place, group: str) -> str:
    """Return the table of a group, named by its table or, while it has one version, by its name alone.

    Raises:
        UserError: If there is none, or there are several.
    """
    from mlops_runtime.features.training_set_request import TrainingSetError, resolved

    try:
        return resolved("", [group], place.client.table_names())[group]
    except TrainingSetError as error:
        raise UserError(str(error).removeprefix("training set : ")) from error


def full_id(place: Place, given: str) -> str:
    """Return the id of a training set that begins with some digits.

    Raises:
        UserError: If these are not digits, are too few, or do not begin exactly one id.
    """
    if not re.fullmatch(rf"[0-9a-f]{{{MIN_DIGITS},64}}", given):
        raise UserError(f"a training set is named by {MIN_DIGITS} to 64 hexadecimal digits of its id, got {given!r}")
    if len(given) == 64:
        return given
    found = [each for each in place.client.manifests.ids() if each.startswith(given)]
    if len(found) != 1:
        how_many = f"{len(found)} training sets have" if found else "no training set has"
        raise UserError(f"{how_many} an id that begins with {given!r}; give more digits, the catalogue lists all")
    return found[0]


def pairs(option: str, given: Sequence[str]) -> list[tuple[str, str]]:
    """Return what ``NAME=VALUE`` says, each name once.

    Raises:
        UserError: If it says it otherwise.
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
    """Return the rows of a Parquet file that was given as an option.

    Raises:
        UserError: If it is none.
    """
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UserError("mlops features needs pyarrow; run: pip install 'mlops-runtime[features]'") from error
    try:
        return pq.read_table(path)
    except (OSError, ValueError) as error:
        why = "it is not there" if not path.exists() else " ".join(str(error).split())
        raise UserError(f"{option} must be a Parquet file, got {path}: {why}") from error


def _line_of(error: Exception) -> str:
    """Return ``file:line: `` of what a module was doing when it failed; nothing if none was being loaded."""
    lines = [
        (step.filename, step.lineno) for step in traceback.extract_tb(error.__traceback__) if step.name == "<module>"
    ]
    if isinstance(error, SyntaxError) and error.filename is not None:
        lines.append((error.filename, error.lineno))
    if not lines:
        return ""
    file, line = Path(lines[-1][0]), lines[-1][1]
    return f"{file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file}:{line}: "
