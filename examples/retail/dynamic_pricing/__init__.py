"""Units of a product group that a store sells at a planned price: the basis of a price decision."""
