"""A local Spark with real Iceberg: pyspark and the jar of ``sagemaker-feature-store-pyspark``, which carries Iceberg 1.9 relocated.

``.ci/run`` puts both below ``.venv/share/spark``; what needs them skips with a reason where they or Java are missing.
"""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.table import Table

from mlops_runtime.features.training_set_sql import SqlTable

HOME = Path(sys.prefix) / "share" / "spark"
JAR = HOME / "feature_store_pyspark" / "jars" / "sagemaker-feature-store-spark-sdk-3.5.jar"
ICEBERG = "smfs.shaded.org.apache.iceberg.spark"


_SHARED: list[Any] = []


def shared(folder: Path):
    """Return the session of all tests that need no environment of their own, which the first of them starts with this folder.

    A start takes as long as many tests: ``tests.tiers`` gives their files to one process. Tables of one name replace each other.
    """
    if not _SHARED:
        _SHARED.append(session(folder))
    return _SHARED[0]


def session(folder: Path, environment: Mapping[str, str] | None = None, *, cores: int = 1, is_compiled: bool = False):
    """Return a session, its catalog ``lake`` a folder, whose workers have an environment beside this process's.

    ``is_compiled`` lets it compile its plans, as it does where it lives longer than a test.

    A process has one Java process for all of its sessions, with the environment of the first.
    """
    if sys.version_info >= (3, 12):
        pytest.skip("Spark 3.5, which Glue 5 runs on Python 3.11, needs distutils")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java 17: apt-get install openjdk-17-jre-headless")
    if not JAR.is_file():
        pytest.skip(f"pyspark 3.5 and sagemaker-feature-store-pyspark are not below {HOME}; .ci/run installs them")
    while _SHARED:  # a process has one context at a time
        _SHARED.pop().stop()
    sys.path.append(str(HOME))
    from pyspark.sql import SparkSession

    settings = {
        "spark.jars": str(JAR),
        "spark.sql.extensions": f"{ICEBERG}.extensions.IcebergSparkSessionExtensions",
        "spark.sql.catalog.lake": f"{ICEBERG}.SparkCatalog",
        "spark.sql.catalog.lake.type": "hadoop",
        "spark.sql.catalog.lake.cache-enabled": "false",
        "spark.sql.catalog.lake.warehouse": str(folder / "lake"),
        "spark.sql.session.timeZone": "America/New_York",  # nothing may depend on it
        "spark.sql.shuffle.partitions": "2",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": "1g",
        # it lives a minute: neither what is compiled well nor what is verified pays
        "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+UnlockDiagnosticVMOptions "
        "-XX:-BytecodeVerificationRemote",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.local.dir": str(folder / "local"),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
    }
    if is_compiled:
        for name in ("spark.driver.extraJavaOptions", "spark.sql.codegen.wholeStage", "spark.sql.codegen.factoryMode"):
            del settings[name]
        settings["spark.driver.memory"] = "4g"
    builder = SparkSession.builder.master(f"local[{cores}]").appName("tests")
    settings |= {f"spark.executorEnv.{name}": value for name, value in (environment or {}).items()}
    for name, value in settings.items():
        builder = builder.config(name, value)
    with pytest.MonkeyPatch.context() as patch:
        # workers are this very Python, and find what this process finds; no later test's processes do
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        found = builder.getOrCreate()
    found.sparkContext.setLogLevel("ERROR")
    return found


def shown(spark: Any, table: Table) -> SqlTable:
    """Let Spark's catalog of folders find a table of pyiceberg's, by the file name that such a catalog looks for."""
    lake = Path(spark.conf.get("spark.sql.catalog.lake.warehouse"))
    folder = lake / "features" / table.name()[-1] / "metadata"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "v1.metadata.json").write_bytes(Path(table.metadata_location.removeprefix("file://")).read_bytes())
    (folder / "version-hint.text").write_text("1")
    snapshot = table.current_snapshot()
    assert snapshot is not None
    return SqlTable(database="features", table=table.name()[-1], snapshot_id=snapshot.snapshot_id)
