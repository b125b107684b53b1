"""Feature groups of demand forecasting: sales, their history, and planned promotions."""

from datetime import timedelta

from mlops_constructs import Entity, Feature, FeatureGroup

STORE = Entity("store_id", "string", "store")
CATEGORY = Entity("category", "string", "product category")
WEEK = Entity("week", "int", "week of the data, 2 begins on 2017-01-02")

WEEKLY_DEMAND = FeatureGroup(
    name="weekly_demand",
    entities=(STORE, CATEGORY, WEEK),
    event_time="end of the week",
    features=(
        Feature(
            "prediction_time",
            "timestamp",
            "when the forecast for the week is requested, after the books of the last one closed",
        ),
        Feature("units", "double", "units sold in the week", minimum=0),
    ),
    owner="demand",
    description="Units sold by store and category: the label",
)

DEMAND_HISTORY = FeatureGroup(
    name="demand_history",
    entities=(STORE, CATEGORY),
    event_time="end of the last week that it covers",
    features=(
        Feature("units_lag_1", "double", "units of the last week", minimum=0),
        Feature("units_lag_2", "double", "units of the week before", minimum=0),
        Feature("units_lag_3", "double", "units three weeks back", minimum=0),
        Feature("units_lag_4", "double", "units four weeks back", minimum=0),
        Feature("units_mean_4", "double", "mean units of the last 4 weeks", minimum=0),
        Feature("units_mean_8", "double", "mean units of the last 8 weeks", minimum=0),
        Feature("last_price", "double", "dollars a unit in the last week with sales", nullable=True, minimum=0.01),
        Feature(
            "last_discount",
            "double",
            "share of the shelf price given off in the last week with sales",
            nullable=True,
            minimum=0,
            maximum=1,
        ),
    ),
    ttl=timedelta(days=10),
    owner="demand",
    description="Sales that led up to a week, by store and category",
)

WEEK_PLAN = FeatureGroup(
    name="week_plan",
    entities=(STORE, CATEGORY, WEEK),
    event_time="when the plan is announced, a week ahead",
    features=(
        Feature("week_of_month", "int", "1 to 5, by the Monday of the week", minimum=1, maximum=5),
        Feature("planned_price", "double", "dollars a unit on the price list of the week", nullable=True, minimum=0.01),
        Feature(
            "planned_discount",
            "double",
            "share of the shelf price given off on the price list",
            nullable=True,
            minimum=0,
            maximum=1,
        ),
        Feature(
            "display_share",
            "double",
            "share of the category, by recent sales, on display in the store",
            minimum=0,
            maximum=1,
        ),
        Feature(
            "mailer_share",
            "double",
            "share of the category, by recent sales, in the store's mailer",
            minimum=0,
            maximum=1,
        ),
    ),
    owner="demand",
    description="Prices and promotions of a week, known a week ahead",
)

GROUPS = (WEEKLY_DEMAND, DEMAND_HISTORY, WEEK_PLAN)

# inputs of the model: the category, and every feature of the two groups known before the week
INPUTS = (CATEGORY.name, *DEMAND_HISTORY.feature_names, *WEEK_PLAN.feature_names)
