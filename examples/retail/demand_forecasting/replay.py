"""Description of the unit for its trip."""

from examples.retail.demand_forecasting import data
from examples.retail.demand_forecasting.declaration import FEATURE_GROUPS, TRAINING_CODE
from examples.retail.page import Words
from examples.retail.replay import Replay, wape

REPLAY = Replay(
    stack="DemandForecasting",
    unit="demand",
    period="week",
    weeks=1,
    first=37,  # with a holdout of eight weeks, the monitors' baseline has the 20 weeks required for windows of four weeks
    tables=len(FEATURE_GROUPS),
    ingest=data.ingest_weeks,
    requests=data.requests_for_week,
    labels=data.labels_for_week,
    naive=lambda week: data.series_of(week)["units_mean_8"].to_pylist(),
    loss=wape,
    words=Words(title="Demand forecasting", amount="units", loss="WAPE", naive="8-week mean"),
    bad_script=TRAINING_CODE / "compiled.py",
    refused_script=TRAINING_CODE / "elasticity.py",
    whole_every=3,
)
