#!/usr/bin/python3
"""A cluster that trusts nobody by its address: replicas that reach one another over TLS, with tokens, on nodes of
ZooKeeper that only their password opens."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
from certificates import SecureSuite  # noqa: E402
from cluster_test import Cluster  # noqa: E402
from server import TOP, binary  # noqa: E402


class SecureCluster(SecureSuite):
    def secret_file(self, text):
        path = self.folder.join("secret-" + text.replace(":", "-"))
        with open(path, "w", opener=lambda p, flags: os.open(p, flags, 0o600)) as f:
            f.write(text + "\n")
        return path

    def test_replicas_reach_one_another_over_tls(self):
        c = Cluster(self, replicas=2, config={"tls": self.tls()})
        leader, standby = c.servers
        self.assertTrue(c.view(standby)["leader"]["url"].startswith("https://127.0.0.1:"), c.view(standby))
        standby.apply({"j": {"command": ["/bin/echo", "hello"]}})  # forwarded to the leader
        run = standby.cli.trigger("j")
        self.assertEqual("succeeded", standby.cli.wait_end(run)["verdict"])
        self.assertEqual("hello\n", standby.cli.check("logs", run).out)
        url = f"https://127.0.0.1:{c.ports[1]}"
        outside = lab.Cli(url, {"CRONSCHED_CACERT": self.tls()["ca"]})
        self.assertEqual(["j"], [j["job"] for j in outside.json("jobs")])
        self.assertIn("certificate", lab.Cli(url).call("jobs").err)
        leader.kill()
        c.wait_leader(standby)
        self.assertEqual("succeeded", standby.cli.wait_end(standby.cli.trigger("j"))["verdict"])

    def test_one_whose_authority_did_not_sign_the_leader_says_so(self):
        c = Cluster(self, replicas=2, config={"tls": self.tls()}, configs=[{}, {"tls": self.tls("other.pem")}])
        answer = c.servers[1].cli.call("trigger", "nobody")
        self.assertNotEqual(0, answer.code)
        self.assertIn("certificate", answer.err)

    def test_nodes_are_open_to_the_password_alone(self):
        c = Cluster(self, replicas=2, config={"zookeeper_auth_file": self.secret_file("cron:sesame")})
        c.servers[0].apply({"j": {"command": ["/bin/true"]}})
        for text, hint in ((None, "made with a password?"), ("cron:guess", "made with another password?")):
            other = c.make(1, name=f"other-{text and 'guess'}")
            other.config.pop("zookeeper_auth_file")
            if text:
                other.config["zookeeper_auth_file"] = self.secret_file(text)
            other.config.update(replica="other", listen=[f"unix:{other.socket}"], advertise="http://127.0.0.1:1")
            other.launch()
            lab.wait_for(lambda o=other, h=hint: h in o.log(), 20, lambda o=other: f"its complaint: {o.log_tail()}")
            self.assertEqual(503, other.http("GET", "/readyz")[0])
            other.stop()
        c.servers[0].kill()
        c.wait_leader(c.servers[1])
        self.assertEqual("succeeded", c.servers[1].cli.wait_end(c.servers[1].cli.trigger("j"))["verdict"])

    def test_a_tree_that_others_could_write_is_not_trusted_until_it_is_closed(self):
        """An open tree may be one that a replica made before it had a password, or one that somebody prepared, with a
        secret of his own in it: only a person can tell."""
        c = Cluster(self, replicas=2)
        c.servers[0].apply({"j": {"command": ["/bin/true"]}})
        self.assertIn("everybody who reaches ZooKeeper may run anything", c.servers[0].cli.call("doctor").out)
        for server in c.servers:
            server.stop()
        secret = self.secret_file("cron:open-sesame-0123456789")
        for server in c.servers:
            server.config.update(zookeeper_auth_file=secret, insecure=False)
        one = c.servers[0]
        one.launch()
        lab.wait_for(lambda: "such a tree is not trusted" in one.log(), 20, one.log_tail)
        self.assertEqual(503, one.http("GET", "/readyz")[0])

        config = one.write_config()
        told = one.cli.check("cluster", "secure", "--config", config).out
        self.assertIn("/secret: everybody\n", told)
        self.assertIn("Nothing was changed", told)
        self.assertIn("/secret: everybody\n", one.cli.check("cluster", "secure", "--config", config, "--yes").out)
        c.servers[1].start()
        c.wait_leader()
        self.assertRegex(one.cli.check("cluster", "secure", "--config", config).out, r"(?m)^0 of \d+ nodes")
        self.assertIn("open to the users of zookeeper_auth_file alone", one.cli.call("doctor").out)
        self.assertEqual("succeeded", one.cli.wait_end(one.cli.trigger("j"))["verdict"])

    def test_a_password_is_changed_while_the_cluster_runs(self):
        old, new = (self.one_line("cluster", "password"), self.one_line("cluster", "password", "--user", "second"))
        path = self.secret_file(old)
        c = Cluster(self, replicas=2, config={"zookeeper_auth_file": path, "insecure": False})
        c.servers[0].apply({"j": {"command": ["/bin/true"]}})
        for lines in ((old, new), (new, old), (new,)):
            if lines == (new,):
                config = c.servers[0].write_config()
                self.assertIn("given to user second alone",
                              c.servers[0].cli.check("cluster", "secure", "--config", config, "--yes").out)
                lab.wait_for(lambda: all(r["role"] != "unknown" for r in c.view(c.servers[0])["replicas"]), 10, "both")
            with open(path, "w", encoding="ascii") as f:
                f.write("\n".join(lines) + "\n")
            for server in c.servers:
                server.stop()
                server.start()
                c.wait_leader()
                self.assertEqual("succeeded", server.cli.wait_end(server.cli.trigger("j"))["verdict"])

    def test_what_the_compose_file_makes_is_a_cluster_that_needs_tokens(self):
        """contrib/compose/secrets runs once in the stack; its outcome serves real replicas here."""
        place = self.folder.join("secrets")
        path = os.path.dirname(binary()) + ":" + os.environ["PATH"]
        script = [os.path.join(TOP, "contrib/compose/secrets"), place, "cron-1", "cron-2"]

        def make():
            subprocess.run(script, check=True, env={**os.environ, "PATH": path}, timeout=lab.scaled(60))
            made = {}
            for name in sorted(os.listdir(place)):
                with open(os.path.join(place, name), encoding="ascii") as f:
                    made[name] = f.read()
            return made

        made = make()
        self.assertEqual(made, make())  # a second time changes nothing
        self.assertEqual(["admin.token", "ca.pem", "cert.pem", "config.yaml", "key.pem", "operate.token", "read.token",
                          "tokens", "zookeeper.secret"], list(made))
        self.assertEqual({0o600}, {os.stat(os.path.join(place, name)).st_mode & 0o777 for name in made})
        self.assertNotIn("@", made["config.yaml"])
        self.assertNotIn("insecure", made["config.yaml"])

        names = {"tokens_file": "tokens", "zookeeper_auth_file": "zookeeper.secret"}
        config = {key: os.path.join(place, name) for key, name in names.items()}
        config["tls"] = {"cert": f"{place}/cert.pem", "key": f"{place}/key.pem", "ca": f"{place}/ca.pem"}
        for key, value in config.items():
            for name in value.values() if key == "tls" else [value]:
                self.assertIn(name, made["config.yaml"])
        c = Cluster(self, replicas=2, config={**config, "insecure": False})
        c.servers[1].apply({"j": {"command": ["/bin/true"]}})  # forwarded over TLS
        url = f"https://127.0.0.1:{c.ports[1]}"
        nobody = lab.Cli(url, {"CRONSCHED_CACERT": f"{place}/ca.pem"})
        self.assertEqual(4, nobody.call("jobs").code)
        admin = lab.Cli(url, {"CRONSCHED_CACERT": f"{place}/ca.pem", "CRONSCHED_TOKEN_FILE": f"{place}/admin.token"})
        self.assertEqual("succeeded", admin.wait_end(admin.trigger("j"))["verdict"])
        doctor = admin.call("doctor").out
        self.assertIn("open to the users of zookeeper_auth_file alone", doctor)
        self.assertNotIn("insecure", doctor)

    def one_line(self, *words):
        return lab.Cli("").check(*words).out.strip()


if __name__ == "__main__":
    lab.main()
