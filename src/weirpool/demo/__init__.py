"""`weirpool demo`: webhooks delivered through a pool, SIGTERM under load, and an account of every event.

    settings                 what the command line decides; the one error for bad input
    events  events.jsonl     one event; a file of them; the shipped sample
    journals                 the records that the three processes write, and how they are written and read
    account                  the law: what three journals must say for nothing to be lost, and who breaks it
    audit                    the account of a directory of journals, as text: python -m weirpool.demo.audit DIR
    delivery                 the job, and the pool's journal
    child  children          what a child process owes its parent; how the parent holds one
    service  receiver        the two child processes
    client                   who sends the events
    view                     what is shown meanwhile
    run                      the conductor

The package needs the extra `demo`; nothing outside of it imports it, save for the command line, on demand.
"""
