"""Architectures in PyTorch with the parameter names of public checkpoints, recipes, and how a model is trained.

Imports `graph`, `checkpoint` and `contract`.
"""
