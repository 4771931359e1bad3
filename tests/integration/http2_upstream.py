"""An upstream that speaks HTTP/2: Node's server, and what it does by path.

/size/N      N bytes             /echo      the request's body, and its size as a trailer
/refuse      refused once        /goaway    GOAWAY once, and answers all the same
/open        a head, no end      /stats     sessions and streams so far, and open ones
/header/X    the request's field X
"""

import json
import subprocess
from types import TracebackType
from typing import Any

from integration.ports import free_port
from integration.running_proxy import accepts, eventually
from integration.tools import program

SERVER = """
const http2 = require('http2');
const fs = require('fs');
const {Readable} = require('stream');
const {port, cert, key, settings} = JSON.parse(process.argv[1]);
const stats = {sessions: 0, open: 0, streams: 0};
let refused = false, closing = false;
const options = {settings, cert: cert && fs.readFileSync(cert), key: key && fs.readFileSync(key)};
const server = cert ? http2.createSecureServer(options) : http2.createServer(options);
server.on('session', session => {
  stats.sessions++; stats.open++;
  session.on('close', () => stats.open--);
  session.on('error', () => {});
});
server.on('stream', (stream, head) => {
  stats.streams++;
  stream.on('error', () => {});
  const [, what, arg] = head[':path'].split('/');
  if (head[':method'] === 'CONNECT') {
    stream.respond({':status': 200});
    stream.on('data', piece => stream.write(piece));
    stream.on('end', () => stream.end());
  } else if (what === 'size') {
    stream.respond({':status': 200, 'content-length': arg});
    let left = Number(arg);
    const more = new Readable({read(most) {  // a session of Node buffers 10 MB
      const size = Math.min(left, most);
      left -= size;
      this.push(size ? Buffer.alloc(size, 'x') : null);
    }});
    more.pipe(stream);
  } else if (what === 'echo') {
    let size = 0;
    stream.respond({':status': 200}, {waitForTrailers: true});
    stream.on('wantTrailers', () => stream.sendTrailers({'x-size': String(size)}));
    stream.on('data', piece => { size += piece.length; stream.write(piece); });
    stream.on('end', () => stream.end());
  } else if (what === 'refuse' && !refused) {
    refused = true;
    stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
  } else if (what === 'goaway') {
    if (!closing) stream.session.goaway(0, stream.id);
    closing = true;
    setTimeout(() => { // not a stream that the goaway has ended
      if (stream.closed || stream.destroyed) return;
      stream.respond({':status': 200});
      stream.end('ok');
    }, 50);
  } else if (what === 'open') {
    stream.respond({':status': 200});
    stream.write('begun');
  } else if (what === 'header') {
    stream.respond({':status': 200});
    stream.end(String(head[arg]));
  } else if (what === 'stats') {
    stream.respond({':status': 200});
    stream.end(JSON.stringify(stats));
  } else {
    stream.respond({':status': 200});
    stream.end('ok');
  }
});
server.listen(port, '127.0.0.1');
"""


class NodeServer:
    """Runs within a ``with`` block. `settings` are Node's names of HTTP/2 settings."""

    def __init__(
        self, *, cert: str | None = None, key: str | None = None, **settings: object
    ) -> None:
        self.port = free_port()
        self.url = f"{'https' if cert else 'http'}://127.0.0.1:{self.port}"
        options = {"port": self.port, "cert": cert, "key": key, "settings": settings}
        self._process = subprocess.Popen([program("node"), "-e", SERVER, json.dumps(options)])
        eventually(lambda: accepts(self.port), 10)

    def stats(self, proxy: Any) -> dict[str, int]:
        """Asked through the proxy, so one stream more."""
        answer = proxy.call("GET", "/stats")
        assert answer.status == 200, answer
        counts: dict[str, int] = json.loads(answer.body)
        return counts

    def __enter__(self) -> "NodeServer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait(5)
