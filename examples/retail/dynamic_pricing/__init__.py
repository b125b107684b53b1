"""Predicts the units of a product group that a store sells at a planned price, as basis of a price decision."""
