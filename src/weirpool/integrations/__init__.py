"""weirpool in what services are made of. Nothing here is imported before it is asked for."""
