"""`weirpool top`: a live view, on a terminal, of the pools of another process.

    page       what a status page answers: how it is asked for, and what it must be
    drawing    how that looks, in so many columns and lines
    watch      the loop: ask, show, wait; on a terminal, or elsewhere

The package needs the extra `top`; nothing outside of it imports it, save for the command line, on demand.
"""
