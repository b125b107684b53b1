"""Feature services: a named, versioned list of features that training sets, model packages and online reads share.

Standard library only.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlops_runtime.contracts import ContractError, canonical_json, content_hash, from_json
from mlops_runtime.contracts.feature_service import FeatureServiceSpec, FeatureServiceUse, ServedColumn, ServedGroup
from mlops_runtime.features.feature_group import TEXT, VERSION, FeatureGroup, wrong_fields
from mlops_runtime.features.group_join import GroupJoin
from mlops_runtime.features.training_set_manifest import Objects

SERVICES = "services"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_FIELDS = {"name": TEXT, "version": VERSION}


class FeatureServiceError(ValueError):
    """A feature service is invalid, not stored, or differs from its stored version; the message lists every problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureService:
    """The features that a model is trained and served with, under one name.

    A version is immutable: other features, or a group with changed keys, types or time to live, need the next version.

    Args:
        name: Lower-case letters, digits, ``-`` and ``_``.
        features: The groups, in the order of the columns. Use ``GroupJoin`` for a group that is used several times or by other
            keys.
        version: Incremented for each change. Default: 1.
        columns: Selected features, by name of group; a ``GroupJoin`` selects its own. Default: all features of each group.

    Raises:
        FeatureServiceError: With every problem of the declaration.

    Example:
        >>> from mlops_runtime.features.feature_group import Entity, Feature
        >>> stock = FeatureGroup(
        ...     name="stock",
        ...     entities=(Entity("store_id", "string", "store"),),
        ...     features=(Feature("on_hand", "long", "units on hand"), Feature("shelf", "string", "where")),
        ...     owner="demand",
        ...     description="stock",
        ... )
        >>> shelves = FeatureService(name="shelves", features=(stock,), columns={"stock": ["on_hand"]})
        >>> shelves.column_names, shelves.use.version
        (('stock__on_hand',), 1)
    """

    name: str
    features: Sequence[FeatureGroup | GroupJoin]
    version: int = 1
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = _problems(self)
        if problems:
            raise FeatureServiceError(f"feature service {self.name!r}: " + "; ".join(problems))

    @property
    def joins(self) -> tuple[GroupJoin, ...]:
        """The joined groups with their selected features."""
        return tuple(
            each
            if isinstance(each, GroupJoin)
            else GroupJoin(group=each, columns=tuple(self.columns.get(each.name, each.feature_names)))
            for each in self.features
        )

    @property
    def wanted(self) -> dict[str, tuple[str, ...]]:
        """Selected features by name of the join, or by its table's name."""
        return {join.name or join.table: join.wanted for join in self.joins}

    @property
    def column_names(self) -> tuple[str, ...]:
        """Column names in training sets and online reads: ``group__feature``."""
        return service_columns(self.spec)

    @property
    def spec(self) -> FeatureServiceSpec:
        """The stored form of the service."""
        return FeatureServiceSpec(name=self.name, version=self.version, groups=tuple(map(served_group, self.joins)))

    @property
    def use(self) -> FeatureServiceUse:
        """Reference to the service in manifests and model packages: name, version and hash."""
        return service_use(self.spec)


def service_columns(spec: FeatureServiceSpec) -> tuple[str, ...]:
    """Return the column names of a service's features: ``group__feature``."""
    return tuple(f"{group.prefix}__{feature.name}" for group in spec.groups for feature in group.features)


def service_use(spec: FeatureServiceSpec) -> FeatureServiceUse:
    """Return the name, version and hash of a service."""
    return FeatureServiceUse(name=spec.name, version=spec.version, sha256=content_hash(spec))


def served_group(join: GroupJoin) -> ServedGroup:
    """Return the stored form of a joined group: keys, selected features, time to live."""
    group = group_of(join)
    types = {feature.name: feature.type for feature in group.features}
    return ServedGroup(
        group=group.name,
        version=group.version,
        table=group.table_name,
        entities=tuple(ServedColumn(name=entity.name, type=entity.type) for entity in group.entities),
        features=tuple(ServedColumn(name=name, type=types[name]) for name in join.wanted),
        ttl_seconds=None if group.ttl is None else group.ttl.total_seconds(),
        ttl_bound=None if group.ttl is None else group.ttl_bound,
        alias=join.name,
        on=dict(join.on) or None,
    )


