"""How work ends before its end."""


class LafsError(Exception):
    """Something the user gave is wrong: the message names what, where, what was expected and what to do.

    The pipeline shows the message alone, without a traceback.
    """


class WorkerFailed(RuntimeError):  # noqa: N818 - reads as what happened
    """A process of a launch raised or was killed: the message says which, where and why."""


class Stopped(Exception):  # noqa: N818 - it is no error
    """A training stopped before its end and can be continued. All processes of a group raise it together.

    Attributes:
        reason: what asked it to stop, as it shall be shown.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
