import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import held_alone, local_path, refuse_lfs_pointer, whole_file

HOLD = """
import sys
from lafs_pipeline.runtime.files import held_alone
with held_alone(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_file_appears_whole_or_stays_as_it_was(tmp_path):
    path = tmp_path / "folder/file.txt"
    with whole_file(path) as temporary:
        temporary.write_text("first")
        assert not path.exists()
    with pytest.raises(FileNotFoundError), whole_file(path) as temporary:
        (temporary.write_text("second"), (tmp_path / "nowhere").read_text())
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


def test_files_get_the_permissions_of_this_process_and_those_of_other_threads_keep_theirs(tmp_path):
    modes, over = set(), threading.Event()

    def write_beside() -> None:
        for number in range(100_000):
            if over.is_set():
                return
            path = tmp_path / f"beside{number}"
            path.touch()
            modes.add(path.stat().st_mode & 0o777)

    mask = os.umask(0o027)
    thread = threading.Thread(target=write_beside)
    try:
        thread.start()
        for _ in range(200):
            with whole_file(tmp_path / "whole.txt") as temporary:
                temporary.write_text("whole")
    finally:
        over.set()
        thread.join()
        os.umask(mask)
    assert (tmp_path / "whole.txt").stat().st_mode & 0o777 == 0o640
    assert modes == {0o640}


def test_a_folder_is_held_by_one_process_and_let_go_when_that_is_killed(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(LafsError, match=rf"in use by another training \(process {holder.pid} on "),
        held_alone(tmp_path),
    ):
        pass
    holder.kill()
    holder.wait()
    with held_alone(tmp_path):
        pass


def test_a_pointer_of_git_lfs_is_named(tmp_path):
    (tmp_path / "model").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    (tmp_path / "other").write_text("version")
    with pytest.raises(LafsError, match=r"model is a Git LFS pointer.*git lfs pull"):
        refuse_lfs_pointer(tmp_path / "model")
    for name in ("other", "absent", "."):
        refuse_lfs_pointer(tmp_path / name)


def test_home_is_expanded_and_other_file_systems_are_refused(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert local_path("~/faces", "`path`") == "/home/ada/faces"
    for path in ("/faces", "", "/a~b", "/odd:name/x"):
        assert local_path(path, "`path`") == path
    for path in ("faces", "C:faces", "../a~b/*.tar"):
        assert local_path(path, "`path`") == f"{Path.cwd()}/{path}"
    for path in ("s3://bucket/faces", "gs://b", "file:///faces", "HTTPS://host/f", "hdfs:/faces"):
        with pytest.raises(LafsError, match=r"`path` is .*it must be a local path"):
            local_path(path, "`path`")
