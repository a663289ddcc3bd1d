"""Checks for writers of ops and backends: gradients against differences, backends against the reference."""
