"""Live feeds, one file per library; `edgevision.sources.live` reconnects them."""
