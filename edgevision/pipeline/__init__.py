"""Frames through an engine into sinks: batches, order, and which camera comes next. Imports `sinks` and below."""
