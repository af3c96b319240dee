"""The loop: optimizer, schedule, averages, records, run folders."""
