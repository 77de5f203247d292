"""Metrics, spans and log lines."""
