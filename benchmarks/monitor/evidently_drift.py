# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["evidently==0.7.23", "pandas<3", "pyarrow"]
# ///
"""``evidently_drift.py FOLDER``: Evidently's data drift preset at its defaults. With pandas 3 its import fails."""

import json
import resource
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
import pandas as pd  # noqa: E402 - warnings of imports are not the figures
from evidently import DataDefinition, Dataset, Report  # noqa: E402
from evidently.presets import DataDriftPreset  # noqa: E402

before = resource.getrusage(resource.RUSAGE_SELF)  # imports are not counted, of nobody
folder = Path(sys.argv[1])
frames = [pd.read_parquet(folder / f"{name}.parquet") for name in ("reference", "current")]
numbers = [name for name in frames[0] if name.startswith("n")]
definition = DataDefinition(
    numerical_columns=numbers, categorical_columns=[name for name in frames[0] if name not in numbers]
)
reference, current = (Dataset.from_pandas(frame, data_definition=definition) for frame in frames)
result = Report([DataDriftPreset()]).run(current, reference).dict()
drifted = next(m["value"]["count"] for m in result["metrics"] if "DriftedColumnsCount" in m["metric_name"])
used = resource.getrusage(resource.RUSAGE_SELF)
peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps({"cpu": cpu, "rss": peak, "drifted": drifted}))
