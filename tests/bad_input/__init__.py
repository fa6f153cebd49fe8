"""Bad input gets an error that names the argument, the value and what is allowed, before anything changes."""
