"""Signals are counted, the second ends, forks and threads stay out of it."""

import signal
import subprocess
import sys
import threading

import pytest

from lafs_pipeline.runtime.stop_signals import SAME_REQUEST, STOP_SIGNALS, StopSignals


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_the_first_signal_is_a_request_and_the_handlers_come_back(number):
    before = [signal.getsignal(each) for each in STOP_SIGNALS]
    with StopSignals() as signals:
        assert signals.requested is None
        signal.raise_signal(number)
        assert signals.requested == signal.Signals(number).name
    assert [signal.getsignal(each) for each in STOP_SIGNALS] == before


def test_signals_held_back_arrive_when_it_opens_and_are_held_back_again():
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        signal.raise_signal(signal.SIGTERM)
        with StopSignals() as signals:
            assert signals.requested == "SIGTERM"
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set(STOP_SIGNALS)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def test_a_worker_sees_what_its_parent_received(tmp_path, monkeypatch):
    monkeypatch.setattr(StopSignals, "file", tmp_path / "stop")
    with StopSignals() as signals:
        assert signals.requested is None
        (tmp_path / "stop").touch()
        assert signals.requested is None  # not written yet
        (tmp_path / "stop").write_text("SIGUSR1")
        assert signals.requested == "SIGUSR1"


def test_another_thread_sees_nothing_and_changes_nothing():
    seen, before = [], signal.getsignal(signal.SIGTERM)

    def look():
        with StopSignals() as signals:
            seen.extend([signals.requested, signal.getsignal(signal.SIGTERM) is before])

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [None, True]


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_the_second_signal_ends(number, error, monkeypatch):
    monkeypatch.setattr("lafs_pipeline.runtime.stop_signals.SAME_REQUEST", -1.0)
    with StopSignals():
        signal.raise_signal(signal.SIGUSR1)
        with pytest.raises(error) as caught:
            signal.raise_signal(number)
    if error is SystemExit:
        assert caught.value.code == 128 + signal.SIGTERM


def test_one_request_that_arrives_twice_is_one():
    assert SAME_REQUEST >= 0.5
    with StopSignals() as signals:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        assert signals.requested == "SIGINT"


FORKED = """
import os, signal, time
from lafs_pipeline.runtime.stop_signals import StopSignals
with StopSignals() as signals:
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(there, b"ready")
        time.sleep(1000)
    os.read(here, 5)
    os.kill(child, signal.SIGINT)
    time.sleep(0.2)
    print(os.waitpid(child, os.WNOHANG)[0], signals.requested)
    os.kill(child, signal.SIGTERM)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_loader_outlives_an_interrupt_but_not_its_termination():
    finished = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, check=True, timeout=60
    )
    assert finished.stdout.split() == ["0", "None", str(128 + signal.SIGTERM)]
