"""The site that Sphinx makes of docs: it is built strictly, has all public names, and is looked at in a real browser."""
