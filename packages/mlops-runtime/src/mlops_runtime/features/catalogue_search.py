"""Search of a feature store: groups and services by names, descriptions, owners, tags and columns."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from mlops_runtime.contracts.feature_service import FeatureServiceSpec
from mlops_runtime.features.catalogue import GroupFacts
from mlops_runtime.features.feature_service import service_columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A group or service in which every word occurs.

    Attributes:
        kind: What it is.
        name: Its table, or name and version of a service.
        owner: Who answers for it; empty of a service.
        description: What it is about.
        matches: Where words occur, such as ``name`` or ``column on_hand``.
    """

    kind: Literal["group", "service"]
    name: str
    owner: str
    description: str
    matches: tuple[str, ...]


def search(
    text: str,
    groups: Iterable[GroupFacts],
    services: Iterable[FeatureServiceSpec] = (),
    *,
    descriptions: Mapping[str, str] | None = None,
) -> tuple[Hit, ...]:
    """Return groups and services in which every word of a text occurs, in any case; hits in names first.

    Args:
        text: One or more words.
        groups: The groups.
        services: The services. Default: none.
        descriptions: Of groups that do not say what they are about, by table. Default: none.

    Example:
        >>> key = dict(version=1, owner="demand", description="", ttl="", partition="", columns=(), schemas=())
        >>> [hit.matches for hit in search("STO", [GroupFacts(table="stock_v1", group="stock", **key)])]
        [('name',)]
    """
    words = text.lower().split()
    hits = [
        Hit(
            kind="group",
            name=group.table,
            owner=group.owner,
            description=about,
            matches=matches,
        )
        for group in groups
        for about in (group.description or (descriptions or {}).get(group.table, ""),)
        if (matches := _matches(words, _group_texts(group, about)))
    ]
    hits += [
        Hit(kind="service", name=f"{spec.name} version {spec.version}", owner="", description=about, matches=matches)
        for spec in services
        for about in (", ".join(service_columns(spec)),)
        if (matches := _matches(words, _service_texts(spec)))
    ]
    return tuple(sorted(hits, key=lambda hit: ("name" not in hit.matches, hit.kind, hit.name)))


def _matches(words: list[str], texts: Iterator[tuple[str, str]]) -> tuple[str, ...]:
    """Return the places in which a word occurs, none unless each occurs somewhere."""
    places: dict[str, None] = {}
    missing = set(words)
    for place, text in texts:
        found = {word for word in words if word in text.lower()}
        if found:
            places[place] = None
            missing -= found
    return () if missing else tuple(places)


def _group_texts(group: GroupFacts, about: str) -> Iterator[tuple[str, str]]:
    yield "name", group.table
    yield "owner", group.owner
    yield "description", about
    for tag in group.tags:
        yield f"tag {tag}", tag
    for column in group.columns:
        yield f"column {column.name}", f"{column.name} {column.description}"


def _service_texts(spec: FeatureServiceSpec) -> Iterator[tuple[str, str]]:
    yield "name", spec.name
    for column in service_columns(spec):
        yield f"column {column}", column
