"""Mutation testing of the core: does any test notice when a line of it is wrong?

`python -m tests.mutation` changes one thing at a time in `src/weirpool/_*.py`, in memory, and runs the tests that execute
that line. A change that no test notices has to be judged in `judged.toml`: either it changes nothing that is promised, or
a test is missing.

::

    operators   what may be wrong: the changes that can be made to a syntax tree
    mutants     the mutants of a module, each with a name that survives shifted lines; loads one instead of the module
    selection   which tests execute which lines, measured once
    stages      the killers, in order, each in a process of its own
    judged      the verdicts on survivors
    __main__    the command

Why not mutmut or cosmic-ray: mutmut 3 calls each function through a trampoline, whose frame holds references to a job and its
arguments and shows in stacks, so tests of R17 fail before anything is mutated, and it leaves decorated functions
alone. cosmic-ray runs the whole suite in a new process for each mutant: days.
"""
