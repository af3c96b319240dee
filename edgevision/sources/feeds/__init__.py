"""Where live pictures come from, one library a file; `edgevision.sources.live` keeps them alive."""
