"""`pool.map`: what comes out, what is bounded, and that nothing is left when it is left."""
