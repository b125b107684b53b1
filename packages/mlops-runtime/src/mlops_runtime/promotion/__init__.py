"""A model that is released by one account and registered in another: what both sides must name and check alike."""
