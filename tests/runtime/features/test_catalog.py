"""Tables by name, and where Glue is."""

import pytest

from mlops_runtime.features.catalog import Tables, glue_properties
from mlops_runtime.features.iceberg import FeatureTableError


def test_tables_are_listed_and_loaded_by_name(filled):
    """A folder has the tables that groups made."""
    tables = Tables.local(filled.path, "features", None)
    assert tables.names() == ("sales_v1", "stock_v1")
    assert tables.load("stock_v1").name() == ("features", "stock_v1")
    with pytest.raises(FeatureTableError, match="database features has no table other_v1; deploy the feature store"):
        tables.load("other_v1")


def test_glue_reads_region_endpoints_and_keys_from_the_environment():
    """Each service's endpoint wins over the common one; what is not set is left to boto3 and Arrow."""
    assert glue_properties(
        {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "http://all", "AWS_ENDPOINT_URL_S3": "http://s3"}
    ) == {"client.region": "eu-west-1", "glue.endpoint": "http://all", "s3.endpoint": "http://s3"}
    assert glue_properties({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "c"}) == {
        "client.access-key-id": "a",
        "client.secret-access-key": "b",
        "client.session-token": "c",
    }