def group_of(join: GroupJoin) -> FeatureGroup:
    """Return the group of a service's join, which must be declared as an object, not by name.

    Raises:
        FeatureServiceError: If it is given by name.
    """
    if not isinstance(join.group, FeatureGroup):
        raise FeatureServiceError(
            f"GroupJoin of a feature service requires a FeatureGroup as group, got {join.group!r}"
        )
    return join.group


def changes(stored: FeatureServiceSpec, given: FeatureServiceSpec) -> list[str]:
    """Return what differs between two documents of a service, group by group.

    Example:
        >>> key = (ServedColumn(name="store_id", type="string"),)
        >>> def of(type): return FeatureServiceSpec(name="s", version=1, groups=(ServedGroup(
        ...     group="stock", version=1, table="stock_v1", entities=key,
        ...     features=(ServedColumn(name="on_hand", type=type),)),))
        >>> changes(of("int"), of("long"))
        ["group 'stock': feature 'on_hand' was int, now long"]
    """
    before, after = ({group.prefix: group for group in spec.groups} for spec in (stored, given))
    problems = [f"group {name!r} was removed" for name in before if name not in after]
    problems += [f"group {name!r} is new" for name in after if name not in before]
    for name in [name for name in before if name in after]:
        was, now = before[name], after[name]
        problems += [f"group {name!r}: {change}" for change in group_changes(was, now)]
        if was.group == now.group and was.key_columns != now.key_columns:
            columns = (", ".join(group.key_columns.values()) for group in (was, now))
            problems.append(f"group {name!r}: its keys were {next(columns)} of the entity rows, now {next(columns)}")
    if not problems and stored != given:
        problems = ["the order of its groups changed"]
    return problems


def group_changes(before: ServedGroup, after: ServedGroup) -> list[str]:
    """Return the differences between two versions of a service's group."""
    problems = [] if before.group == after.group else [f"was of {before.group}, now of {after.group}"]
    if before.version != after.version:
        problems.append(f"version was {before.version}, now {after.version}")
    for word, old, new in (("key", before.entities, after.entities), ("feature", before.features, after.features)):
        was, now = ({column.name: column.type for column in columns} for columns in (old, new))
        problems += [f"{word} {name!r} was removed" for name in was if name not in now]
        problems += [f"{word} {name!r} is new" for name in now if name not in was]
        problems += [f"{word} {n!r} was {was[n]}, now {now[n]}" for n in was if n in now and was[n] != now[n]]
        if set(was) == set(now) and list(was) != list(now):
            problems.append(f"the order of its {word}s was {', '.join(was)}, now {', '.join(now)}")
    if (before.ttl_seconds, before.ttl_bound) != (after.ttl_seconds, after.ttl_bound):
        problems.append(f"time to live was {_span(before)}, now {_span(after)}")
    return problems


