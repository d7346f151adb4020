"""No address is shown with its password."""

import subprocess
import sys

import pytest

from lafs_pipeline.runtime.credentials import without_credentials


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("to https://me:s3cret@host:5000/api failed", "to https://host:5000/api failed"),
        ("https://token@host/a", "https://host/a"),
        ("http://me:s3@cret@host/", "http://host/"),
        ("postgresql+psycopg2://me:s3/cret@host:5432/runs", "postgresql+psycopg2://host:5432/runs"),
        (
            "postgresql://host/runs?user=me&password=s3cret&ssl=1",
            "postgresql://host/runs?user=me&password=***&ssl=1",
        ),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
        ("http://host:5000/x/a@b, a@b", "http://host:5000/x/a@b, a@b"),
        ("write to a@b, not to c", "write to a@b, not to c"),
    ],
)
def test_addresses_without_credentials(text, shown):
    assert without_credentials(text) == shown


LOG = """
import logging, sys
from lafs_pipeline.runtime.credentials import keep_credentials_out_of_logs
keep_credentials_out_of_logs()
logging.basicConfig(stream=sys.stdout)
address = "https://me:s3cret@host/api"
logging.warning("sent to %s", address)
logging.warning("a wrong %d", "number")
try:
    raise OSError(f"no answer from {address}")
except OSError:
    logging.exception("lost")
"""


def test_logs_are_without_credentials_in_messages_and_tracebacks():
    finished = subprocess.run([sys.executable, "-c", LOG], capture_output=True, text=True, check=True)
    assert "sent to https://host/api" in finished.stdout
    assert "OSError: no answer from https://host/api" in finished.stdout
    assert "s3cret" not in finished.stdout + finished.stderr
