"""Run every node of the default pipeline, alone, on what a whole run has left.

`python -m tests.end_to_end.every_node` with LAFS_DATA set prints the name of each node that has run.
"""

from pathlib import Path

from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

PROJECT = Path(__file__).parents[2]


def main() -> None:
    """One session for each node, in one process; nothing that a node needs may lie only in memory."""
    bootstrap_project(PROJECT)
    for node in pipelines["__default__"].nodes:
        with KedroSession.create(
            PROJECT, env="smoke", runtime_params={"tracking": {"enabled": False}}
        ) as session:
            session.run(node_names=[node.name])
        print("ran", node.name)


if __name__ == "__main__":
    main()
