"""Addresses are shown without their users, passwords and tokens, in logs as well."""

import logging
import re
import traceback
from contextlib import suppress
from typing import Any

USER = re.compile(r"//(?:[^/\s]*|[^:/@\s]*:(?!\d+(?:/|\s|$))[^@\s]*)@")
"""Up to the last `@` before the path; passwords of databases may have a `/`, which no port has."""
SECRET = re.compile(r"([?&]\w*(?:password|passwd|pwd|token|secret)=)[^&\s]+", re.IGNORECASE)


def without_credentials(text: str) -> str:
    """A text whose addresses name no user, password or token."""
    return SECRET.sub(r"\1***", USER.sub("//", text)) if "://" in text else text


def keep_credentials_out_of_logs() -> None:
    """Remove them from every record that is made from now on, whose traceback then is part of the message."""
    make = logging.getLogRecordFactory()

    def clean(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        with suppress(Exception):  # logging itself reports a message whose arguments do not fit
            said = record.getMessage()
            if (cleaned := without_credentials(said)) != said:
                record.msg, record.args = cleaned, None
            trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
            if (cleaned := without_credentials(trace)) != trace:
                record.msg, record.args = f"{record.getMessage()}\n{cleaned}", None
                record.exc_info = None
        return record

    logging.setLogRecordFactory(clean)
