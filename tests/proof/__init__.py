"""The proof of the pool: scenarios, an oracle that looks after every step, and every fault at every step.

`python -m tests.proof` runs it; docs/proof.md explains it.
"""
