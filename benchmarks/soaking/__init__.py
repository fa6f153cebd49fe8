"""What `benchmarks/soak.py` runs, part by part; each part runs in a process of its own.

Bottom to top:

    bars                     what must hold, and the table of verdicts
    gauges                   memory, descriptors, tasks, threads, objects; how late the loop is; what is logged
    loops                    the event loops to run on, and how one goes on after a job has stopped it
    work                     the jobs: every way in which one may end
    books                    the tally that is kept beside the pool's own, and the comparison of the two
    disturbances             what is done to the pool meanwhile: the one list, to which new verbs of the pool are added
    load                     part "jobs": millions of jobs, under disturbances
    pools                    part "pools": a great many pools, opened, used and closed
    full                     part "full": a pool near its capacity, and one that is full for minutes
    stall                    part "stall": a loop that is blocked in the midst of closing
    signals                  part "signals": SIGTERM and SIGKILL for the demo's service, under load
"""
