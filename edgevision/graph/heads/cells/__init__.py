"""Heads of detectors with boxes for each cell that are not in one decoded output of YOLOv5's or YOLOv8's form."""
