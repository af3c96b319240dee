"""Long runs: speed, clocks, temperatures and memory over time."""
