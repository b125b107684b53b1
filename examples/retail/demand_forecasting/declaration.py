"""Declaration of the unit's model: training set, evaluation, gate."""

from pathlib import Path

from examples.retail.demand_forecasting.features import DEMAND_HISTORY, GROUPS, WEEK_PLAN, WEEKLY_DEMAND
from mlops_constructs import EvaluationPlan, GateSpec, MonitorSpec, TrainingSetPlan

HERE = Path(__file__).parent

FEATURE_GROUPS = GROUPS
LOCK_FILE = HERE / "features.lock.json"
TRAINING_CODE = HERE / "training"
TRAINING_SCRIPT = "train.py"

TRAINING_SET = TrainingSetPlan(
    name="demand-forecast",
    label_group=WEEKLY_DEMAND.name,
    timestamp="prediction_time",
    label="units",
    features={
        DEMAND_HISTORY.name: DEMAND_HISTORY.feature_names,
        WEEK_PLAN.name: WEEK_PLAN.feature_names,
    },
    holdout_days=56,  # eight weeks: with four, a gate with weeks as clusters has almost no power (ADR 10)
)

EVALUATION = EvaluationPlan(
    label="units",
    block="store_id",
    baselines=("units_lag_1", "units_mean_4", "units_mean_8"),
    cluster="week",
    period="week",
    segments=("category",),
    # a category is promoted if at least a quarter of it, by recent sales, is in the mailer; series are small below 5 units a week,
    # and each further band starts at twice as many
    bands={"mailer_share": (0.25,), "units_mean_8": (5, 10, 20)},
    timestamp="prediction_time",
    max_unknown=0.01,  # the script keeps all categories: a candidate was not trained on those it does not know
)

# counts sampled around the mean of the last eight weeks already differ from it by 22 %: a lower loss means leaked labels
# with 2 %, an equal candidate passes nine times in ten, at the standard errors of the unit's holdouts (ADR 10)
GATE = GateSpec(metric="wape", minimum_loss=0.22, max_regression=0.02)

# a week is one cluster: a window of a month has enough data and changes slowly enough to raise an alarm alone; at most one in
# twenty months without drift raises a false alarm
SPEC = MonitorSpec(alarm_windows=1, of_windows=1, significance=0.05)

GOLDEN = HERE / "golden.jsonl"
# predictions of two trainings on the same weeks differ by a tenth, those of two seasons by up to two tenths; forecasts are
# requested by a program that waits, and a candidate three times as slow as the live model needs other instances
MAX_DEVIATION, MAX_MILLISECONDS, MAX_SLOWDOWN = 0.3, 1000, 3.0
