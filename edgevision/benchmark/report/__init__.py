"""Reports of benchmark records: a page, Markdown and CSV."""
