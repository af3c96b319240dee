"""Heads of instance segmentation: boxes with mask coefficients, and prototypes as the last output."""
