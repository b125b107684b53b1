"""Descriptions of tables by their metadata; a real table is described in ``test_iceberg_tables.py``."""

import pytest

from mlops_runtime.features.table_description import FeatureTableError, TableDescription, TableMeaning


def _metadata(**more):
    """Return the metadata of a table whose second schema dropped a column."""
    columns = [[{"name": "size"}, {"name": "old", "doc": "what it was"}], [{"name": "size"}]]
    schemas = [{"schema-id": number, "fields": fields} for number, fields in enumerate(columns)]
    return {"table-uuid": "1", "current-schema-id": 1, "schemas": schemas, **more}


def test_fails_when_a_table_does_not_say_what_it_is():
    """A table without our properties is not a feature table."""
    with pytest.raises(
        FeatureTableError, match=r"table logs has no property mlops.group, mlops.version, mlops.entities"
    ):
        TableMeaning.of("logs", {})


def test_a_column_that_was_dropped_is_known():
    """Covers a table without a group and without rows."""
    found = TableDescription.of("logs", _metadata())

    assert (found.columns, found.all_columns) == ({"size": ""}, {"size", "old"})
    assert (found.is_feature_table, found.sequences, found.tags) == (False, {}, ())
