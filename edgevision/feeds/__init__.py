"""Where live pictures come from, one library a file; `edgevision.cameras` keeps them alive."""
