"""Training sets and ingests of the feature store beside Feast and plain DuckDB."""
