"""Which layers stay in float: candidates, their accuracy and their speed."""
