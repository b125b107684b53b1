"""MLflow as a mirror of retrainings and as a source of models; nothing on the way to traffic asks it."""
