"""Reports of failures arrive whole, and the root cause is told from its consequences."""

from hypothesis import given
from hypothesis import strategies as st

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.failures import KINDS, Failure, failure_of, read_failure, root_cause, write_failure

failures = st.builds(Failure, st.sampled_from(KINDS), st.text(), st.floats(0, 1e10))


@given(failures)
def test_a_failure_travels_as_text(failure):
    assert Failure.loads(failure.dumps()) == failure


@given(st.lists(failures, min_size=1), st.randoms())
def test_the_root_cause_is_the_surest_kind_and_the_first_of_it(many, random):
    random.shuffle(many)
    found = root_cause(many)
    assert all(KINDS.index(found.kind) <= KINDS.index(other.kind) for other in many)
    assert all(found.time <= other.time for other in many if other.kind == found.kind)


def test_no_failure_has_no_cause():
    assert root_cause([]) is None


def test_the_first_report_stays(tmp_path):
    path = tmp_path / "report.json"
    assert read_failure(path) is None
    first = Failure("raised", "first")
    write_failure(path, first)
    write_failure(path, Failure("hang", "second"))
    assert read_failure(path) == first
    assert list(tmp_path.iterdir()) == [path]


def test_a_refusal_has_its_message_alone_and_others_their_traceback():
    def caught(error):
        try:
            raise error
        except Exception as raised:
            return failure_of(raised, "rank 3 on host")

    assert (caught(LafsError("x")).kind, caught(LafsError("x")).text) == ("refused", "x")
    other = caught(ZeroDivisionError("y"))
    assert other.kind == "raised"
    assert other.text.startswith("rank 3 on host failed:\nTraceback")
    assert other.text.endswith("ZeroDivisionError: y")
