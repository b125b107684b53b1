"""The Spark session of a Glue job's script; ``tests/runtime/jobs/test_training_set_spark.py`` runs one."""

from mlops_local.glue import spark_session


def test_settings_are_those_of_the_argument_and_the_endpoints() -> None:
    """Has each setting, and Iceberg's classes by the local jar's names; only catalogs get endpoints."""
    conf = (
        "spark.sql.catalog.lake=org.apache.iceberg.spark.SparkCatalog "
        "--conf spark.sql.catalog.lake.io-impl=org.apache.iceberg.aws.s3.S3FileIO --conf spark.sql.session.timeZone=UTC"
    )
    environment = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_REGION": "eu-west-1"}
    assert spark_session.settings(conf, environment) == {
        "spark.sql.catalog.lake": "smfs.shaded.org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.lake.io-impl": "smfs.shaded.org.apache.iceberg.aws.s3.S3FileIO",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.catalog.lake.glue.endpoint": "http://127.0.0.1:1",
        "spark.sql.catalog.lake.s3.endpoint": "http://127.0.0.1:1",
        "spark.sql.catalog.lake.s3.path-style-access": "true",
        "spark.sql.catalog.lake.client.region": "eu-west-1",
    }
    assert spark_session.settings("", environment) == {}
