"""A project as ``mlops new`` makes it: its answers, its files, what is recorded of them, and what an upgrade changes."""

import hashlib
import json
import keyword
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from pathlib import Path, PurePosixPath
from typing import Any

from mlops_cli.aws_account import UserError
from mlops_cli.frameworks import DEFAULT, FRAMEWORKS, packages_of
from mlops_cli.project_environments import ProjectEnvironment, environment_problems, rendered_environments
from mlops_cli.project_packages import LOCKS, OURS, VENDOR, PackageSources, index_problem, locked
from mlops_runtime.contracts import ContractError, canonical_json, from_dict, to_dict
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.lock_file import FeatureLock
from mlops_runtime.training_data.stored_schema import feature_groups
from mlops_runtime.training_data.table_schema import TableSchema

# what pyproject.toml of the template asks for; their requirements follow from their metadata
_ROOTS = (*OURS, *packages_of({*FRAMEWORKS}), "pytest", "ruff")

RECORD = ".mlops-project.json"
_FORMAT = "mlops.project/1"
# what BusinessUnit, ModelRegistry and ModelEndpoint allow
_NAME = r"[a-z][a-z0-9-]{0,18}[a-z0-9]"
_NAME_ALLOWED = "2 to 20 lower-case letters, digits or hyphens, starting with a letter and not ending with a hyphen"
_LONGEST_NAME = 32  # of a pipeline, whose jobs' names have 63 characters
_GOLDEN_ROWS = 800  # of at most 1,000; each is also sent alone
_REQUEST_ROWS = 2
_FEATURE_LOCK = "features.lock.json"
_WIDTH = 120  # of the project's formatter
_LOCKED_BY = {
    "pyproject.toml.new": " and run uv lock",
    "requirements.in.new": " and run mlops image lock",
    f"{_FEATURE_LOCK}.new": f", or for each package run mlops features lock PACKAGE.features:GROUPS {_FEATURE_LOCK}",
}


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
    return found | {_same(name): name for name in OURS}  # of an editable installation no list speaks


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
class ModelAnswers:
    """One model of a project.

    Args:
        unit: Name of the business unit.
        model: Name of the model.
        schema: What the table holds that it learns from.
        framework: What its made training script learns with.
    """

    unit: str
    model: str
    schema: TableSchema
    framework: str = DEFAULT

    def problems(self) -> list[str]:
        """Return what is wrong with its name or framework, with what is allowed."""
        found = []
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
        if self.framework not in FRAMEWORKS:
            found.append(f"--framework must be one of {', '.join(FRAMEWORKS)}, got {self.framework!r}")
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

    @property
    def class_name(self) -> str:
        """Name of the stack and its class."""
        return "".join(part.title() for part in self.endpoint.split("-"))

    @property
    def groups(self) -> tuple[FeatureGroup, ...]:
        """Its groups of the unit's feature store: features, then labels; none without one."""
        name = self.model.replace("-", "_")
        return feature_groups(self.schema, name=name, owner=self.unit) if self.schema.entities else ()

    def values(
        self, *, is_owner: bool, stored: Sequence["ModelAnswers"] = (), has_environments: bool = False
    ) -> dict[str, Any]:
        """Return what its template is rendered with.

        Args:
            is_owner: Whether its stack holds the unit.
            stored: Models with features in the store; the first one's stack holds it.
            has_environments: Whether it goes from one account to another.
        """
        schema, framework = self.schema, FRAMEWORKS[self.framework]
        trusts = framework.trusts(schema)
        return {
            "unit": self.unit,
            "model": self.model,
            "kind": schema.label_kind,
            "framework": self.framework,
            "trust": ", ".join(map(_literal, trusts)) + ("," if len(trusts) == 1 else ""),
            "anonymous": framework.title if framework.needs_names(schema) else "",
            "fills": framework.needs_filling(schema),
            "package": self.package,
            "class_name": self.class_name,
            "endpoint": self.endpoint,
            "is_owner": is_owner,
            "has_environments": has_environments,
            "metric": schema.metric,
            "label": _literal(schema.label),
            "time": _literal(schema.time),
            "block": _literal(schema.block),
            "cluster": _literal(schema.cluster),
            "minimum_rows": schema.minimum_rows,
            "inputs": _lines([column.name for column in schema.inputs]),
            "categories": _lines([each.name for each in schema.inputs if each.type == "category"]),
            "input_tuple": _tuple([column.name for column in schema.inputs], indent=0),
            "baselines": _tuple(schema.baselines, indent=4),
            "holdout_days": schema.holdout_days or 0,
            "entities": _entities(self.groups),
            "groups": [
                {
                    "constant": constant,
                    "name": _literal(group.name),
                    "event_time": _literal(group.event_time),
                    "features": _calls(group.features, indent=8),
                    "description": _literal(group.description),
                }
                for constant, group in zip(("FEATURES", "LABELS"), self.groups, strict=False)
            ],
            **self._store(stored),
        }

    def _store(self, stored: Sequence["ModelAnswers"]) -> dict[str, Any]:
        """Return how its stack gets the store, and which groups that has."""
        own = [f"from {self.package}.features import GROUPS"] if self.groups else []
        if not own or stored[0].package != self.package:
            return {"store": "imported" if own else "", "others": [], "group_imports": own}
        others = {each.package: f"{each.package.upper()}_GROUPS" for each in stored[1:]}
        lines = [f"from {package}.features import GROUPS as {name}" for package, name in others.items()]
        return {"store": "owned", "others": list(others.values()), "group_imports": own + lines}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a repository is made of.

    Args:
        unit: Name of the business unit.
        models: Its models; the first one's stack holds the unit.
        data: The first file as it is seen from the repository. Default: rows are made from the schema.
        index: URL of the package index that has this library. Default: as it was installed.
        environments: Accounts and Regions in the order in which a model goes through them. Default: a development and a
            production account, each of which trains its own.
    """

    unit: str
    models: tuple[ModelAnswers, ...]
    data: str | None = None
    index: str | None = None
    environments: tuple[ProjectEnvironment, ...] = ()

    def problems(self) -> list[str]:
        """Return what is wrong with them, each with what is allowed."""
        found = []
        if not re.fullmatch(_NAME, self.unit):
            found.append(f"--unit must be {_NAME_ALLOWED}, such as 'demand', got {self.unit!r}")
        for model in self.models:
            found += model.problems()
        seen = dict[str, str]()
        for model in self.models:  # "a-1" and "a1" have packages of their own, and one stack
            before = seen.setdefault(model.class_name, model.package)
            if before != model.package:
                found.append(f"the models {before!r} and {model.package!r} both make the stack {model.class_name!r}")
        names = [model.package for model in self.models]
        found += [f"the model {name!r} is there already" for name in dict.fromkeys(names) if names.count(name) > 1]
        if self.index is not None and (problem := index_problem(self.index)) is not None:
            found.append(problem)
        found += environment_problems(self.environments)
        if self.environments and len(self.models) > 1:  # an inbox needs the unit in its own stack
            found.append(
                f"a project with environments has one model, {self.models[0].package!r}, since the stack that takes releases must "
                "define the unit; make another project for another unit"
            )
        return found

    def values(self, sources: PackageSources) -> dict[str, Any]:
        """Return what the repository's template is rendered with."""
        first = self.models[0]
        models = [
            {
                "model": each.model,
                "package": each.package,
                "class_name": each.class_name,
                "endpoint": each.endpoint,
                "title": FRAMEWORKS[each.framework].title,
                "has_features": bool(each.groups),
            }
            for each in self.models
        ]
        return {
            "unit": self.unit,
            "model": first.model,
            "package": first.package,
            "endpoint": first.endpoint,
            "class_name": first.class_name,
            "environments": rendered_environments(self.environments),
            "version": version("mlops-cli"),
            "data": shlex.quote(self.data) if self.data else "",
            "requirements": sources.requirements(),
            "packages": packages_of({each.framework for each in self.models}),
            "sources": sources.table(),
            "models": models,
            "has_features": any(each.groups for each in self.models),
        }

    def to_document(self) -> dict[str, Any]:
        """Return what is recorded of them: facts of schemas, no row."""
        models = [
            {"model": each.model, "framework": each.framework, "schema": to_dict(each.schema)} for each in self.models
        ]
        others = {"data": self.data, "index": self.index, "environments": to_dict(self.environments) or None}
        return {"unit": self.unit, "models": models} | {name: each for name, each in others.items() if each is not None}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Answers":
        """Read them from a record.

        Raises:
            ContractError: If a schema is not one.
            KeyError, TypeError, ValueError: If the document has another shape.
        """
        unit, models = document["unit"], document["models"]
        data, index = document.get("data"), document.get("index")
        if not isinstance(unit, str) or not isinstance(models, list) or not models:
            raise TypeError("answers must name a unit and models")
        texts = [each[name] for each in models for name in ("model", "framework") if name == "model" or name in each]
        if not all(isinstance(text, str) for text in texts) or not all(
            isinstance(text, str | None) for text in (data, index)
        ):
            raise TypeError("answers must be text")
        schemas = [from_dict(TableSchema, each["schema"]) for each in models]
        return cls(
            unit=unit,
            models=tuple(
                ModelAnswers(unit=unit, model=each["model"], schema=schema, framework=each.get("framework", DEFAULT))
                for each, schema in zip(models, schemas, strict=True)
            ),
            data=data,
            index=index,
            environments=tuple(from_dict(ProjectEnvironment, each) for each in document.get("environments", ())),
        )

    def model_of(self, pipeline: str) -> ModelAnswers | None:
        """Return the model of a pipeline's name; None if the project has none."""
        return next((each for each in self.models if each.endpoint == pipeline), None)


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
                f"left {name.removesuffix('.new')} as you changed it; merge {name}, then delete it{_LOCKED_BY.get(name, '')}"
                if name.endswith(".new")
                else f"wrote {name}"
                for name in sorted(self.written)
            ),
            *(f"removed {name}" for name in self.removed),
        ]

    def document(self) -> dict[str, list[str]]:
        """Return the same as JSON."""
        return {
            "written": sorted(name for name in self.written if not name.endswith(".new")),
            "left": sorted(name.removesuffix(".new") for name in self.written if name.endswith(".new")),
            "removed": list(self.removed),
        }


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


