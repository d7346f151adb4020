"""Every command of the documents has a test that runs it, here or elsewhere."""

import re

import pytest
from tests.end_to_end.command_tables import RUN_ELSEWHERE, RUN_HERE
from tests.end_to_end.documents import PROJECT, documents


def test_every_command_is_run_by_a_test():
    """A new one belongs into a table above, and one that is gone out of it.

    `--pipelines` with one name is `--pipeline`; LEAVES runs the one, TWO_PROCESSES the other.
    """
    written = {
        re.sub(r"^kedro run --pipelines=(\w+)$", r"kedro run --pipeline=\1", command)
        for page in documents()
        for command in page.commands()
    }
    assert not RUN_HERE & RUN_ELSEWHERE.keys()
    assert written == RUN_HERE | RUN_ELSEWHERE.keys()


@pytest.mark.parametrize(("command", "where"), RUN_ELSEWHERE.items())
def test_what_runs_elsewhere_does(command, where):
    file, name = where.split(": ")
    text = (PROJECT / file).read_text()
    if file != "Makefile":
        assert f"def {name}(" in text
        return
    recipe = re.search(rf"^{name}:.*\n((?:\t.*\n)+)", text, re.MULTILINE)[1]
    assert command == f"make {name}" or f"/{command}\n" in recipe
