"""The store's engine on SQLite: one thread with one connection.

Two connections to one file would meet a fault of SQLite before 3.51.3 (the WAL reset), and one
thread makes every commit a group commit for free.

    engine.py      the Store: futures for the loop, a queue for the thread
    committer.py   the thread: transactions, their failures, checkpoints, expiry
    connection.py  opening a file: lock, mode, settings that are read back
    schema.py      tables and migrations
    keys.py entries.py sagas.py   the operations
"""
