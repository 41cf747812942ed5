#!/usr/bin/python3
"""Runs a test program against a dockerd of its own: docker_engine.py PROGRAM [ARGUMENT...]

Beside its socket the engine is reached over TLS on a port of 127.0.0.1, where a client has to show a certificate.
The program gives orders on descriptor 3 and reads the replies on 4; see docker_fixture.h. Whatever becomes of it,
the engine and all that it started ends with this process."""

import os
import socket
import ssl
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402


def certificates(folder):
    """ca.pem; server and client, each .pem and .key, signed by it; other.pem, an authority that signed nothing."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "other"):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    for name in ("server", "client"):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                "-keyout", f"{name}.key", "-out", f"{name}.csr")
        with open(os.path.join(folder, "extensions"), "w") as f:
            f.write("subjectAltName=IP:127.0.0.1\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "2", "-extfile", "extensions", "-out", f"{name}.pem")


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
        return 0
    folder = lab.Folder("docker-engine")
    dockerd = None
    try:
        dockerd = lab.Dockerd(folder)
        certs = folder.make("certs")
        certificates(certs)
        port = serve_tls(certs, dockerd.socket)
        orders, replies = os.pipe(), os.pipe()

        def plumb():
            ours, theirs = os.dup(orders[1]), os.dup(replies[0])
            os.dup2(ours, 3)
            os.dup2(theirs, 4)

        program = subprocess.Popen(
            sys.argv[1:], preexec_fn=plumb, pass_fds=(3, 4),
            env=dict(os.environ, DOCKER_SOCKET=dockerd.socket, DOCKER_FOLDER=folder.make("work", mode=0o777),
                     DOCKER_TLS_PORT=str(port), DOCKER_CERTS=certs))
        os.close(orders[1])
        with os.fdopen(orders[0]) as words:
            for word in words:
                try:
                    obey(dockerd, word.strip())
                    os.write(replies[1], b"ok\n")
                except Exception as e:  # the program is told, and gives up
                    print(f"# {word.strip()}: {e}", file=sys.stderr)
                    os.write(replies[1], b"failed\n")
        return program.wait()
    finally:
        try:
            if dockerd:
                dockerd.close()
        finally:
            folder.close()


if __name__ == "__main__":
    sys.exit(main())
