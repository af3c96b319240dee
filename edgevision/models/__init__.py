"""Architectures in PyTorch, one family for each file, with the parameter names of public checkpoints."""
