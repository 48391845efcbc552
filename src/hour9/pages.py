"""Serves reports/ and the Data Docs to a browser: a page from http:// may not open a file:// link.

http://127.0.0.1:4300/             the report
http://127.0.0.1:4300/data-docs/   Great Expectations' pages, where a flow or `hour9 docs` drew them
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from hour9.params import REPORTS, STATE

DATA_DOCS = STATE / "data-docs"
ADDRESS = "HOUR9_REPORT_URL"
"""Where a browser finds the pages; the flows' artifacts link there."""
OURS = ("127.0.0.1", "localhost")


class Pages(SimpleHTTPRequestHandler):
    """Files below the two folders, for reading."""

    def translate_path(self, path: str) -> str:
        """The file of an address: the Data Docs' own folder, else the reports'."""
        docs = "/data-docs/"
        self.directory = str((DATA_DOCS if path.startswith(docs) else REPORTS).absolute())
        return super().translate_path("/" + path.removeprefix(docs))

    def send_head(self):
        """Only for those who asked for this machine by name."""
        more = os.environ.get("HOUR9_REPORT_HOSTS", "").split(",")
        if not names_this_machine(self.headers.get("Host", ""), more):
            self.send_error(HTTPStatus.FORBIDDEN, "unknown Host")
            return None
        return super().send_head()

    def list_directory(self, path: str | os.PathLike[str]) -> None:
        """No listings: the report links to what there is."""
        self.send_error(HTTPStatus.NOT_FOUND, "nothing here yet")

    def log_message(self, *_: object) -> None:
        """Nobody reads an access log of their own browser."""


def names_this_machine(host: str, more: Iterable[str] = ()) -> bool:
    """Whether a Host header does, or is one of `more`: no other page may read through DNS."""
    return host.rsplit(":", 1)[0].lower() in (*OURS, *filter(None, more))


@contextmanager
def pages(host: str, port: int) -> Iterator[str]:
    """Serve them inside the block; their address."""
    with ThreadingHTTPServer((host, port), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://{host}:{server.server_port}"
        finally:
            server.shutdown()


if __name__ == "__main__":
    ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Pages).serve_forever()
