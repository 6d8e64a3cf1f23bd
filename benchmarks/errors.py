"""Why there is no figure."""


class MeasurementError(Exception):
    """What was to be measured did not work."""


class WrongAnswerError(MeasurementError):
    """A function answered, and not what it should."""


class MalformedAnswerError(WrongAnswerError):
    """What came is not one HTTP/1.1 answer."""
