"""Request lines and targets (RFC 9112 section 3). Each row is the line; Host follows it."""

from conformance.rows import BAD, Row

SAME = b""
"""The line goes upstream as it came."""

LINES: list[tuple[str, bytes, bytes | str]] = [
    # the line as such
    ("a plain one", b"GET /x HTTP/1.1", SAME),
    ("two spaces before the target", b"GET  /x HTTP/1.1", BAD),
    ("two spaces before the version", b"GET /x  HTTP/1.1", BAD),
    ("a space at its end", b"GET /x HTTP/1.1 ", BAD),
    ("a space at its beginning", b" GET /x HTTP/1.1", BAD),
    ("a tab for a space", b"GET\t/x HTTP/1.1", BAD),
    ("a tab before the version", b"GET /x\tHTTP/1.1", BAD),
    ("a form feed for a space", b"GET\x0c/x HTTP/1.1", BAD),
    ("a non-breaking space", b"GET\xa0/x HTTP/1.1", BAD),
    ("a fourth word", b"GET /x HTTP/1.1 x", BAD),
    ("the method alone", b"GET", BAD),
    ("no target", b"GET HTTP/1.1", BAD),
    ("an empty target", b"GET  HTTP/1.1", BAD),
    ("a NUL behind it", b"GET /x HTTP/1.1\0", BAD),
    ("a bare CR in it", b"GET /x\r HTTP/1.1", BAD),
    ("a bare CR at its end", b"GET /x HTTP/1.1\r", BAD),
    ("a bare LF in it", b"GET /x\n HTTP/1.1", BAD),
    ("a bare LF at its end", b"GET /x HTTP/1.1\nX: y", BAD),
    ("a response", b"HTTP/1.1 200 OK", BAD),
    # versions
    ("HTTP/0.9", b"GET /x", BAD),
    ("HTTP/0.9, and the version behind a field", b"GET /x\r\nX-A:b HTTP/1.1", BAD),
    ("HTTP/0.9, and a request behind it", b"GET /x\r\n\r\nGET /y HTTP/1.1", BAD),
    ("HTTP/0.9 by a bare LF, and the version", b"GET /x\nX-A:b HTTP/1.1", BAD),
    ("HTTP/0.9 by name", b"GET /x HTTP/0.9", BAD),
    ("HTTP/1.2", b"GET /x HTTP/1.2", b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("HTTP/2.0", b"GET /x HTTP/2.0", BAD),
    ("HTTP/3", b"GET /x HTTP/3", BAD),
    ("HTTP/11", b"GET /x HTTP/11", BAD),
    ("HTTP/1.10", b"GET /x HTTP/1.10", BAD),
    ("HTTP/01.1", b"GET /x HTTP/01.1", BAD),
    ("HTTP/1", b"GET /x HTTP/1", BAD),
    ("HTTP/1.", b"GET /x HTTP/1.", BAD),
    ("HTTP 1.1", b"GET /x HTTP 1.1", BAD),
    ("HTTP/+1.1", b"GET /x HTTP/+1.1", BAD),
    ("lower case", b"GET /x http/1.1", BAD),
    ("mixed case", b"GET /x Http/1.1", BAD),
    ("HTTPS/1.1", b"GET /x HTTPS/1.1", BAD),
    ("ICE/1.0", b"GET /x ICE/1.0", BAD),
    ("RTSP/1.0", b"GET /x RTSP/1.0", BAD),
    ("HTTP/2's preface", b"PRI * HTTP/2.0", BAD),
    ("HTTP/2's method in HTTP/1.1", b"PRI * HTTP/1.1", BAD),
    # methods
    ("DELETE", b"DELETE /x HTTP/1.1", SAME),
    ("a WebDAV method", b"PROPFIND /x HTTP/1.1", SAME),
    ("a method with a hyphen", b"M-SEARCH /x HTTP/1.1", SAME),
    ("a method nobody knows", b"FROBNICATE /x HTTP/1.1", SAME),
    ("a method in lower case", b"get /x HTTP/1.1", SAME),
    ("a method in mixed case", b"Get /x HTTP/1.1", SAME),
    ("a known method with more behind it", b"GETX /x HTTP/1.1", SAME),
    ("a method with a NUL", b"GE\0T /x HTTP/1.1", BAD),
    ("a method with a delimiter", b"GE(T /x HTTP/1.1", BAD),
    ("a method with a high bit", b"G\xc8T /x HTTP/1.1", BAD),
    ("a long method", b"G" * 180 + b" /x HTTP/1.1", SAME),
    # targets in origin form
    ("the root", b"GET / HTTP/1.1", SAME),
    ("a query", b"GET /x?a=b&c=%20d HTTP/1.1", SAME),
    ("an empty query", b"GET /x? HTTP/1.1", SAME),
    ("question marks in the query", b"GET /x??a?b HTTP/1.1", SAME),
    ("a query without a path", b"GET ?a=b HTTP/1.1", BAD),
    ("percent escapes are left alone", b"GET /%2e%2E/%41%ff%2f HTTP/1.1", SAME),
    ("a percent sign that escapes nothing", b"GET /%zz% HTTP/1.1", SAME),
    ("dot segments are left alone", b"GET /a/../b/./c HTTP/1.1", SAME),
    ("two slashes", b"GET //x HTTP/1.1", SAME),
    ("two slashes and a host", b"GET //evil.test/x HTTP/1.1", SAME),
    ("a backslash", rb"GET /a\b HTTP/1.1", SAME),
    ("a URL in the path", b"GET /http://evil.test/x HTTP/1.1", SAME),
    ("a semicolon", b"GET /x;a=b HTTP/1.1", SAME),
    ("characters that no URL should have", b'GET /"<>^`{|} HTTP/1.1', SAME),
    ("an at sign", b"GET /@evil.test HTTP/1.1", SAME),
    ("a fragment", b"GET /x#y HTTP/1.1", BAD),
    ("a fragment in the query", b"GET /x?y#z HTTP/1.1", BAD),
    ("no slash", b"GET x HTTP/1.1", BAD),
    ("a backslash for the slash", rb"GET \x HTTP/1.1", BAD),
    ("a dot segment without a slash", b"GET ../x HTTP/1.1", BAD),
    ("a NUL in it", b"GET /x\0y HTTP/1.1", BAD),
    ("a control character", b"GET /x\x1fy HTTP/1.1", BAD),
    ("DEL", b"GET /x\x7fy HTTP/1.1", BAD),
    ("a tab in it", b"GET /x\ty HTTP/1.1", BAD),
    ("UTF-8", b"GET /\xc3\xa4 HTTP/1.1", BAD),
    ("Latin-1", b"GET /\xe4 HTTP/1.1", BAD),
    ("a high bit in the query", b"GET /?\xe4 HTTP/1.1", BAD),
    # asterisk form
    ("OPTIONS of the server", b"OPTIONS * HTTP/1.1", SAME),
    ("OPTIONS of a path", b"OPTIONS /x HTTP/1.1", SAME),
    ("an asterisk for GET", b"GET * HTTP/1.1", BAD),
    ("an asterisk and more", b"OPTIONS *x HTTP/1.1", BAD),
    ("two asterisks", b"OPTIONS ** HTTP/1.1", BAD),
    # authority form
    ("a tunnel that is not allowed", b"CONNECT b:443 HTTP/1.1", "403 egress-denied"),
    ("CONNECT without a port", b"CONNECT a HTTP/1.1", BAD),
    ("CONNECT with an empty port", b"CONNECT a: HTTP/1.1", BAD),
    ("CONNECT to port 0", b"CONNECT a:0 HTTP/1.1", BAD),
    ("CONNECT to a port above all", b"CONNECT a:65979 HTTP/1.1", BAD),
    ("CONNECT with a signed port", b"CONNECT a:+443 HTTP/1.1", BAD),
    ("CONNECT to nobody", b"CONNECT :443 HTTP/1.1", BAD),
    ("CONNECT with a path", b"CONNECT /x HTTP/1.1", BAD),
    ("CONNECT with a path behind the port", b"CONNECT a:443/x HTTP/1.1", BAD),
    ("CONNECT with a URL", b"CONNECT http://a:443/ HTTP/1.1", BAD),
    ("CONNECT with an asterisk", b"CONNECT * HTTP/1.1", BAD),
    ("CONNECT with user information", b"CONNECT u@a:443 HTTP/1.1", BAD),
    ("CONNECT to an address not in brackets", b"CONNECT ::1:443 HTTP/1.1", BAD),
    ("an authority for GET", b"GET a:443 HTTP/1.1", BAD),
    # absolute form: the authority in it is the Host
    ("ftp", b"GET ftp://a/x HTTP/1.1", BAD),
    ("a scheme alone", b"GET http: HTTP/1.1", BAD),
    ("no authority", b"GET http:///x HTTP/1.1", BAD),
    ("one slash", b"GET http:/x HTTP/1.1", BAD),
    ("no slashes", b"GET http:x HTTP/1.1", BAD),
    ("user information", b"GET http://u:p@a/x HTTP/1.1", BAD),
    ("an empty user", b"GET http://@a/x HTTP/1.1", BAD),
    ("a comma in the host", b"GET http://a,b/x HTTP/1.1", BAD),
    ("an escape in the host", b"GET http://%61/x HTTP/1.1", BAD),
    ("a backslash behind the host", rb"GET http://a\@b/x HTTP/1.1", BAD),
    ("a bad port", b"GET http://a:b/x HTTP/1.1", BAD),
    ("an IPv6 address without its end", b"GET http://[::1/x HTTP/1.1", BAD),
    ("a fragment in a URL", b"GET http://a/#x HTTP/1.1", BAD),
    ("javascript", b"GET javascript:alert(1) HTTP/1.1", BAD),
    ("a file", b"GET file:///etc/passwd HTTP/1.1", BAD),
]

ABSOLUTE = [
    # what is asked for, the Host beside it, the target and the Host that go upstream
    (b"http://a/x", b"a", b"/x", b"a"),
    (b"http://a/x?y", b"a", b"/x?y", b"a"),
    (b"http://a", b"a", b"/", b"a"),
    (b"http://a?y", b"a", b"/?y", b"a"),
    (b"HTTP://a/x", b"a", b"/x", b"a"),
    (b"http://a:8080/x", b"a:8080", b"/x", b"a:8080"),
    (b"http://A.Test/X", b"A.Test", b"/X", b"A.Test"),
    (b"http://[::1]:80/x", b"[::1]:80", b"/x", b"[::1]:80"),
    (b"http://a/x", b"b", b"/x", b"a"),
    (b"http://a/x", b"a:81", b"/x", b"a"),
    (b"http://a/x", b"", b"/x", b"a"),
    (b"https://a/x", b"a", b"/x", b"a"),
    (b"http://a//b/../c", b"a", b"//b/../c", b"a"),
    (b"http://a/%41;b", b"a", b"/%41;b", b"a"),
]


def _rows() -> list[Row]:
    host = b"\r\nHost: a\r\n\r\n"
    rows = []
    for name, line, becomes in LINES:
        becomes = line + host if becomes == SAME else becomes
        rows.append(Row(name, line + host, becomes))
    for asked, given, target, goes_on in ABSOLUTE:
        name = f"{asked.decode()} with Host: {given.decode() or 'nothing'}"
        sent = b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (asked, given)
        rows.append(Row(name, sent, b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, goes_on)))
    sent = b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n"
    rows.append(
        Row("OPTIONS of a server by its URL", sent, b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
    )
    return rows


ROWS = _rows()
