#!/usr/bin/python3
"""Runs a test program against a dockerd of its own: docker_engine.py PROGRAM [ARGUMENT...]

Beside its socket the engine is reached over TLS on a port of 127.0.0.1, where a client has to show a certificate.
What the program may order (tests/lab/orders.py) is in docker_fixture.h. Whatever becomes of it, the engine and all that
it started ends with this process."""

import os
import socket
import ssl
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
import orders  # noqa: E402
import pace  # noqa: E402
from certificates import certificates  # noqa: E402


def pump(source, sink):
    try:
        while True:
            data = source.recv(65536)
            if not data:
                break
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve_tls(folder, unix_path):
    """Ends TLS before the engine's socket, as dockerd itself would with --tlsverify. The port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(folder, "server.pem"), os.path.join(folder, "server.key"))
    context.load_verify_locations(os.path.join(folder, "ca.pem"))
    context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", 0))

    def one(plain):
        try:
            client = context.wrap_socket(plain, server_side=True)
            docker = socket.socket(socket.AF_UNIX)
            docker.connect(unix_path)
        except OSError:
            plain.close()
            return
        threading.Thread(target=pump, args=(docker, client), daemon=True).start()
        pump(client, docker)

    def accept():
        while True:
            plain, _ = listener.accept()
            threading.Thread(target=one, args=(plain,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def obey(dockerd, word):
    if word == "kill":
        dockerd.kill()
    elif word == "stop":
        dockerd.stop()
    elif word == "freeze":
        dockerd.pause()
    elif word == "thaw":
        dockerd.resume()
    else:
        dockerd.live_restore = word == "start-live"
        dockerd.start()


def main():
    reason = lab.why_no_docker()
    if reason:
        print(f"1..0 # SKIP {reason}")
        return 77  # meson's word for it
    pace.patience(say=True)  # for the program as well
    folder = lab.Folder("docker-engine")
    dockerd = None
    try:
        dockerd = lab.Dockerd(folder)
        certs = folder.make("certs")
        certificates(certs)
        port = serve_tls(certs, dockerd.socket)
        return orders.run(sys.argv[1:], lambda word: obey(dockerd, word), {
            "DOCKER_SOCKET": dockerd.socket, "DOCKER_FOLDER": folder.make("work", mode=0o777),
            "DOCKER_TLS_PORT": str(port), "DOCKER_CERTS": certs})
    finally:
        try:
            if dockerd:
                dockerd.close()
        finally:
            folder.close()


if __name__ == "__main__":
    sys.exit(main())
