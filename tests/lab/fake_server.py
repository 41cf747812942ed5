"""A server of the API that answers what a test says, for tests of the command line."""

import http.server
import json
import socketserver
import threading
import urllib.parse


class Hangup:
    """The request is read and the connection closed without an answer."""


class Stream:
    """Chunks of text; `cut`: closed without the last chunk."""

    def __init__(self, *chunks, cut=False):
        self.chunks, self.cut = chunks, cut


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_request(self):
        url = urllib.parse.urlsplit(self.path)
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size)) if size else None
        query = dict(urllib.parse.parse_qsl(url.query))
        fake = self.server.fake
        path = urllib.parse.unquote(url.path)
        with fake.lock:
            fake.requests.append((self.command, path, query, body, dict(self.headers)))
            answers = fake.answers.get((self.command, path), [(404, {"error": {"code": "not-found", "text": "no"}})])
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            answer = answer(query) if callable(answer) and answer is not Hangup else answer
        if answer is Hangup:
            self.close_connection = True
        elif isinstance(answer, Stream):
            self.stream(answer)
        else:
            self.reply(*(answer if isinstance(answer, tuple) else (200, answer)))

    def reply(self, status, value):
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def stream(self, stream):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in stream.chunks:
            data = chunk if isinstance(chunk, bytes) else chunk.encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        if stream.cut:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST = do_DELETE = handle_request

    def address_string(self):
        return "fake"

    def log_message(self, *args):
        pass


class TcpServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class Fake:
    """answers[(METHOD, PATH)]: a list; the last one is given again and again."""

    def __init__(self, test, path=None):
        self.answers, self.requests, self.lock = {}, [], threading.Lock()
        self.server = UnixServer(path, Handler) if path else TcpServer(("127.0.0.1", 0), Handler)
        self.server.fake = self
        self.url = f"unix:{path}" if path else f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        test.addCleanup(self.close)

    def on(self, method, path, *answers):
        self.answers[method, path] = list(answers)
        return self

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def asked(self, method, path):
        return [r for r in self.requests if r[:2] == (method, path)]
