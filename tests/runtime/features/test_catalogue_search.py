"""Search: which words are found where, and in which order hits come."""

import pytest

from mlops_runtime.contracts.feature_service import FeatureServiceSpec, ServedColumn, ServedGroup
from mlops_runtime.features.catalogue import ColumnFacts, GroupFacts
from mlops_runtime.features.catalogue_search import search


def group(name, **said):
    """Return the facts of a group with one column."""
    column = ColumnFacts(
        name=said.pop("column", "units"),
        type="long",
        is_required=True,
        is_key=False,
        description=said.pop("about", "sold in a week"),
    )
    facts = {"owner": "demand", "description": "", "ttl": "", "partition": "", "schemas": ()}
    return GroupFacts(table=f"{name}_v1", group=name, version=1, columns=(column,), **{**facts, **said})


GROUPS = (
    group("sales", description="What stores sold", tags=("weekly", "core")),
    group("stock", owner="supply", column="on_hand", about="Units on hand"),
)
SERVICE = FeatureServiceSpec(
    name="shelves",
    version=2,
    groups=(
        ServedGroup(
            group="stock",
            version=1,
            table="stock_v1",
            entities=(ServedColumn(name="store_id", type="string"),),
            features=(ServedColumn(name="on_hand", type="long"),),
        ),
    ),
)


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("SALES", [("sales_v1", ("name",))]),
        ("supply", [("stock_v1", ("owner",))]),
        ("stores", [("sales_v1", ("description",))]),
        ("core", [("sales_v1", ("tag core",))]),
        ("week", [("sales_v1", ("tag weekly", "column units"))]),
        ("units supply", [("stock_v1", ("owner", "column on_hand"))]),
        ("units demand supply", []),
        ("on_hand", [("stock_v1", ("column on_hand",)), ("shelves version 2", ("column stock__on_hand",))]),
        ("stock", [("stock_v1", ("name",)), ("shelves version 2", ("column stock__on_hand",))]),
        ("shelves", [("shelves version 2", ("name",))]),
        ("", []),
    ],
)
def test_words_are_found_where_they_occur(text, hits):
    """In any case, every word somewhere, hits in names first."""
    assert [(hit.name, hit.matches) for hit in search(text, GROUPS, [SERVICE])] == hits


def test_the_catalog_describes_groups_that_do_not():
    """As in a deployed store, whose tables carry no description of their own."""
    hits = search("wander", GROUPS, descriptions={"stock_v1": "Units that wander", "sales_v1": "wander"})
    assert [(hit.name, hit.description) for hit in hits] == [("stock_v1", "Units that wander")]