class FeatureServices:
    """The services of a feature store: ``services/<name>/<version>.json`` below the location of its manifests, each written once.

    Example:
        >>> import tempfile
        >>> FeatureServices(Objects(tempfile.mkdtemp())).all()
        ()
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def put(self, spec: FeatureServiceSpec) -> FeatureServiceUse:
        """Store a version of a service, unless it exists.

        Raises:
            FeatureServiceError: If the version is stored with other features; with every difference.
        """
        self.check(spec)
        if not self._objects.put_once(_key(spec.name, spec.version), canonical_json(spec)):
            self.check(spec)  # another caller stored that version since
        return service_use(spec)

    def check(self, spec: FeatureServiceSpec) -> None:
        """Check that a version of a service, if stored, equals the given one.

        Raises:
            FeatureServiceError: With every difference.
        """
        stored = self._read(_key(spec.name, spec.version))
        if stored is not None and stored != spec:
            raise FeatureServiceError(
                f"feature service {spec.name!r} version {spec.version} is stored with other features: "
                f"{'; '.join(changes(stored, spec))}; give the new list the next free version"
            )

    def get(self, name: str, version: int | None = None) -> FeatureServiceSpec:
        """Return a stored service, by default its newest version.

        Raises:
            FeatureServiceError: If the service is not stored or cannot be read.
        """
        known = sorted(spec.version for spec in self.all() if spec.name == name) if version is None else [version]
        found = self._read(_key(name, known[-1])) if known else None
        if found is None:
            there = ", ".join(f"{spec.name} version {spec.version}" for spec in self.all()) or "none"
            requested = f"{name!r}" if version is None else f"{name!r} version {version}"
            raise FeatureServiceError(
                f"there is no feature service {requested}, there are {there}; the first training set that uses a service stores it"
            )
        return found

    def all(self) -> tuple[FeatureServiceSpec, ...]:
        """Return every version of every service, by name and version."""
        found = (self._read(key) for key in self._objects.keys(f"{SERVICES}/"))
        return tuple(sorted((spec for spec in found if spec is not None), key=lambda spec: (spec.name, spec.version)))

    def _read(self, key: str) -> FeatureServiceSpec | None:
        content = self._objects.get(key)
        if content is None:
            return None
        try:
            return from_json(FeatureServiceSpec, content)
        except ContractError as error:
            raise FeatureServiceError(
                f"{key} in {self._objects} cannot be read: {error}; restore the file as it was first written"
            ) from error


def _key(name: str, version: int) -> str:
    return f"{SERVICES}/{name}/{version}.json"


def _span(group: ServedGroup) -> str:
    return "unlimited" if group.ttl_seconds is None else f"{group.ttl_seconds:g} s ({group.ttl_bound})"


def _problems(service: FeatureService) -> list[str]:
    wrong = wrong_fields(service, _FIELDS)
    problems = list(wrong.values())
    if "name" not in wrong and not _NAME.fullmatch(service.name):
        problems.append(f"name must match {_NAME.pattern}, got {service.name!r}")
    if "version" not in wrong and service.version < 1:
        problems.append(f"version must be {VERSION.wording}, got {service.version}")
    groups = service.features
    if isinstance(groups, str) or not isinstance(groups, Sequence) or not groups:
        return [*problems, f"features must be a tuple of at least one FeatureGroup, got {groups!r}"]
    others = [
        group
        for group in groups
        if not isinstance(group, FeatureGroup)
        and not (isinstance(group, GroupJoin) and isinstance(group.group, FeatureGroup))
    ]
    if others:
        return [
            *problems,
            f"features must contain only FeatureGroup, or GroupJoin of one, got {', '.join(map(repr, others))}",
        ]
    names = [group.name if isinstance(group, FeatureGroup) else group.name or group_of(group).name for group in groups]
    problems += [
        f"group {n!r} is given {names.count(n)} times; give it once, or name each use with GroupJoin(group=..., name='...')"
        for n in sorted(set(names))
        if names.count(n) > 1
    ]
    plain = {group.name: group for group in groups if isinstance(group, FeatureGroup)}
    return [*problems, *_column_problems(service, plain)]


def _column_problems(service: FeatureService, groups: Mapping[str, FeatureGroup]) -> list[str]:
    if not isinstance(service.columns, Mapping):
        return [f"columns must be lists of features by name of group, got {service.columns!r}"]
    problems = []
    for name, columns in service.columns.items():
        group = groups.get(name)
        if group is None:
            problems.append(f"columns names group {name!r}, which is not one of {', '.join(groups)}")
        elif isinstance(columns, str) or not isinstance(columns, Sequence) or not columns:
            problems.append(f"columns of {name!r} must be a list of features, got {columns!r}")
        else:
            known = group.feature_names
            unknown = [str(column) for column in columns if column not in known]
            problems += [f"group {name!r} has no feature {column!r}, it has {', '.join(known)}" for column in unknown]
            twice = sorted({str(column) for column in columns if list(columns).count(column) > 1})
            problems += [f"columns of {name!r} names {column!r} more than once" for column in twice]
    return problems
