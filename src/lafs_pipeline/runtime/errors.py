"""The one error a user can mend."""


class LafsError(Exception):
    """Something the user gave is wrong: the message names what, where, what was expected and what to do.

    The pipeline shows the message alone, without a traceback.
    """
