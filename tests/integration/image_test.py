#!/usr/bin/python3
"""The container image that contrib/image makes, in a real engine: the program runs in it, and takes the configuration of
the compose file."""

import io
import os
import subprocess
import sys
import tarfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
from server import TOP, binary  # noqa: E402

NAME = "cronsched:local"


class Image(lab.Suite):
    @classmethod
    def setUpClass(cls):
        cls.dockerd = lab.shared_docker()
        made = subprocess.run([os.path.join(TOP, "contrib", "image"), binary()], capture_output=True, timeout=lab.scaled(120), check=True)
        cls.dockerd.api.import_image(made.stdout, NAME)

    def start(self, *command, **host):
        """The id of a container that runs the program with these words."""
        api = self.dockerd.api
        status, made = api.call("POST", "/containers/create", {
            "Image": NAME, "Cmd": ["/usr/bin/cronsched", *command], "HostConfig": {"NetworkMode": "none", **host},
            "Env": ["ASAN_OPTIONS=detect_leaks=0"]})  # leaks are sought with ptrace, which a container does not have
        self.assertEqual(201, status, made)
        self.addCleanup(api.remove, made["Id"])
        self.assertEqual(204, api.call("POST", f"/containers/{made['Id']}/start")[0])
        return made["Id"]

    def said(self, container):
        data = self.dockerd.api.call("GET", f"/containers/{container}/logs?stdout=1&stderr=1")[1]
        return data.decode(errors="replace") if isinstance(data, bytes) else str(data)

    def test_the_program_runs_in_it_and_knows_its_zones(self):
        container = self.start("next", "-n", "1", "--from", "2026-03-29T00:00:00Z", "--timezone", "Europe/Paris", "30 2 * * *")
        lab.wait_for(lambda: self.dockerd.api.inspect(container)["State"]["Status"] == "exited", 30, "the end")
        self.assertEqual(0, self.dockerd.api.inspect(container)["State"]["ExitCode"], self.said(container))
        self.assertIn("2026-03-29T03:00:00+02:00", self.said(container))

    def test_it_serves_with_the_configuration_of_the_compose_file(self):
        made = self.folder.join("secrets")
        subprocess.run([os.path.join(TOP, "contrib/compose/secrets"), made, "cron-1"], check=True, timeout=lab.scaled(60),
                       env={**os.environ, "PATH": os.path.dirname(binary()) + ":" + os.environ["PATH"]})
        config = os.path.join(made, "config.yaml")
        with open(config, encoding="ascii") as f:
            text = f.read()
        with open(config, "w", encoding="ascii") as f:
            f.write(text.replace(made, "/secrets"))
        container = self.start("serve", "--config", "/secrets/config.yaml", "--replica", "cron-1", "--advertise",
                               "https://cron-1:7460", Binds=[f"{made}:/secrets:ro"])
        lab.wait_for(lambda: '"serving"' in self.said(container), 30, lambda: f"it to serve: {self.said(container)}")
        self.assertTrue(self.dockerd.api.inspect(container)["State"]["Running"])
        self.dockerd.api.call("POST", f"/containers/{container}/stop?t=20")
        self.assertEqual(0, self.dockerd.api.inspect(container)["State"]["ExitCode"], self.said(container))


class FileSystem(lab.Suite):
    def test_both_images_are_made_of_the_build_that_was_named(self):
        environment = {**os.environ, "CRONSCHED_BUILD": os.path.dirname(os.path.dirname(binary()))}
        for options, wanted in (([], {"./usr/bin/cronsched"}),
                                (["--secrets"], {"./usr/bin/cronsched", "./usr/bin/openssl", "./bin/sh", "./compose/secrets"})):
            made = subprocess.run([os.path.join(TOP, "contrib", "image"), *options], capture_output=True, timeout=lab.scaled(120),
                                  env=environment, check=False)
            self.assertEqual((0, b""), (made.returncode, made.stderr), options)
            with tarfile.open(fileobj=io.BytesIO(made.stdout)) as tar:
                self.assertLessEqual(wanted, set(tar.getnames()))


if __name__ == "__main__":
    lab.main()
