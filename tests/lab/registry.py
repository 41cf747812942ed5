#!/usr/bin/python3
"""A small registry of images that lets only one user in: registry.py FOLDER TAR NAME:PASSWORD PORT=KIND...

Each port of 127.0.0.1 is a registry, which asks for "basic" authentication or for a "token" that it gives to that user. Any
name is the same image, whose only layer is the TAR. What it was asked is in FOLDER/requests, a line each: port, method, path,
the scheme of the authorization, and whether it was let in."""

import base64
import gzip
import hashlib
import http.server
import json
import os
import sys
import threading

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Image:
    def __init__(self, tar):
        layer = gzip.compress(tar, 1, mtime=0)
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
                             "rootfs": {"type": "layers", "diff_ids": [digest(tar)]}}).encode()
        self.blobs = {digest(layer): layer, digest(config): config}
        self.manifest = json.dumps({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config),
                       "digest": digest(config)},
            "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": len(layer),
                        "digest": digest(layer)}]}).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def note(self, scheme, admitted):
        with self.server.lock, open(self.server.log, "a") as f:
            f.write(f"{self.server.server_port} {self.command} {self.path.split('?')[0]} {scheme or '-'} "
                    f"{'in' if admitted else 'out'}\n")

    def answer(self, status, body=b"{}", **headers):
        self.send_response(status)
        for name, value in {"Content_Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def admitted(self, wanted):
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        fine = scheme == wanted and value == (self.server.basic if wanted == "Basic" else self.server.token)
        self.note(scheme, fine)
        return fine

    def do_GET(self):
        s = self.server
        if self.path.startswith("/token"):
            if self.admitted("Basic"):
                self.answer(200, json.dumps({"token": s.token}).encode())
            else:
                self.answer(401)
            return
        if not self.admitted("Bearer" if s.kind == "token" else "Basic"):
            here = f"http://127.0.0.1:{s.server_port}"
            self.answer(401, json.dumps({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}).encode(),
                        WWW_Authenticate=f'Bearer realm="{here}/token",service="lab"' if s.kind == "token"
                        else 'Basic realm="lab"')
        elif "/manifests/" in self.path:
            self.answer(200, s.image.manifest, Content_Type=MANIFEST, Docker_Content_Digest=digest(s.image.manifest))
        elif "/blobs/" in self.path:
            blob = s.image.blobs.get(self.path.rsplit("/", 1)[1])
            self.answer(200 if blob else 404, blob or b"{}", Content_Type="application/octet-stream")
        else:
            self.answer(200)

    do_HEAD = do_GET


def main():
    folder, tar, user = sys.argv[1:4]
    with open(tar, "rb") as f:
        image = Image(f.read())
    lock = threading.Lock()
    for word in sys.argv[4:]:
        port, _, kind = word.partition("=")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
        server.image, server.kind, server.lock = image, kind, lock
        server.log = os.path.join(folder, "requests")
        server.basic = base64.b64encode(user.encode()).decode()
        server.token = "token-of-" + hashlib.sha256(user.encode()).hexdigest()[:16]
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