def render(answers: Answers, folder: Path, sources: PackageSources) -> dict[str, bytes]:
    """Return each file of the repository, by its path.

    Args:
        answers: What it is made of.
        folder: A folder to work in, which is not there.
        sources: Where our own packages come from.
    """
    from copier import run_copy

    parts = [("unit", answers.values(sources))]
    stored = [model for model in answers.models if model.groups]
    is_chain = bool(answers.environments)
    parts += [
        ("model", model.values(is_owner=place == 0, stored=stored, has_environments=is_chain))
        for place, model in enumerate(answers.models)
    ]
    for name, values in parts:
        with resources.as_file(resources.files("mlops_cli").joinpath("templates", name)) as template:
            run_copy(str(template), folder, data=values, defaults=True, overwrite=True, quiet=True, vcs_ref=None)
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    for model in answers.models:
        files |= _made_of(model)
    if stored:
        files[_FEATURE_LOCK] = (
            FeatureLock().extend(group for model in stored for group in model.groups).render().encode()
        )
    return dict(sorted({**files, **sources.files()}.items()))


@cache  # of the model's schema alone
def _made_of(model: ModelAnswers) -> dict[str, bytes]:
    """Return what is made of a model's schema: the schema itself, golden requests, and a request to try it with."""
    from mlops_runtime.contracts.retraining import SignaturePlan
    from mlops_runtime.jobs.training_signature import signature_of
    from mlops_runtime.rollout.golden_set import boundary_requests
    from mlops_runtime.training_data.sample_rows import sample_splits

    schema = model.schema
    kinds = {"number": "number", "chance": "probability", "classes": "classes"}
    with tempfile.TemporaryDirectory() as folder:
        rows = sample_splits(schema, Path(folder)).train
    inputs = tuple(column.name for column in schema.inputs)
    plan = SignaturePlan(label=schema.label, kind=kinds[schema.label_kind], inputs=inputs)  # type: ignore[arg-type] # of it
    signature = signature_of(rows, plan)
    kept = _GOLDEN_ROWS // max(sum(column.type == "category" for column in signature.inputs), 1) - 1
    shown = replace(
        signature,
        inputs=tuple(replace(column, categories=column.categories[:kept]) for column in signature.inputs),
    )
    sent = [_plain_row(row, schema) for row in rows.select(list(inputs)).to_pylist()]
    known = [row for row in sent if _is_shown(row, shown)] or sent
    is_chance = schema.label_kind == "chance"
    golden = boundary_requests(known, shown, minimum=0.0 if is_chance else None, maximum=1.0 if is_chance else None)
    body = json.dumps({"instances": sent[:_REQUEST_ROWS]}, ensure_ascii=False, indent=1)
    return {
        f"{model.package}/schema.json": (json.dumps(to_dict(schema), ensure_ascii=False, indent=1) + "\n").encode(),
        f"{model.package}/golden.jsonl": b"\n".join(map(canonical_json, golden)) + b"\n",
        f"{model.package}/request.json": f"{body}\n".encode(),
    }


