"""Scenarios: MLPerf's by LoadGen, and a camera at its own rate."""
