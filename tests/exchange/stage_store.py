"""A store whose commits end when the test says so: the real operations, on a database in memory."""

from proxy.errors import StoreFull
from proxy.store.records import Committed
from proxy.store.sqlite.connection import MEMORY, SqliteConfig, connect
from proxy.store.sqlite.running import run
from proxy.store.sqlite.tables import NoRoom, Tables
from proxy.store.store import Store, StoreState, StoreStats


class StageStore(Store):
    """`held`: commits wait for `release`, else they end in the loop's next turn; `late`: those of
    these operations do, which others overtake, as on a server with several connections. `full`: as
    if it were. `error`: what every operation raises. `asked` has all operations.
    """

    engine, state, failure = "stage", StoreState.OPEN, ""
    full, dies_with_pod, shared, max_bytes = False, True, False, 0

    def __init__(self, loop):
        self.stats = StoreStats()
        self.held = False
        self.late = ()
        self.error = None
        self.asked = []
        self._loop = loop
        self._connection = connect(SqliteConfig(MEMORY))
        self._tables = Tables(self._connection)
        self._waiting = []

    def do(self, operation):
        return self._later(lambda: self._run([operation])[0], [operation])

    def commit(self, operations):
        return self._later(lambda: self._all(operations), operations)

    def watch(self, changed):
        pass

    def release(self):
        """The commits that wait return."""
        waiting, self._waiting = self._waiting, []
        for work in waiting:
            work()
        self._loop.run()

    def end(self):
        self._connection.close()

    def look(self, operation):
        """What the store has now."""
        return self._run([operation])[0]

    def _later(self, work, operations):
        self.asked.extend(operations)
        future = self._loop.create_future()
        if self.held or isinstance(operations[0], self.late):
            self._waiting.append(lambda: self._resolve(future, work))
        else:
            self._loop.call_soon(self._resolve, future, work)
        return future

    def _resolve(self, future, work):
        if self.error is not None:
            future.set_exception(self.error)
            return
        try:
            future.set_result(work())
        except NoRoom:
            future.set_exception(StoreFull())

    def _all(self, operations):
        results = self._run(operations)
        return Committed(results)

    def _run(self, operations):
        tables = self._tables
        tables.now = self._loop.now
        tables.room = not self.full
        results = []
        for operation in operations:
            results.append(run(tables, operation, results))
        return results
