"""Classifiers of torchvision and timm as export sources, and their recipes."""
