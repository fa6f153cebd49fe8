"""Real servers, each in a process of its own: SIGTERM in the midst of load, and the account from both sides."""
