"""Says a word, and writes down who asked for it."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Word(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/word":
            with Path("/srv/hits.txt").open("a") as file:
                file.write("asked\n")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"heron\n")


Path("/srv/hits.txt").touch()
ThreadingHTTPServer(("", 8000), Word).serve_forever()
