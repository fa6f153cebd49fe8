"""What the benchmarks have in common; each question has a script of its own, one floor up.

Bottom to top:

    rounds          contestants take turns, and only what happened in one round is compared: paired ratios, their spread
    contestant      what a contestant can be asked to do
    standard        contestants that one writes by hand, out of asyncio itself; and the floor under them all
    libraries       contestants from the package index, and weirpool
    field           who takes part in a question, and who is left out and why
    report          the figures of a question: printed, and written to JSON and read again
    bars            what the figures have to be, and the margins of the regression guard
    apart           a function, run in a process of its own
    command         the command line that the scripts share
    plot            the pictures: SVG, for light and dark
    pictures        which figures go into which picture
"""
