"""What `weirpool demo` promises: it runs, it accounts for every event, and it leaves nothing behind."""
