"""Search in a feature store: groups and services by names, descriptions, owners, tags and columns."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from mlops_runtime.contracts.feature_service import FeatureServiceSpec
from mlops_runtime.features.feature_service import service_columns
from mlops_runtime.features.table_description import TableDescription


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A group or service that matches every word."""

    kind: Literal["group", "service"]  # whether it is a group or a service
    name: str  # name of the table, or name and version of the service
    owner: str  # team that is responsible for it; empty for a service
    description: str  # description, or the service's columns
    matches: tuple[str, ...]  # matching fields, such as `name` or `column on_hand`


def search(
    text: str, tables: Iterable[TableDescription], services: Iterable[FeatureServiceSpec] = ()
) -> tuple[Hit, ...]:
    """Return groups and services that match every word of a text, case-insensitively; matches in names first.

    Example:
        >>> key = dict(uuid="", owner="demand", description="", tags=(), columns={}, all_columns=frozenset(), sequences={})
        >>> [hit.matches for hit in search("STO", [TableDescription(name="stock_v1", is_feature_table=True, **key)])]
        [('name',)]
    """
    words = text.lower().split()
    hits = [
        Hit(kind="group", name=table.name, owner=table.owner, description=table.description, matches=matches)
        for table in tables
        if table.is_feature_table and (matches := _matches(words, _group_texts(table)))
    ]
    hits += [
        Hit(kind="service", name=f"{spec.name} version {spec.version}", owner="", description=about, matches=matches)
        for spec in services
        for about in (", ".join(service_columns(spec)),)
        if (matches := _matches(words, _service_texts(spec)))
    ]
    return tuple(sorted(hits, key=lambda hit: ("name" not in hit.matches, hit.kind, hit.name)))


def _matches(words: list[str], texts: Iterator[tuple[str, str]]) -> tuple[str, ...]:
    """Return the fields in which any word occurs, or nothing unless every word occurs somewhere."""
    places: dict[str, None] = {}
    missing = set(words)
    for place, text in texts:
        found = {word for word in words if word in text.lower()}
        if found:
            places[place] = None
            missing -= found
    return () if missing else tuple(places)


def _group_texts(table: TableDescription) -> Iterator[tuple[str, str]]:
    yield "name", table.name
    yield "owner", table.owner
    yield "description", table.description
    for tag in table.tags:
        yield f"tag {tag}", tag
    for name, description in table.columns.items():
        yield f"column {name}", f"{name} {description}"


def _service_texts(spec: FeatureServiceSpec) -> Iterator[tuple[str, str]]:
    yield "name", spec.name
    for column in service_columns(spec):
        yield f"column {column}", column
