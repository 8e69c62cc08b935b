"""What every hostpulse process shares: the wire, lifecycle, backoff, logs, clock and errors."""

__version__ = "0.1.0"
