"""``mlops new`` and ``mlops upgrade``: a business unit's repository, and a later version of what it was made from."""

import hashlib
import json
import keyword
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import typer

from mlops_cli.aws_account import UserError

# what pyproject.toml of the template asks for; their requirements follow from their metadata
_OURS = ("mlops-cli", "mlops-constructs", "mlops-local", "mlops-runtime")
_ROOTS = (*_OURS, "lightgbm", "onnxmltools", "pytest", "ruff")

RECORD = ".mlops-project.json"
_FORMAT = "mlops.project/1"
_KINDS = {"number": "a quantity", "chance": "how probable"}
# what BusinessUnit, ModelRegistry and ModelEndpoint allow
_NAME = r"[a-z][a-z0-9-]{0,18}[a-z0-9]"
_NAME_ALLOWED = "2 to 20 lower-case letters, digits or hyphens, starting with a letter and not ending with a hyphen"
_LONGEST_NAME = 32  # of a pipeline, whose jobs' names have 63 characters


def owner(package: str) -> str | None:
    """Return what has a package's name already, as a distribution or a module, or None.

    Args:
        package: Name of the package, which is that of its distribution too.

    Example:
        >>> owner("aws_cdk")
        'aws-cdk-lib'
    """
    return _owners().get(_same(package))


@cache  # reads the metadata of all that is installed, which a process does not change
def _owners() -> dict[str, str]:
    needed = {_same(name): name for name in _needed()}
    found = {name: f"Python's own {name}" for name in sys.stdlib_module_names}
    found |= needed
    for module, distributions in packages_distributions().items():
        owned = sorted(
            {needed[_same(name)] for name in distributions if _same(name) in needed}, key=lambda name: (len(name), name)
        )
        if owned:  # of several that share a folder the one with the shortest name is best known
            found[_same(module)] = owned[0]
    return found | {_same(name): name for name in _OURS}  # of an editable installation no list speaks


def _needed() -> Iterator[str]:
    """Yield the distributions that a project gets, with every extra; one that is not installed here is a name still."""
    seen: set[str] = set()
    left = list(_ROOTS)
    while left:
        name = left.pop()
        if _same(name) in seen:
            continue
        seen.add(_same(name))
        yield name
        try:
            left += [match[0] for line in requires(name) or [] if (match := re.match(r"[A-Za-z0-9._-]+", line))]
        except PackageNotFoundError:
            continue


