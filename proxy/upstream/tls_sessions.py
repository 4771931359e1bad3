"""TLS sessions that are taken up again: the upstream need not sign, and TLS 1.2 is a trip shorter.

asyncio and uvloop have no argument for a session; `ssl` has a hook for the class of a context's
connections, and there it can be given. Resumption skips the verification of certificates, so
sessions are kept with the context that verified them, and end with it: `TlsContexts` builds a
new one whenever a file changes.
"""

import ssl


def resume_sessions(context: ssl.SSLContext) -> None:
    """Have each of a client context's connections take up the session of the one before it.

    To the same server name, that is. A server that does not know a session any more, or gives
    none, makes a handshake like the first.
    """
    context.sslobject_class = _resuming()


def _resuming() -> type[ssl.SSLObject]:
    # The session of TLS 1.3 comes when the handshake is over, with the first bytes that are read.
    # So it is not asked for before it is needed.
    latest: dict[str | None, ssl.SSLObject] = {}

    class ResumingConnection(ssl.SSLObject):
        """One of a context's connections."""

        begun = False

        def do_handshake(self) -> None:
            """Called again and again, until it does not raise that it wants to read."""
            if not self.begun:
                self.begun = True
                before = latest.get(self.server_hostname)
                session = before.session if before is not None else None
                if session is not None:
                    self.session = session
            super().do_handshake()
            latest[self.server_hostname] = self

    return ResumingConnection
