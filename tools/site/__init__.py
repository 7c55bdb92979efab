"""The site: `python -m tools.site`."""
