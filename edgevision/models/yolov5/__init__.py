"""YOLOv5 v6.0 to v7.0."""
