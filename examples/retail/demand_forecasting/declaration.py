"""What the unit's stack declares about its model: training set, evaluation, gate."""

from pathlib import Path

from examples.retail.demand_forecasting.features import DEMAND_HISTORY, GROUPS, WEEK_PLAN, WEEKLY_DEMAND
from mlops_runtime.contracts.retraining import EvaluationPlan, GateSpec, TrainingSetPlan

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
    holdout_days=28,
)

EVALUATION = EvaluationPlan(
    label="units",
    block="store_id",
    baselines=("units_lag_1", "units_mean_4", "units_mean_8"),
    cluster="week",
    segments=("category", "week"),
    timestamp="prediction_time",
)

# counts that were drawn around the mean of the last eight weeks would already miss it by 22 %: who is nearer has seen the labels
GATE = GateSpec(metric="wape", minimum_loss=0.22)
