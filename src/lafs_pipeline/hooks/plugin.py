"""The hook of kedro-mlflow, which ours go through."""

import warnings

# MLflow would have type hints in a class of kedro-mlflow, and tells so whatever the filters are.
with warnings.catch_warnings(record=True):
    from kedro_mlflow.framework.hooks.mlflow_hook import mlflow_hook

__all__ = ["mlflow_hook"]
