"""Everything that knows MLflow: runs and what they are told, metrics, artifacts, models, replay."""
