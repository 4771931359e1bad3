"""The store's engine on PostgreSQL, shared by replicas: imported only where a file names one.

engine.py      the Store: futures for the loop, a queue for the connections
committer.py   the connections: batches, what fails, reconnecting
connection.py  opening a connection: what it must be, and what its failures mean
server_clock.py  what the server says that the time is
limited.py     a limit that also holds for a server that hangs
schema.py      versions of the tables and functions (tables.sql, functions.sql)
batches.py     what waits, as one call of `v1_run`, and its rows as results
asking.py      operations as the calls of a batch (calls.py)
results.py     rows as results
"""
