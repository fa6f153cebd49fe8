"""The command `weirpool map`: a function, called with each line of a file, through a pool. See docs/command-line.md.

_errors  _writing    what ends the command with a message; writing all of something
_options             what it was asked to do
_function  _lines    the function that the user names; the items of a file or a pipe
_journal   _progress what has been done before; what a person sees
_outputs             results, failures and journal, written together
_run                 the pool, the signals, the exit status
command              the options as the terminal has them
"""
