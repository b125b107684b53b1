# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = ["nannyml==0.13.1", "pandas<3", "pyarrow", "statsmodels", "scipy<1.16", "setuptools<81", "kaleido==0.2.1"]
# ///
"""``nannyml_drift.py FOLDER [windows [rows]]``: NannyML's univariate Jensen-Shannon drift, ten chunks. Its telemetry is off.

``windows``: prints a line per file of ``FOLDER/windows`` with every feature's score, the largest of its chunks.
``rows`` is the chunk size: a window is then one chunk, as with one chunk per day.
"""

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


def windows(folder: Path, **chunks: int) -> None:
    """Print a line per window: scores (larger is further) and features with an alert in any chunk."""
    reference = pd.read_parquet(folder / "reference.parquet")
    texts = [name for name in reference if not pd.api.types.is_numeric_dtype(reference[name])]
    columns = list(reference)
    fitted = nml.UnivariateDriftCalculator(column_names=columns, treat_as_categorical=texts, **chunks).fit(reference)
    for path in sorted((folder / "windows").iterdir()):
        frame = fitted.calculate(pd.read_parquet(path)).filter(period="analysis").to_df()
        scores = {name: float(frame[name, "jensen_shannon", "value"].max()) for name in columns}
        drifted = [name for name in columns if frame[name, "jensen_shannon", "alert"].any()]
        print(json.dumps({"window": path.stem, "scores": scores, "alarms": drifted}))


if sys.argv[2:3] == ["windows"]:
    windows(Path(sys.argv[1]), **({"chunk_size": int(sys.argv[3])} if sys.argv[3:] else {}))
    sys.exit()

before = resource.getrusage(resource.RUSAGE_SELF)  # imports are not counted for any tool
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
