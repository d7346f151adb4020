from lafs_pipeline.cataloging.reasons import count_reasons


def test_reasons_are_counted_with_an_example_each_and_none_is_lost():
    reasons = [(f"s/{n}.jpg", f"it is {n} pixels wide") for n in range(3)]
    reasons += [("s/a/b.jpg", "it is an exact duplicate of lfw/x.jpg of benchmark 'lfw'")] * 5
    reasons += [("s/c", f"another {word}") for word in ("odd", "bad", "cut")]
    assert count_reasons(reasons) == (
        "5 as s/a/b.jpg: it is an exact duplicate of lfw/x.jpg of benchmark 'lfw'; 3 as s/0.jpg: it is "
        "0 pixels wide; 1 as s/c: another odd; 1 as s/c: another bad; 1 for other reasons"
    )
    assert count_reasons([]) == ""
