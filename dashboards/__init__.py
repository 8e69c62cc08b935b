"""Grafana dashboards, made from the metric catalog: `python -m dashboards` writes `grafana/`."""
