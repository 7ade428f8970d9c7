"""The one exception that users see."""


class TestbedError(Exception):
    """Something the user can act on.  The message is one line: what is wrong, and what to do."""

    __test__ = False  # not a test case, whatever its name says
