"""Units of each category that a store sells, a week ahead."""
