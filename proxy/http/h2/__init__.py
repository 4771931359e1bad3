"""HTTP/2: bytes to values, without sockets."""
