# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = ["nannyml==0.13.1", "pandas<3", "pyarrow", "statsmodels", "scipy<1.16", "setuptools<81", "kaleido==0.2.1"]
# ///
"""``nannyml_drift.py FOLDER``: NannyML's univariate drift by Jensen-Shannon, ten chunks. Its telemetry is off."""

import json
import os
import resource
import sys
import warnings
from pathlib import Path

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
warnings.simplefilter("ignore")
import nannyml as nml  # noqa: E402 - the environment comes first
import pandas as pd  # noqa: E402

before = resource.getrusage(resource.RUSAGE_SELF)  # imports are not counted, of nobody
folder = Path(sys.argv[1])
reference, current = (pd.read_parquet(folder / f"{name}.parquet") for name in ("reference", "current"))
calculator = nml.UnivariateDriftCalculator(
    column_names=list(reference),
    treat_as_categorical=[name for name in reference if name.startswith("c")],
    continuous_methods=["jensen_shannon"],
    categorical_methods=["jensen_shannon"],
    chunk_number=10,
)
results = calculator.fit(reference).calculate(current)
frame = results.filter(period="analysis").to_df()
drifted = sum(bool(frame[name, "jensen_shannon", "alert"].any()) for name in reference)
used = resource.getrusage(resource.RUSAGE_SELF)
peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps({"cpu": cpu, "rss": peak, "drifted": drifted}))
