"""Kedro hooks: refuse what cannot work, keep MLflow in step with what runs, and end understandably."""

from lafs_pipeline.hooks.ending import STOPPED_STATUS, EndingHooks
from lafs_pipeline.hooks.guard import GuardHooks
from lafs_pipeline.hooks.summary import SummaryHooks
from lafs_pipeline.hooks.tracking import TrackingHooks

__all__ = ["STOPPED_STATUS", "EndingHooks", "GuardHooks", "SummaryHooks", "TrackingHooks"]
