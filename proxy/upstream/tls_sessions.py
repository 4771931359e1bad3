"""Resumes TLS sessions: the upstream need not sign, and TLS 1.2 saves a round trip.

asyncio and uvloop have no argument for a session, but `ssl` has a hook for the class of a context's
connections, which can set it. Resumption skips the verification of certificates, so sessions
belong to the context that verified them: `TlsContexts` builds a new context when a file changes.
"""

import ssl


def resume_sessions(context: ssl.SSLContext) -> None:
    """Let each connection of a client context resume the previous one's session.

    That is the previous connection to the same server name. A server that does not know the
    session, or issues none, makes a full handshake.
    """
    context.sslobject_class = _resuming()


def _resuming() -> type[ssl.SSLObject]:
    # A TLS 1.3 session arrives after the handshake, with the first bytes that are read,
    # so it is fetched only when it is needed.
    latest: dict[str | None, ssl.SSLObject] = {}

    class ResumingConnection(ssl.SSLObject):
        """One of a context's connections."""

        begun = False

        def do_handshake(self) -> None:
            """Called repeatedly until it no longer raises SSLWantReadError."""
            if not self.begun:
                self.begun = True
                before = latest.get(self.server_hostname)
                session = before.session if before is not None else None
                if session is not None:
                    self.session = session
            super().do_handshake()
            latest[self.server_hostname] = self

    return ResumingConnection
