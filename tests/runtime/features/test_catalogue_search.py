"""Search: matching words and the order of hits."""

import pytest

from mlops_runtime.contracts.feature_service import FeatureServiceSpec, ServedColumn, ServedGroup
from mlops_runtime.features.catalogue_search import search
from mlops_runtime.features.table_description import TableDescription


def table(name, *, column="units", about="sold in a week", **fields):
    """Return the description of a table with one column."""
    words = {"owner": "demand", "description": "", "tags": (), "is_feature_table": True, **fields}
    names = {"name": f"{name}_v1", "uuid": name, "all_columns": frozenset({column})}
    return TableDescription(**names, columns={column: about}, sequences={}, **words)


TABLES = (
    table("sales", description="What stores sold", tags=("weekly", "core")),
    table("stock", owner="supply", column="on_hand", about="Units on hand"),
    table("units", is_feature_table=False),
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
    """Ignores case, requires every word, and ranks hits in names first."""
    assert [(hit.name, hit.matches) for hit in search(text, TABLES, [SERVICE])] == hits
