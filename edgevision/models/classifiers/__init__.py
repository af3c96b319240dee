"""Classifiers with the parameter names of torchvision and of timm; one family per file."""
