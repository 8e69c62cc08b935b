"""Benchmarks: programs that print what they measured, never timed tests."""
