"""The errors that every process shares; two words decide what happens next.

HostpulseError
├── ConfigError   a setting is wrong: refuse to start
├── Retryable     the same thing may work later (the default for what is not understood)
└── Permanent     the same thing will never work: count it, record it, go on without it
"""


class HostpulseError(Exception):
    """Something went wrong in hostpulse."""

    def __str__(self) -> str:
        """Fall back to the class's sentence, so that a bare raise still says something."""
        return super().__str__() or (type(self).__doc__ or type(self).__name__).splitlines()[0]


class ConfigError(HostpulseError):
    """A setting is wrong.

    Args:
        field: The setting as the user wrote it: a flag, a variable or a key of the file.
        expectation: What is accepted there, worded to follow "must be".
        value: What came. Never pass a secret here: it is printed.
    """

    def __init__(self, field: str, *, expectation: str, value: object) -> None:
        super().__init__(f"{field} must be {expectation}, got {value!r}")
        self.field = field
        self.expectation = expectation
        self.value = value


class Retryable(HostpulseError):
    """It did not work now and may work later.

    Args:
        message: What happened.
        after_s: How long the other side asked to be left alone; None where it said nothing.
    """

    def __init__(self, message: str = "", *, after_s: float | None = None) -> None:
        super().__init__(*([message] if message else []))
        self.after_s = after_s


class Permanent(HostpulseError):
    """It did not work and never will."""
