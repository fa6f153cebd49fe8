"""The policies alone, without a pool: each of their rules, and each trap that adaptive limits have fallen into elsewhere."""
