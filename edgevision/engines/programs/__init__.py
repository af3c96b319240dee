"""Runs the graphs of a program as one model."""
