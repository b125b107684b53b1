"""Two feature groups of a shop: stock on its shelves, and price lists announced a week ahead."""

# [start:groups]
from datetime import timedelta

from mlops_constructs import Entity, Feature, FeatureGroup

STORE = Entity("store_id", "string", "store")
WEEK = Entity("week", "int", "week that a price is for")

STOCK = FeatureGroup(
    name="stock",
    entities=(STORE,),
    event_time="when it was counted",
    features=(
        Feature("on_hand", "long", "units on hand", minimum=0),
        Feature("shelf", "string", "shelf", allowed=("front", "back"), nullable=True),
    ),
    ttl=timedelta(days=14),
    freshness=timedelta(days=2),
    owner="demand",
    description="Stock on the shelves of a store",
)
PRICE = FeatureGroup(
    name="price",
    entities=(STORE, WEEK),
    event_time="when the price list was announced",
    features=(Feature("list_price", "double", "dollars a unit", minimum=0.01),),
    time_zone="America/New_York",
    owner="pricing",
    description="Price lists of stores, by week",
)
GROUPS = (STOCK, PRICE)
# [end:groups]