def _same(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a repository is made of.

    Args:
        unit: Name of the business unit.
        model: Name of the model.
        kind: What it predicts: ``number`` or ``chance``.
    """

    unit: str
    model: str
    kind: str

    def problems(self) -> list[str]:
        """Return what is wrong with them, each with what is allowed."""
        found = []
        if not re.fullmatch(_NAME, self.unit):
            found.append(f"--unit must be {_NAME_ALLOWED}, such as 'demand', got {self.unit!r}")
        if not re.fullmatch(_NAME, self.model):
            found.append(f"--model must be {_NAME_ALLOWED}, such as 'forecast', got {self.model!r}")
        if len(self.endpoint) > _LONGEST_NAME:
            found.append(
                f"--unit and --model with a hyphen between must have at most {_LONGEST_NAME} characters, "
                f"got {len(self.endpoint)}: {self.endpoint!r}"
            )
        taken = owner(self.package)
        if taken is not None:
            found.append(
                f"--unit and --model make the package {self.package!r}, which would hide the package of {taken}; "
                f"choose another model name, such as {self.model + '-model'!r}"
            )
        if self.kind not in _KINDS:
            found.append(f"--kind must be one of {', '.join(_KINDS)}, got {self.kind!r}")
        return found

    @property
    def endpoint(self) -> str:
        """Name of endpoint, pipeline and model package group."""
        return f"{self.unit}-{self.model}"

    @property
    def package(self) -> str:
        """Name of the Python package."""
        package = self.endpoint.replace("-", "_")
        return f"{package}_" if keyword.iskeyword(package) else package

    def values(self) -> dict[str, str]:
        """Return what the template is rendered with."""
        return {
            "unit": self.unit,
            "model": self.model,
            "kind": self.kind,
            "package": self.package,
            "class_name": "".join(part.title() for part in self.endpoint.split("-")),
            "endpoint": self.endpoint,
            "version": version("mlops-cli"),
        }


def new(
    folder: Annotated[Path, typer.Argument(help="Folder to create; it must be new or empty.")],
    unit: Annotated[
        str | None, typer.Option(help="Name of the business unit. Default: prompt for it.", show_default=False)
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Name of the model. Default: prompt for it.", show_default=False)
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="What it predicts: number or chance. Default: prompt for it.", show_default=False)
    ] = None,
) -> None:
    """Create a project for a business unit: stack, training code, tests, GitLab pipeline."""
    given = {"unit": unit, "model": model, "kind": kind}
    missing = [f"--{name}" for name, value in given.items() if value is None]
    folder = folder if folder.name else folder.resolve()  # the one that one stands in
    problems = _folder_problems(folder)
    if missing and not sys.stdin.isatty():
        problems.append(
            f"{', '.join(missing)}: required, since standard input is not a terminal and mlops cannot prompt"
        )
    elif missing and not problems:
        given = _asked(given)
    answers = Answers(**{name: "" if value is None else value for name, value in given.items()})
    unanswered = tuple(missing) if any(value is None for value in given.values()) else ()
    problems += [p for p in answers.problems() if not p.startswith(unanswered)] if unanswered else answers.problems()
    if problems:
        raise UserError(f"nothing was created: {'; '.join(problems)}")
    with tempfile.TemporaryDirectory() as rendered:
        files = render(answers, Path(rendered) / "project")
    _make(folder, {**files, RECORD: _record(answers, files)})
    typer.echo(f"created {folder} with {len(files)} files; next:")
    typer.echo(f"  cd {folder} && git init && uv sync && uv run pytest")


def upgrade(
    folder: Annotated[Path, typer.Argument(help="The repository. Default: the current folder.")] = Path(),
) -> None:
    """Update a project to the current template. Local edits are kept; the new version is written to a .new file."""
    record = _read_record(folder)
    answers = Answers(**record["answers"])
    problems = answers.problems()
    if problems:
        raise UserError(f"nothing was changed: {folder / RECORD} has invalid answers: {'; '.join(problems)}")
    with tempfile.TemporaryDirectory() as rendered:
        files = render(answers, Path(rendered) / "project")
    made: Mapping[str, str] = record["files"]
    elsewhere = [f"{name!r}, which {why}" for name in {**made, **files} if (why := _elsewhere(folder, name))]
    if elsewhere:
        raise UserError(f"nothing was changed: {RECORD} names {'; '.join(elsewhere)}; restore it and them from git")
    change = changes(
        made, files, {name: (folder / name).read_bytes() for name in {*made, *files} if (folder / name).is_file()}
    )
    write_all(folder, {**change.written, RECORD: _record(answers, files)})
    for name in change.removed:
        (folder / name).unlink()
    for line in change.lines():
        typer.echo(line)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What an upgrade does to a repository.

    Args:
        written: Files and their new bytes, those beside a changed one as ``<name>.new``.
        removed: Files that the template has no more, untouched by hand.
    """

    written: Mapping[str, bytes]
    removed: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return what a person reads."""
        if not self.written and not self.removed:
            return ["nothing to upgrade"]
        return [
            *(
                f"left {name.removesuffix('.new')} as you changed it; merge {name}, then delete it"
                if name.endswith(".new")
                else f"wrote {name}"
                for name in sorted(self.written)
            ),
            *(f"removed {name}" for name in self.removed),
        ]


def changes(made: Mapping[str, str], new_files: Mapping[str, bytes], there: Mapping[str, bytes]) -> Change:
    """Decide file by file: unchanged files follow the template, local edits are kept."""
    written: dict[str, bytes] = {}
    for name, content in new_files.items():
        if made.get(name) == digest(content) or there.get(name) == content:
            continue  # the template says what it said, or it is there already
        if name in made and name not in there:
            continue  # deleted by the user
        is_untouched = name not in there or digest(there[name]) == made.get(name)
        written[name if is_untouched else f"{name}.new"] = content
    gone = [name for name in made if name not in new_files and name in there and digest(there[name]) == made[name]]
    return Change(written=written, removed=tuple(sorted(gone)))


def render(answers: Answers, folder: Path) -> dict[str, bytes]:
    """Return each file of the template, by its path.

    Raises:
        UserError: If copier is not installed.
    """
    try:
        from copier import run_copy
    except ModuleNotFoundError as error:
        raise UserError("mlops new needs copier; run: pip install 'mlops-cli[scaffold]'") from error

    with resources.as_file(resources.files("mlops_cli").joinpath("templates", "unit")) as template:
        run_copy(str(template), folder, data=answers.values(), defaults=True, quiet=True, vcs_ref=None)
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files; each appears whole or not at all."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        part.unlink(missing_ok=True)  # a link there would lead the bytes elsewhere
        with part.open("xb") as file:
            file.write(content)
        part.replace(path)


def _make(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make a folder with all its files, or none: it gets its name when it is whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = _part(folder)
    part.mkdir()
    try:
        write_all(part, files)
        part.replace(folder)  # an empty folder gives way
    except BaseException:
        shutil.rmtree(part)
        raise


def _part(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.part")


def digest(content: bytes) -> str:
    """Return how a file is named in the record."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _asked(given: Mapping[str, str | None]) -> dict[str, str | None]:
    """Ask for what was not given."""
    questions = {
        "unit": "Name of the business unit, such as demand",
        "model": "Name of the model, such as forecast",
        "kind": f"What it predicts ({', '.join(f'{kind}: {what}' for kind, what in _KINDS.items())})",
    }
    return {name: typer.prompt(questions[name]) if value is None else value for name, value in given.items()}


def _folder_problems(folder: Path) -> list[str]:
    if folder.is_dir() and any(folder.iterdir()):
        return [f"the folder {str(folder)!r} exists and is not empty; name another, or run mlops upgrade in it"]
    if folder.exists() and not folder.is_dir():
        return [f"{str(folder)!r} is a file; name a folder"]
    if _part(folder).exists():
        return [f"{str(_part(folder))!r} exists: another run is using it, or was killed; if none is running, delete it"]
    return []


def _record(answers: Answers, files: Mapping[str, bytes]) -> bytes:
    document = {
        "format": _FORMAT,
        "version": version("mlops-cli"),
        "answers": {"unit": answers.unit, "model": answers.model, "kind": answers.kind},
        "files": {name: digest(content) for name, content in sorted(files.items())},
    }
    return (json.dumps(document, indent=2) + "\n").encode()


def _elsewhere(folder: Path, name: str) -> str | None:
    """Say how the path of a file leads out of the repository; None if it does not."""
    parts = name.split("/")
    if not name:
        return "is empty"
    if "\\" in name:
        return "contains a backslash"
    if PurePosixPath(name).is_absolute() or Path(name).is_absolute():
        return "is absolute"
    if ".." in parts:
        return "holds '..'"
    if any(part.lower() == ".git" for part in parts):
        return "is git's"
    try:
        is_inside = (folder / name).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a circle of links, or a zero byte
        is_inside = False
    return None if is_inside else "points outside the repository"


def _read_record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    if not path.is_file():
        raise UserError(
            f"nothing was changed: no {RECORD} in {str(folder)!r}; run this in a folder created by mlops new"
        )
    try:
        record = json.loads(path.read_text("utf-8"))
        answers, files = record["answers"], record["files"]
        is_ours = (
            record["format"] == _FORMAT
            and set(answers) == {"unit", "model", "kind"}
            and files
            and all(isinstance(text, str) for text in [*answers.values(), *files.values()])
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        is_ours = False
    if not is_ours:
        raise UserError(f"nothing was changed: {path} does not have the format {_FORMAT!r}; restore it from git")
    return dict(record)
