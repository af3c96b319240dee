"""Architectures in PyTorch, one family for each file, with the parameter names of their public checkpoints."""
