"""Watches a training and says when something goes wrong: see docs/monitoring.md."""

from vln_heatmap.nodes.training.monitor.alerts import Action, Alert, Severity
from vln_heatmap.nodes.training.monitor.monitor import Monitor

__all__ = ["Action", "Alert", "Monitor", "Severity"]
