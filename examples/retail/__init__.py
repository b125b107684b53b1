"""Business units of a retailer, and the demo that runs their loop."""
