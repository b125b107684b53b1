"""Units of a product group that a store sells at a planned price: what a price decision rests on."""
