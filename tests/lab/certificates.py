"""Certificates of a test's own, made with openssl."""

import os
import subprocess

from tap import Suite
from zookeeper import why_no_zookeeper


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
            f.write("subjectAltName=IP:127.0.0.1,DNS:cron-1.example.com\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "2", "-extfile", "extensions", "-out", f"{name}.pem")


class SecureSuite(Suite):
    """Clusters over TLS, with certificates in the folder `certs`."""

    def setUp(self):
        super().setUp()
        why = why_no_zookeeper()
        if why:
            self.skipTest(why)
        self.certs = self.folder.make("certs")
        certificates(self.certs)

    def tls(self, ca="ca.pem"):
        return {name: os.path.join(self.certs, file)
                for name, file in (("cert", "server.pem"), ("key", "server.key"), ("ca", ca))}
