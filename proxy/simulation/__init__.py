"""Recorded traffic, played against a configuration: the real policies in virtual time.

    log ─▶ recorded ─▶ world ─▶ the gateway, its policies and balancers ─▶ tally ─▶ table, plots
                         └── sides: clients and upstreams that do what the log says

Only time, clients and upstreams are replaced. Everything between them is the code that forwards.
"""
