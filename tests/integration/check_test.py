#!/usr/bin/python3
"""`serve --check`: each fault that would keep a server from starting, or an address from serving, is said with its place,
and nothing is opened, made or asked."""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
from certificates import certificates  # noqa: E402
from server import binary  # noqa: E402

HASH = "0" * 64


class Check(lab.Suite):
    def check(self, **config):
        path = self.place.write("config.yaml", json.dumps(
            {"cluster": "c", "data_dir": self.place.join("data"), "engines": {"process": {"type": "process"}},
             "default_engine": "process", **config}))
        done = subprocess.run([binary(), "serve", "--config", path, "--check"], capture_output=True, text=True, timeout=60,
                              check=False)
        return done.returncode, done.stderr

    @classmethod
    def setUpClass(cls):
        cls.place = lab.Folder("check")
        cls.addClassCleanup(cls.place.close)
        certificates(cls.place.path)
        cls.file = cls.place.write

    def pem(self, name):
        return self.place.join(name)

    def test_what_would_start_is_fine(self):
        tokens = self.file("tokens", f"a admin {HASH}\n", 0o600)
        tls = {"cert": self.pem("server.pem"), "key": self.pem("server.key"), "ca": self.pem("ca.pem")}
        for config in ({}, {"tokens_file": tokens, "listen": ["127.0.0.1:1", "[::1]:0", f"unix:{self.pem('s')}"]},
                       {"tokens_file": tokens, "tls": tls, "listen": ["0.0.0.0:7460"]},
                       {"engines": {"p": {"type": "process", "users": ["nobody", "65534", "7:7"]}}, "default_engine": "p"}):
            self.assertEqual((0, ""), self.check(**config), config)
        self.assertEqual(["server.csr"], [n for n in os.listdir(self.place.path) if n in ("data", "s", "server.csr")])

    def test_each_fault_is_said(self):
        good = self.file("good", f"a admin {HASH}\n", 0o600)
        cert, key = self.pem("server.pem"), self.pem("server.key")
        os.mkdir(self.pem("folder"))
        os.mkfifo(self.pem("pipe"))
        engine = {"type": "docker", "endpoint": "https://h:1"}

        def engines(**keys):
            return {"engines": {"e": keys}, "default_engine": "e"}

        table = [
            ({"tokens_file": self.file("t1", f"a admin {HASH}\nb boss {HASH}\n", 0o600)}, "t1:2: the role of 'b' must be read, operate or admin"),
            ({"tokens_file": self.file("t2", "a admin 12\n", 0o600)}, "t2:1: "),
            ({"tokens_file": self.file("t3", f"a admin {HASH}\na read {HASH[1:]}1\n", 0o600)}, "t3:2: "),
            ({"tokens_file": self.file("t4", f"a admin {HASH}\n", 0o666)}, "t4"),
            ({"tokens_file": self.pem("none")}, "none"),
            ({"listen": ["0.0.0.0:7460"]}, "'0.0.0.0:7460' can be reached from other machines: this needs a tokens_file and tls"),
            ({"listen": ["0.0.0.0:7460"], "tokens_file": good}, "this needs tls"),
            ({"listen": ["127.0.0.1:99999"]}, "'127.0.0.1:99999' is neither"),
            ({"listen": ["nowhere.invalid:1"]}, "'nowhere.invalid:1': "),
            ({"listen": [f"unix:{self.pem('none')}/s"]}, "none/s': No such file or directory"),
            ({"listen": [f"unix:{self.pem('folder')}"]}, "exists and is not a socket"),
            ({"listen": ["unix:/" + "x" * 120]}, "no absolute path of up to 107 bytes"),
            ({"tls": {"cert": cert, "key": self.pem("client.key")}, "tokens_file": good}, "client.key' has no key of that"),
            ({"tls": {"cert": self.file("c.pem", "no PEM"), "key": key}, "tokens_file": good}, "c.pem' has no certificate"),
            ({"tls": {"cert": cert, "key": self.pem("none")}, "tokens_file": good}, "the key '"),
            ({"tls": {"cert": cert, "key": key, "ca": self.file("ca0.pem", "")}, "tokens_file": good},
             "ca0.pem' has no certificate"),
            (engines(**engine, tls={"ca": self.file("ca1.pem", "x"), "cert": cert, "key": key}), "engines: e: tls: '"),
            (engines(**engine, tls={"ca": self.pem("pipe")}), "pipe': not a regular file"),
            (engines(**engine, registries={"r.example:99999": {"username": "u", "from_file": good}}), "'r.example:99999' is not HOST or HOST:PORT"),
            (engines(**engine, registries={"r.example": {"username": "u", "from_file": self.file("p1", "\n", 0o600)}}), "p1: the file is empty"),
            (engines(**engine, registries={"r.example": {"username": "u", "from_file": self.file("p2", "a\0b", 0o600)}}), "p2: the file holds a NUL byte"),
            (engines(**engine, registries={"r.example": {"username": "u", "from_file": self.file("p3", "a", 0o622)}}), "p3: "),
            (engines(type="swarm", endpoint=["http://a:1", "http://b:1", "http://a:1"]), "endpoint 'http://a:1' is there twice"),
            ({"tls": {"cert": cert, "key": self.pem("pipe")}, "tokens_file": good}, "pipe': not a regular file"),
            (engines(**engine, tls={"ca": self.pem("ca.pem"), "cert": cert, "key": self.pem("other.key")}),
             "engines: e: tls: '"),
            (engines(type="process", users=["nobody", "no-such-user"]), "users: user: there is no user 'no-such-user'"),
            ({"zookeeper": "h:1", "advertise": "http://127.0.0.1:1", "zookeeper_auth_file": self.file("z1", "a b:cdefghijklmnop\n", 0o600)}, "z1: "),
            ({"zookeeper": "h:1", "advertise": "http://127.0.0.1:1", "zookeeper_auth_file": self.file("z2", "", 0o600)}, "z2: "),
        ]
        for config, says in table:
            with self.subTest(says):
                code, text = self.check(**config)
                self.assertEqual((2, 1), (code, text.count("\n")), text)
                self.assertIn(says, text)

    def test_all_faults_are_said_at_once(self):
        code, text = self.check(tokens_file=self.pem("none"), listen=["unix:/none/s"], tls={
            "cert": self.pem("server.pem"), "key": self.pem("client.key")}, engines={"p": {"type": "process", "users": ["no-such"]}},
            default_engine="p")
        self.assertEqual((2, 4), (code, text.count("cronsched: ")), text)


if __name__ == "__main__":
    lab.main()
