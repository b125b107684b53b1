"""Training sets and ingests of the feature store compared with Feast and plain DuckDB."""