def _plain_row(row: Mapping[str, Any], schema: TableSchema) -> dict[str, Any]:
    """Return a row with the digits of the schema's bounds."""
    numbers = {column.name for column in schema.inputs if column.kind == "float"}
    return {
        name: float(f"{value:.4g}") if name in numbers and value is not None else value for name, value in row.items()
    }


def _is_shown(row: Mapping[str, Any], signature: Any) -> bool:
    return all(
        row[column.name] is None or str(row[column.name]) in column.categories
        for column in signature.inputs
        if column.type == "category"
    )


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


def make_folder(folder: Path, files: Mapping[str, bytes], *, finish: Callable[[Path], None] | None = None) -> None:
    """Make a folder with all its files, or none: it gets its name when it is whole.

    Args:
        folder: The folder, new or empty.
        files: Content by path.
        finish: What else is made of it before it gets its name. Default: nothing.
    """
    missing = [each for each in folder.absolute().parents if not each.exists()]
    part = _part(folder)
    try:
        part.mkdir(parents=True)
        write_all(part, files)
        if finish is not None:
            finish(part)
        part.replace(folder)  # an empty folder gives way
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        for each in missing:
            with suppress(OSError):  # not made yet, or another run's by now
                each.rmdir()
        raise


def _part(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.part")


def digest(content: bytes) -> str:
    """Return how a file is named in the record."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def folder_problems(folder: Path) -> list[str]:
    """Return why a folder cannot be made."""
    if folder.is_dir() and any(folder.iterdir()):
        return [f"the folder {str(folder)!r} exists and is not empty; name another, or run mlops upgrade in it"]
    if folder.exists() and not folder.is_dir():
        return [f"{str(folder)!r} is a file; name a folder"]
    if _part(folder).exists():
        return [f"{str(_part(folder))!r} exists: another run is using it, or was killed; if none is running, delete it"]
    return []


def record_of(answers: Answers, files: Mapping[str, bytes]) -> bytes:
    """Return the record of a repository."""
    document = {
        "format": _FORMAT,
        "version": version("mlops-cli"),
        "answers": answers.to_document(),
        "files": {name: digest(content) for name, content in sorted(files.items())},
    }
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def read_record(folder: Path) -> tuple[Answers, dict[str, str]]:
    """Return the answers of a repository, and the digests of the files that were made of them.

    Raises:
        UserError: If the folder has no record, or one that cannot be read or used.
    """
    path = folder / RECORD
    if not path.is_file():
        raise UserError(
            f"nothing was changed: no {RECORD} in {str(folder)!r}; run this in a folder created by mlops new"
        )
    try:
        record = json.loads(path.read_text("utf-8"))
        files = record["files"]
        is_ours = record["format"] == _FORMAT and files and all(isinstance(text, str) for text in files.values())
        answers = Answers.from_document(record["answers"]) if is_ours else None
    except (ValueError, TypeError, KeyError, AttributeError, ContractError):
        answers = None
    if answers is None:
        raise UserError(f"nothing was changed: {path} does not have the format {_FORMAT!r}; restore it from git")
    problems = answers.problems()
    if problems:
        raise UserError(f"nothing was changed: {path} has invalid answers: {'; '.join(problems)}")
    return answers, dict(files)


def update(folder: Path, answers: Answers, made: Mapping[str, str], sources: PackageSources) -> Change:
    """Render a repository again, and write what changed; its locks follow. Local edits are kept.

    Args:
        folder: The repository.
        answers: What it is made of now.
        made: Digests of the files that were made before.
        sources: Where our own packages come from.

    Raises:
        UserError: If a recorded path leads out of the repository, or uv finds no versions; nothing is changed then.
    """
    made = {name: digest for name, digest in made.items() if name not in LOCKS}  # as they were recorded once
    with tempfile.TemporaryDirectory() as rendered:
        files = render(answers, Path(rendered) / "project", sources)
    elsewhere = [f"{name!r}, which {why}" for name in {**made, **files} if (why := _elsewhere(folder, name))]
    if elsewhere:
        raise UserError(f"nothing was changed: {RECORD} names {'; '.join(elsewhere)}; restore it and them from git")
    there = {name: (folder / name).read_bytes() for name in {*made, *files} if (folder / name).is_file()}
    change = changes(made, files, there)
    change = replace(change, written={**change.written, **_new_locks(folder, change)})
    write_all(folder, {**change.written, RECORD: record_of(answers, files)})
    for name in change.removed:
        (folder / name).unlink()
    return change


def _new_locks(folder: Path, change: Change) -> dict[str, bytes]:
    """Return the locks that another version of what they follow from changes."""
    stale = [lock for lock, source in LOCKS.items() if source in change.written or not (folder / lock).is_file()]
    if not stale:
        return {}
    paths = [folder / name for name in (*LOCKS, *LOCKS.values())] + sorted((folder / VENDOR).glob("*.whl"))
    there = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths if path.is_file()}
    found = locked({**there, **change.written}, stale)
    return {name: content for name, content in found.items() if there.get(name) != content}


def _literal(text: str) -> str:
    """Return a string as the formatter writes it: in the quotes that need fewer escapes.

    Example:
        >>> print(_literal("units"), _literal('the "day"'))
        "units" 'the "day"'
    """
    double = json.dumps(text, ensure_ascii=False)
    if text.count('"') <= text.count("'"):
        return double
    return "'" + double[1:-1].replace('\\"', '"').replace("'", "\\'") + "'"


def _tuple(names: Sequence[str], *, indent: int) -> str:
    """Return a tuple as the formatter writes it: one of several names has a line for each."""
    if len(names) == 1:
        return f"({_literal(names[0])},)"
    return f"(\n{_lines(names, indent + 4)}\n{' ' * indent})"


def _entities(groups: Sequence[FeatureGroup]) -> str:
    """Return the key of groups as the formatter writes it; one column is in a line."""
    if not groups:
        return ""
    entities = groups[0].entities
    lines = _calls(entities, indent=4)
    return f"({lines.strip()})" if len(entities) == 1 else f"(\n{lines}\n)"


def _calls(declared: Sequence[Entity | Feature], *, indent: int) -> str:
    """Return constructors as the formatter writes them, a line each; what is too wide for a line has three."""
    lines = []
    for each in declared:
        given = [_literal(text) for text in (each.name, each.type, each.description)]
        given += ["nullable=True"] if isinstance(each, Feature) and each.nullable else []
        call, inside, space = type(each).__name__, ", ".join(given), " " * indent
        line = f"{space}{call}({inside}),"
        lines += [line] if len(line) <= _WIDTH else [f"{space}{call}(", f"{space}    {inside}", f"{space}),"]
    return "\n".join(lines)


def _lines(names: Sequence[str], indent: int = 4) -> str:
    return "\n".join(f"{' ' * indent}{_literal(name)}," for name in names)


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
