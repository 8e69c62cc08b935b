"""The hostpulse command."""
