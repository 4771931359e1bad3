"""What promises are kept in: records that survive the process.

    store.py       the interface: `do` one operation, `commit` several as one
    operations.py  the operations, as values: each is one statement or transaction of an engine
    records.py     what operations return
    rows.py        how engines write states
    queued.py      what engines do alike in the event loop
    group.py       what waits in an engine's queue
    sqlite/        the engine on SQLite: a file, or memory
    postgres/      the engine on PostgreSQL, which replicas share

It knows neither HTTP nor policies: heads, bodies and outcomes are bytes that their owners wrote.
Nothing here is imported until a configuration names a store.
"""
