"""Refuse what cannot work before anything is written."""

from collections.abc import Iterator

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from lafs_pipeline.pipelines.parameters import GROUPS, group_settings, parse
from lafs_pipeline.runtime.errors import LafsError

PARAMETER = "params:"


class GuardHooks:
    """Checks parameters and inputs before the first node."""

    @hook_impl(wrapper=True, tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> Iterator[None]:
        """Refuse unknown or impossible parameters, and a pipeline run before the one it needs."""
        inputs = pipeline.inputs()
        for name in sorted(inputs):
            group = name.removeprefix(PARAMETER)
            if name.startswith(PARAMETER) and group in GROUPS and catalog.exists(name):
                parse(group_settings(group), catalog.load(name), group)
        absent = sorted(
            name for name in inputs if not name.startswith(PARAMETER) and not catalog.exists(name)
        )
        if absent:
            raise LafsError(_what_to_run(absent))
        return (yield)


def _what_to_run(absent: list[str]) -> str:
    makers = [
        station
        for station, pipeline in pipelines.items()
        if station != "__default__" and pipeline.all_outputs() & set(absent)
    ]
    return (
        f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} not there yet; "
        f"first run: kedro run --pipelines={','.join(makers)}"
    )
