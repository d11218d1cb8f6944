"""A site on loopback that serves pages, some of them cut."""

import http.server
import threading
from contextlib import contextmanager


class Site(http.server.BaseHTTPRequestHandler):
    """Serves what its server's ``pages`` hold: (status, body, whole or cut)."""

    def do_GET(self):
        self.server.asked.append(self.path)
        status, body, whole = self.server.pages.get(self.path, (404, b"not here", True))
        self.send_response(status)
        if status == 302:
            self.send_header("Location", body.decode())
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if whole else body[: len(body) // 2])

    def log_message(self, *_):
        pass


@contextmanager
def running_site():
    """A site whose ``pages`` a test fills, and which notes in ``asked`` what is asked for."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        server.pages, server.asked = {}, []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
