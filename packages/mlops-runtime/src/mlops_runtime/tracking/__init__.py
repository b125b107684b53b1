"""MLflow as a mirror of retrainings and as a source of models; promotion and serving never depend on it."""
