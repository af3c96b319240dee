"""Outputs of results: files, windows, MQTT, webhooks.

May import: storage, settings, device, contract, sources, analytics, drawing.
"""
