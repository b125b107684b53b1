"""``mlops features``: ids of the feature groups of a module; the verbs on a store are in modules of their own."""

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_cli import feature_erase, feature_groups, feature_rows, feature_sets
from mlops_cli.errors import UserError

if TYPE_CHECKING:
    from mlops_runtime.features.group import FeatureGroup

app = typer.Typer(
    help="Feature groups and training sets: lock ids, look at a store, ingest, build, prove, compare, erase.",
    no_args_is_help=True,
)

LOCK_FILE = "features.lock.json"

Groups = Annotated[
    str,
    typer.Argument(
        metavar="MODULE:GROUPS", help="Module, and its name for a sequence of FeatureGroup.", show_default=False
    ),
]


@app.command()
def lock(
    groups: Groups,
    path: Annotated[
        Path | None, typer.Argument(help=f"The lock file. Default: {LOCK_FILE} beside the module.", show_default=False)
    ] = None,
) -> None:
    """Give ids to new tables and columns; refuse, with the line to change, what readers would not survive."""
    from mlops_runtime.features.lock import FeatureLockError, write_lock

    module, declared = load_groups(groups)
    file = _beside(module) if path is None else path
    try:
        before = file.read_text() if file.exists() else None
        written = write_lock(declared, file)
    except FeatureLockError as error:
        raise UserError("\n".join(error.problems)) from error
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror}; give another path") from error
    count = f"{file}: {len(written.tables)} tables"
    typer.echo(f"{count}, nothing new" if file.read_text() == before else f"{count}; commit it")


app.command(name="list")(feature_groups.list_)
app.command()(feature_groups.show)
app.command()(feature_rows.ingest)
app.command()(feature_rows.latest)
app.command()(feature_sets.build)
app.command()(feature_sets.rebuild)
app.command()(feature_sets.diff)
app.command(name="who-used")(feature_groups.who_used)
app.command()(feature_groups.catalog)
app.command()(feature_erase.erase)


def load_groups(groups: str) -> "tuple[ModuleType, tuple[FeatureGroup, ...]]":
    """Return a module and the feature groups that it declares under a name.

    Args:
        groups: ``<module>:<name>``; modules of the working directory are found.

    Raises:
        UserError: If there is no such module or name, the module does not load, or the name is no sequence of groups.
    """
    from mlops_runtime.features.group import FeatureGroup, FeatureGroupError

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


def _beside(module: ModuleType) -> Path:
    if module.__file__ is None:
        raise UserError(f"module {module.__name__!r} is no file; say where the lock file is: MODULE:GROUPS PATH")
    folder = Path(module.__file__).parent
    return (folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder) / LOCK_FILE
