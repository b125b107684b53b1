"""Description of the unit for its trip."""

from examples.retail.dynamic_pricing import data
from examples.retail.dynamic_pricing.declaration import FEATURE_GROUPS, TRAINING_CODE
from examples.retail.page import Words
from examples.retail.replay import Replay, wape

REPLAY = Replay(
    stack="DynamicPricing",
    unit="pricing",
    period="week",
    weeks=1,
    tables=len(FEATURE_GROUPS),
    ingest=data.ingest_weeks,
    requests=data.requests_for_week,
    labels=data.labels_for_week,
    naive=lambda week: data.series_of(week)["units_mean_8"].to_pylist(),
    loss=wape,
    words=Words(title="Dynamic pricing", amount="units", loss="WAPE", naive="8-week mean"),
    bad_script=TRAINING_CODE / "compiled.py",
    refused_script=TRAINING_CODE / "loglog.py",
    whole_every=3,
)
