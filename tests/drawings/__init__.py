"""The pictures of docs/diagrams, drawn from what is so: the tables of moves, and a shutdown that was run.

`python -m tests.drawings` draws them again; tests/drawings/test_drawings.py fails where they differ from what is kept.
"""
