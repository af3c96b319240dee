"""What each task trains: batches, losses, measurements."""
