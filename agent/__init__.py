"""The agent process: collectors, runner, buffer, uplink."""
