"""From checkpoint to verified bundle, on the workstation."""
