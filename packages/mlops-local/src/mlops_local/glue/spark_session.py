"""``python -m mlops_local.glue.spark_session SCRIPT ARGUMENTS``: runs a Glue job's script on a local Spark.

The session is created before the script runs, as in Glue, with the settings of ``--conf``. Glue's Iceberg is replaced by the jar of
``sagemaker-feature-store-pyspark``, whose classes have another prefix; each catalog uses the embedded cloud's endpoints.
"""

import importlib.util
import os
import runpy
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_JAR = "sagemaker-feature-store-spark-sdk-3.5.jar"
_ICEBERG = "org.apache.iceberg"
_CATALOG = "spark.sql.catalog."


def settings(conf: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the session's settings: those of ``--conf``, several chained as Glue accepts them, and the catalogs' endpoints.

    Args:
        conf: The argument's value.
        environment: Environment with the endpoint and the Region.

    Example:
        >>> conf = "spark.sql.catalog.c=org.apache.iceberg.spark.SparkCatalog --conf spark.sql.session.timeZone=UTC"
        >>> found = settings(conf, {"AWS_ENDPOINT_URL": "http://localhost:4566", "AWS_REGION": "eu-central-1"})
        >>> found["spark.sql.catalog.c"], found["spark.sql.catalog.c.s3.endpoint"]
        ('smfs.shaded.org.apache.iceberg.spark.SparkCatalog', 'http://localhost:4566')
    """
    # claim: glue-takes-settings-as-one-argument
    pairs = (each.strip().partition("=") for each in conf.split("--conf") if each.strip())
    found = {
        name.strip(): value.strip().replace("org.apache.iceberg", "smfs.shaded.org.apache.iceberg")
        for name, _, value in pairs
    }
    for catalog in [name for name in found if name.startswith(_CATALOG) and "." not in name.removeprefix(_CATALOG)]:
        found |= {
            f"{catalog}.glue.endpoint": environment["AWS_ENDPOINT_URL"],
            f"{catalog}.s3.endpoint": environment["AWS_ENDPOINT_URL"],
            f"{catalog}.s3.path-style-access": "true",
            f"{catalog}.client.region": environment["AWS_REGION"],  # another region has no tables
        }
    return found


def _jar() -> Path:
    found = importlib.util.find_spec("feature_store_pyspark")
    assert found is not None, "jobs are rejected without it"  # noqa: S101
    assert found.origin is not None  # noqa: S101 - it is a package
    return Path(found.origin).parent / "jars" / _JAR


def main(arguments: Sequence[str]) -> None:
    """Create the session, then run the script with its arguments, as Glue does."""
    script, *rest = arguments
    given = dict(zip(rest[::2], rest[1::2], strict=True))

    from pyspark.sql import SparkSession  # noqa: PLC0415 - only with Spark

    with tempfile.TemporaryDirectory() as scratch:
        builder = SparkSession.builder.master("local[2]").appName(given.get("--JOB_NAME", "job"))
        values = {
            "spark.jars": str(_jar()),
            "spark.sql.shuffle.partitions": "2",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.memory": "1g",
            # a job runs for about a minute: optimizing compilation and verification do not pay off
            "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+UnlockDiagnosticVMOptions "
            "-XX:-BytecodeVerificationRemote",
            "spark.sql.codegen.wholeStage": "false",
            "spark.sql.codegen.factoryMode": "NO_CODEGEN",
            "spark.local.dir": scratch,
            "spark.sql.warehouse.dir": scratch,
            **settings(given.get("--conf", ""), os.environ),
        }
        for name, value in values.items():
            builder = builder.config(name, value)
        spark = builder.getOrCreate()
        spark.sparkContext.setLogLevel("ERROR")
        sys.argv = [script, *rest]
        try:
            runpy.run_path(script, run_name="__main__")
        finally:
            spark.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
