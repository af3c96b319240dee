"""Models of the Ultralytics package: YOLOv8 to YOLO26, and earlier families in its form."""
