#!/usr/bin/python3
"""The kubernetes engine: starts, ends, logs and stops; what finds no node; the server killed at every step; answers that are
lost, refused or nonsense; watches that break; ways to the API and credentials. Starts are counted by the containers.

Always against an API server that is scripted (tests/lab/kube_server.py), and, class Real, against a real Kubernetes where
CRONSCHED_KUBERNETES names its programs (tests/lab/kubernetes.py). A day runs a part of the crash points (tests/lab/sample.py)."""

import base64
import json
import os
import shutil
import sys
import time

import yaml

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
import sample  # noqa: E402
from kube_server import TOKEN  # noqa: E402

# Where the server dies, and with which job: "stop" has its run killed while it runs.
POINTS = ["append:arm", "submit:prepare", "kube.create", "kube.prepared", "acked:committed", "submit:release", "kube.release",
          "kube.sent", "kube.released", "answer:accepted", "append:accepted", "acked:accepted", "submit:watch",
          "answer:started", "append:started", "kube.ended", "append:ended", "acked:ended"]
STOP_POINTS = ["append:stopping", "submit:stop", "kube.stopped", "answer:done"]
# A crash with a release under way, then one while the next leader settles it.
SETTLE = {"acked:committed": ["submit:fence", "kube.fenced", "answer:never-ran", "append:never-ran"],
          "kube.released": ["kube.fenced", "answer:accepted"]}
ROWS = [(p,) for p in POINTS] + [(f, s) for f, seconds in SETTLE.items() for s in seconds] + [("stop", p) for p in STOP_POINTS]
PATHS = ("cronsched/engines/kubernetes/", "jobs/engine/kube_fence", "tests/integration/kubernetes_test", "tests/lab/kube")


class KubeSuite(lab.Suite):
    def setUp(self):
        super().setUp()
        self.ledger = lab.Ledger(self.folder)
        self.kube = self.cluster()

    def cluster(self):
        kube = lab.KubeServer(self.folder)
        self.addCleanup(kube.close)
        return kube

    def begin(self, jobs=None, engine=None, **config):
        server = self.server(engines={"kubernetes": engine or self.kube.engine()}, config=config)
        server.start()
        if jobs:
            server.apply(jobs)
        return server

    def job(self, body="true", **keys):
        return lab.kube_job(self.ledger, body, **keys)

    def trapping(self, body, **keys):
        """A job whose first process is the shell that has the trap; its end is not in the ledger."""
        note = f"read up rest < /proc/uptime; echo start $CRONSCHED_RUN $CRONSCHED_ATTEMPT $up >> {self.ledger.path}; "
        return {**self.job(**keys), "command": ["sh", "-c", f"trap {body} TERM; {note} while :; do sleep 0.05; done"]}

    def started(self, run, seconds=60):
        lab.wait_for(lambda: self.ledger.starts(run), seconds, f"the start of {run}")
        return run

    def gone(self, run):
        lab.wait_for(lambda: not self.kube.pod_of(run), 60, f"the Pod of {run} to go", every=0.2)

    def succeeds_once(self, server, job="j"):
        run = server.cli.trigger(job)
        found = server.cli.wait_end(run)
        self.assertEqual(("succeeded", 1), (found["verdict"], self.ledger.starts(run)), found)
        return found


class Runs(KubeSuite):
    """What a job says, and what becomes of it."""

    side_by_side = 6

    def test_exit_code_output_and_what_is_written_arrive_as_they_are(self):
        text = "$(HOME) $$ $$(X) $ {{a}}"
        server = self.begin({"j": self.job('echo "out $TEXT"; echo err >&2; sleep 1; printf last; exit 3', environment={"TEXT": text})})
        run = server.cli.trigger("j")
        self.started(run)
        pod = self.kube.pod_of(run)
        found = server.cli.wait_end(run)
        self.assertEqual(("failed", 3, 1), (found["verdict"], found["exit_code"], len(found["attempts"])), found)
        meta = pod["metadata"]
        self.assertEqual(f"{meta['namespace']}/{meta['name']}/{meta['uid']}", found["attempts"][0]["id"])
        out = server.cli.check("logs", run).out
        self.assertEqual(["err", f"out {text}"], sorted(out.splitlines()[:2]), out)
        self.assertTrue(out.endswith("last"), out)
        self.assertEqual(1, self.ledger.starts(run))
        self.gone(run)

    def test_what_cannot_be_started_is_said_and_never_ran(self):
        server = self.begin({"image": self.job(image="no/such:image"), "command": {**self.job(), "command": ["/no/such"]},
                             "entrypoint": {**self.job(), "entrypoint": [], "command": ["/no/such", "x"]}})
        expected = {"image": (None, "ErrImageNeverPull"), "entrypoint": (127, "command not found in the image")}
        runs = {job: server.cli.trigger(job) for job in expected}
        for job, (code, text) in expected.items():
            found = server.cli.wait_end(runs[job])
            self.assertEqual(("failed", code), (found["verdict"], found["exit_code"]), found)
            self.assertIn(text, found["attempts"][0]["text"])
        self.assertEqual({}, self.ledger.starts())

    def test_a_stop_has_its_exit_code_and_the_last_line(self):
        body = "'echo bye; exit 7'"
        server = self.begin({"late": self.trapping(body, timeout="2s", stop_grace="8s"),
                             "killed": self.trapping(body, stop_grace="8s")})
        late, killed = server.cli.trigger("late"), self.started(server.cli.trigger("killed"))
        server.cli.check("kill", killed)
        for run, verdict in ((late, "timed-out"), (killed, "killed")):
            found = server.cli.wait_end(run)
            self.assertEqual((verdict, 7), (found["verdict"], found["exit_code"]), found)
            self.assertEqual("bye\n", server.cli.check("logs", run).out)
            self.gone(run)

    def test_what_finds_no_node_says_why_and_is_withdrawn(self):
        nowhere = {"constraints": ["no-such-label == x"]}
        server = self.begin({"j": self.job(**nowhere, start_within="3s"), "later": self.job(**nowhere),
                             "image": self.job(image="no/such:image", pull="missing", start_within="8s")})
        run, later, image = (server.cli.trigger(job) for job in ("j", "later", "image"))
        why = "Unschedulable: 0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector"
        lab.wait_for(lambda: why in str(server.cli.run(run)), 20, "the cluster's words")
        self.assertEqual("starting", server.cli.run(run)["state"])
        found = server.cli.wait_end(run)
        self.assertEqual("deadline", found["verdict"], found)
        self.assertIn(why, found["text"])
        self.assertIn(why, server.cli.check("explain", "j", found["fire_time"]).out)
        lab.wait_for(lambda: any(w in str(server.cli.run(image)) for w in ("ImagePull", "deadline")), 20, "its node's words")
        found = server.cli.wait_end(image)
        self.assertEqual("deadline", found["verdict"], found)
        self.assertRegex(found["text"], "ImagePullBackOff|ErrImagePull")
        server.cli.check("kill", later)
        self.assertEqual("killed", server.cli.wait_end(later)["verdict"])
        self.assertEqual({}, self.ledger.starts())
        for each in (run, later, image):
            self.gone(each)

    def test_a_pod_that_somebody_deletes_is_not_taken_for_success(self):
        server = self.begin({"j": self.trapping("'exit 0'", stop_grace="8s")})
        run = self.started(server.cli.trigger("j"))
        self.kube.delete_pod(run)
        found = server.cli.wait_end(run)
        self.assertEqual(("failed", None), (found["verdict"], found["exit_code"]), found)
        self.assertIn("its Pod was deleted while it ran; the cluster or a person has ended it; its program then exited with 0",
                      found["attempts"][0]["text"])
        self.assertEqual(1, self.ledger.starts(run))
        self.gone(run)


class Crashes(KubeSuite):
    """The server killed with SIGKILL at a step, and started again."""

    side_by_side = 6

    @classmethod
    def sample(cls, names):
        return sample.chosen("kubernetes", names, lambda name: sample.Group("crash points", PATHS, 6, 3))

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.done = []

    @classmethod
    def tearDownClass(cls):
        doubles = sum(starts > 1 for _, starts in cls.done)
        lab.say(f"{cls.__name__}: {len(cls.done)} crash points, {doubles} doubles, {sum(s == 1 for _, s in cls.done)} started once")

    def crash(self, row):
        self.need_faults()
        stop = row[0] == "stop"
        server = self.begin({"j": self.trapping("'exit 5'", stop_grace="5s") if stop else self.job("sleep 0.3")})
        server.kill()
        for number, point in enumerate(row[1:] if stop else row):
            server.launch(CRONSCHED_CRASH_AT=point)
            lab.wait_for(server.ready_or_dead, 60, lambda: server.log_tail(), every=0.02)
            if number == 0 and server.running():
                client = server.cli.begin("trigger", "j", "--key", "the-one")
                if stop:
                    lab.wait_for(lambda: self.ledger.starts(), 30, "the start")
                    killer = server.cli.begin("kill", next(iter(self.ledger.starts())))
            struck = server.wait_crash(30)
            self.assertTrue(struck, f"{point} was never passed; {server.log_tail(20)}")
        for process in (client, *([killer] if stop else [])):
            process.kill()
            process.wait()
        server.start()
        run = server.cli.trigger("j", "--key", "the-one")
        if stop:
            server.cli.call("kill", run)
        found = server.cli.wait_end(run, 90)
        self.done.append((row, self.ledger.starts(run)))
        self.assertEqual(("killed" if stop else "succeeded", 1), (found["verdict"], self.ledger.starts(run)), found)
        self.gone(run)
        server.stop()


def crash_tests(suite):
    for row in ROWS:
        name = "test_" + "_then_".join(row).replace(":", "_").replace(".", "_").replace("-", "_")
        setattr(suite, name, lambda self, row=row: self.crash(row))


crash_tests(Crashes)


class Real:
    """The same in a real Kubernetes, where its programs are given."""

    side_by_side = 4

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lab.shared_kubernetes()

    def cluster(self):
        return lab.shared_kubernetes()


class RealRuns(Real, Runs):
    def test_a_secret_that_is_not_there_is_waited_for_and_never_ran(self):
        server = self.begin({"j": self.job(secrets=["no-such-secret"], start_within="6s")})
        run = server.cli.trigger("j")
        found = server.cli.wait_end(run)
        self.assertEqual(("deadline", {}), (found["verdict"], self.ledger.starts()), found)
        self.assertIn('FailedMount: MountVolume.SetUp failed for volume "v1" : secret "no-such-secret" not found', found["text"])
        self.gone(run)

    def test_secrets_configs_and_keys_arrive(self):
        name = os.path.basename(self.folder.path).replace("_", "-").lower()[:40].strip("-")
        for kind, body in (("secrets", {"stringData": {"k": "of a secret"}}), ("configmaps", {"data": {"k": "of a map"}})):
            self.kube.done("POST", f"/api/v1/namespaces/default/{kind}", {"metadata": {"name": name}, **body})
        server = self.begin({"j": self.job(f"cat /run/secrets/{name}/k /{name}/k; echo $A", secrets=[name], configs=[name],
                                           environment={"A": {"from_secret": f"{name}/k"}})})
        found = self.succeeds_once(server)
        self.assertEqual("of a secretof a mapof a secret\n", server.cli.check("logs", found["run"]).out)


class RealCrashes(Real, Crashes):
    pass


def manifests(name):
    with open(os.path.join(lab.TOP, "contrib", "kubernetes", name), encoding="utf-8") as f:
        return list(yaml.safe_load_all(f))


class RealRights(Real, KubeSuite):
    """contrib/kubernetes as it is given away: with these rights everything works, and each of them is needed."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.real = lab.shared_kubernetes()
        cls.real.apply(manifests("rbac.yaml"))
        cls.role = next(m for m in manifests("rbac.yaml") if m["kind"] == "Role")

    def account(self):
        """As the engine has it in a Pod."""
        path = os.path.join(self.folder.path, "token")
        with open(path, "w", encoding="utf-8") as f:
            f.write(self.kube.token("cronsched", "cronsched"))
        return {"type": "kubernetes", "endpoint": self.kube.url, "token_file": path, "namespace": "jobs",
                "tls": {"ca": self.kube.file("certs", "apiserver.crt")}}

    def job(self, body="true", **keys):
        """The namespace's policy lets no job have a folder of its node."""
        return {"engine": "kubernetes", "image": "docker.io/library/busybox:local", "pull": "never", "command": ["sh", "-c", body], **keys}

    def test_with_least_rights_everything_works(self):
        server = self.begin({"j": self.job("echo mine; exit 3"), "root": self.job(volumes=["/:/host"]), "long": self.job("sleep 60")},
                            self.account())
        run = server.cli.trigger("j")
        found = server.cli.wait_end(run)
        self.assertEqual(("failed", 3, "mine\n"), (found["verdict"], found["exit_code"], server.cli.check("logs", run).out), found)
        found = server.cli.wait_end(server.cli.trigger("root"))
        self.assertIn('violates PodSecurity "baseline:latest": hostPath volumes', str(found))
        long = server.cli.trigger("long")
        lab.wait_for(lambda: server.cli.run(long)["state"] == "running", 30, lambda: f"{server.cli.run(long)}")
        server.cli.check("kill", long)
        self.assertEqual("killed", server.cli.wait_end(long)["verdict"])
        self.gone(run)
        self.gone(long)
        self.assertRegex(server.cli.call("doctor").out, r"ok +engine kubernetes: kubernetes: kubernetes v1[^ ]+, namespace jobs")

    def test_a_right_that_is_missing_is_named(self):
        try:
            for number, rule in enumerate(r for r in self.role["rules"] if r["resources"] != ["events"]):
                for verb in rule["verbs"]:
                    role = json.loads(json.dumps(self.role))
                    left = [v for v in rule["verbs"] if v != verb]
                    role["rules"][number]["verbs"] = left or ["list"]
                    self.kube.apply([role])
                    server = self.server(name=f"{verb}{number}", engines={"kubernetes": self.account()}).start()
                    text = f"its account has no right to {verb} {rule['resources'][0]} in namespace jobs"
                    lab.wait_for(lambda: text in server.cli.call("doctor").out.replace("\n        ", " "), 20,
                                 lambda: server.cli.call("doctor").out)
                    server.stop()
        finally:
            self.kube.apply([self.role])

    def test_the_manifest_of_cronsched_itself_is_taken(self):
        self.kube.apply(manifests("cronsched.yaml"))
        for kind, name in (("statefulsets", "cron"), ("statefulsets", "zk")):
            path = f"/apis/apps/v1/namespaces/cronsched/{kind}/{name}"
            self.assertEqual(name, self.kube.done("GET", path)["metadata"]["name"])
            self.kube.done("DELETE", path)


class Answers(KubeSuite):
    """Of an API server that is in trouble, or lies. None of them starts a run twice, or forgets one."""

    side_by_side = 8

    def test_a_release_whose_answer_is_lost_is_told_right(self):
        server = self.begin({"j": self.job()})
        for trouble in ("apply-then-cut", "cut", 500):
            self.kube.on("PATCH", "/pods/", trouble)
            found = self.succeeds_once(server)
            self.assertEqual(1, len(found["attempts"]), found)

    def test_what_proves_that_nothing_was_done_is_sent_again(self):
        server = self.begin({"j": self.job()})
        began = time.monotonic()
        self.kube.on("PATCH", "/pods/", 409).on("PATCH", "/pods/", (429, {}, {"Retry-After": "1"}))
        self.kube.on("POST", "/pods?", (429, {}, {"Retry-After": "1"})).on("POST", "/pods?", 503)
        found = self.succeeds_once(server)
        self.assertEqual((1, 1), (len(found["attempts"]), found["attempts"][0].get("try")), found)
        self.assertGreater(time.monotonic() - began, 1.9)

    def test_a_creation_whose_answer_is_lost_makes_no_second_pod(self):
        server = self.begin({"j": self.job("sleep 1")})
        self.kube.on("POST", "/pods?", "apply-then-cut")
        run = server.cli.trigger("j")
        self.started(run)
        self.assertEqual(1, len(self.kube.pods))
        self.assertEqual("succeeded", server.cli.wait_end(run)["verdict"])

    def test_a_quota_waits_and_a_policy_is_final(self):
        def refuse(text):
            return (403, {"kind": "Status", "reason": "Forbidden", "message": text})

        server = self.begin({"j": self.job(), "k": self.job()})
        self.kube.on("POST", "/pods?", refuse('pods "cs-1" is forbidden: exceeded quota: q, requested: pods=1'))
        self.succeeds_once(server)
        why = 'pods "cs-1" is forbidden: violates PodSecurity "restricted:latest"'
        self.kube.on("POST", "/pods?", refuse(why))
        found = server.cli.wait_end(server.cli.trigger("k"))
        self.assertEqual("failed", found["verdict"], found)
        self.assertIn(why, found["attempts"][0]["text"])

    def test_a_policy_that_refuses_changes_is_told_and_waited_for(self):
        server = self.begin({"j": self.job()})
        why = "admission webhook \"x\" denied the request"
        self.kube.on("PATCH", "/pods/", (403, {"kind": "Status", "reason": "Forbidden", "message": why}), times=None)
        run = server.cli.trigger("j")
        lab.wait_for(lambda: why in str(server.cli.run(run)), 20, lambda: f"{server.cli.run(run)}")
        lab.quiet_for(2)
        self.assertLess(self.kube.count("POST", "/pods?"), 6)
        self.kube.forget()
        found = server.cli.wait_end(run)
        self.assertEqual(("succeeded", 1), (found["verdict"], self.ledger.starts(run)), found)

    def test_a_stream_that_breaks_is_opened_again_and_what_was_missed_is_seen(self):
        server = self.begin({"j": self.job("sleep 1.5")})
        run = self.started(server.cli.trigger("j"))
        self.kube.compact()  # 410 in a stream of status 200
        self.kube.on("GET", "watch=1", b"HTTP/1.1 200 OK\r\n\r\n{\"type\":\"MODIFIED\",\"obj\n")
        self.kube.on("GET", "watch=1", 410)
        self.assertEqual("succeeded", server.cli.wait_end(run)["verdict"])
        lists = self.kube.count("GET", "limit=200")
        self.assertLess(lists, 15, self.kube.asked)

    def test_an_api_that_is_away_ends_nothing(self):
        server = self.begin({"j": self.job("sleep 2; exit 4")})
        run = self.started(server.cli.trigger("j"))
        self.kube.down()
        lab.wait_for(lambda: server.cli.run(run)["state"] == "unresolved", 40, lambda: f"{server.cli.run(run)}")
        lab.quiet_for(2)
        self.kube.up()
        found = server.cli.wait_end(run)
        self.assertEqual(("failed", 4, 1), (found["verdict"], found["exit_code"], self.ledger.starts(run)), found)

    def test_what_waits_while_its_run_is_lost_does_not_start_some_day(self):
        server = self.begin({"j": self.job(constraints=["zone == b"])}, resolve_within="3s")
        run = server.cli.trigger("j")
        lab.wait_for(lambda: "Unschedulable" in str(server.cli.run(run)), 20, lambda: f"{server.cli.run(run)}")
        self.kube.down()
        found = server.cli.wait_end(run)
        self.assertEqual("lost", found["verdict"], found)
        self.kube.up()
        self.gone(run)
        self.assertEqual({}, self.ledger.starts())

    def test_a_pod_that_is_gone_without_a_trace_is_lost(self):
        server = self.begin({"j": self.job("sleep 30")})
        run = self.started(server.cli.trigger("j"))
        self.kube.vanish(run)
        found = server.cli.wait_end(run)
        self.assertEqual("lost", found["verdict"], found)
        self.assertIn("its Pod was deleted, and its end was not seen", str(found))

    def test_another_cluster_behind_the_same_name_is_told_apart(self):
        server = self.begin({"j": self.job("sleep 30")})
        run = self.started(server.cli.trigger("j"))
        self.kube.namespaces["kube-system"] = "11111111-1111-1111-1111-111111111111"
        self.kube.vanish(run)
        lab.wait_for(lambda: "this is another engine" in str(server.cli.run(run)), 30, lambda: f"{server.cli.run(run)}")
        self.assertEqual("unresolved", server.cli.run(run)["state"])

    def test_nonsense_leads_to_no_verdict(self):
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"
        bodies = [b"", b"{}", b"[]", b"null", b"7", b"{\"a", b"\xff\xfe", b"[" * 5000, b"{\"kind\":\"Pod\",\"metadata\":{\"uid\":\"x\"}}"]
        nonsense = [whole % (len(b), b) for b in bodies]
        nonsense += [b"\0\1\2", b"HTTP/9.9 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}",
                     b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                     b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"]
        server = self.begin({f"j{i}": self.job("sleep 0.2") for i in range(4)})
        paths = [("GET", "/pods/cs-"), ("PATCH", "/pods/cs-"), ("POST", "/pods?"), ("GET", "limit=200"), ("GET", "watch=1"),
                 ("DELETE", "/pods/cs-"), ("GET", "/log?")]
        for number, answer in enumerate(nonsense):
            self.kube.on(*paths[number % len(paths)], answer)
        self.kube.on("GET", "/version", nonsense[0]).on("GET", "/namespaces/kube-system", nonsense[1])
        runs = [server.cli.trigger(f"j{i}") for i in range(4)]
        for run in runs:
            found = server.cli.wait_end(run, 90)
            self.assertIn(found["verdict"], ("succeeded", "failed"), found)  # failed: a preparation that was refused
            self.assertEqual(1 if found["verdict"] == "succeeded" else 0, self.ledger.starts(run), found)

    def test_an_answer_without_end_is_cut(self):
        server = self.begin({"j": self.job("sleep 0.5")})
        self.kube.on("GET", "/pods/cs-", b"HTTP/1.1 200 OK\r\n\r\n[\"" + b"x" * (6 << 20))
        self.kube.on("GET", "watch=1", b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (6 << 20))
        self.kube.on("GET", "watch=1", b"HTTP/1.1 200 OK\r\n\r\n" + b"{}\n" * 100000)
        self.succeeds_once(server)

    def test_words_of_the_cluster_are_not_passed_off_as_output(self):
        server = self.begin({"j": self.job("echo mine; sleep 0.5")})
        text = b"unable to retrieve container logs for containerd://1"
        self.kube.on("GET", "/log?", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text), times=None)
        found = self.succeeds_once(server)
        self.assertEqual("", server.cli.check("logs", found["run"]).out)
        self.assertIn("unable to retrieve container logs", found["attempts"][0]["text"])


class Ways(KubeSuite):
    """To the API, and as whom."""

    side_by_side = 6

    def kubeconfig(self, user, server=None, **cluster):
        path = os.path.join(self.folder.path, "kubeconfig")
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "jobs"}}],
                       "clusters": [{"name": "k", "cluster": {"server": server or self.kube.url,
                                                              "certificate-authority": self.kube.file("ca.pem"), **cluster}}],
                       "users": [{"name": "u", "user": user}]}, f)
        return {"type": "kubernetes", "kubeconfig": path}

    def doctor(self, server, text):
        lab.wait_for(lambda: text in server.cli.call("doctor").out.replace("\n        ", " "), 30, lambda: server.cli.call("doctor").out)

    def test_a_kubeconfig_with_a_path_in_front_and_a_token(self):
        self.kube.prefix = "/k8s/clusters/c-m-1"
        server = self.begin({"j": self.job()}, self.kubeconfig({"token": TOKEN}))
        self.succeeds_once(server)
        self.assertNone(p for _, p in self.kube.asked if not p.startswith("/k8s/clusters/c-m-1/"))

    def test_a_kubeconfig_with_everything_inline_and_a_client_certificate(self):
        """As k3s writes it."""
        def inline(name):
            with open(self.kube.file(name), "rb") as f:
                return base64.b64encode(f.read()).decode()

        user = {"client-certificate-data": inline("client.pem"), "client-key-data": inline("client.key")}
        config = self.kubeconfig(user, **{"certificate-authority": "/no/such/file", "certificate-authority-data": inline("ca.pem")})
        server = self.begin({"j": self.job()}, config)
        self.kube.tokens = set()
        self.succeeds_once(server)
        server.stop()
        server = self.server(name="other", engines={"kubernetes": self.kubeconfig(user, **{"certificate-authority-data": inline("other.pem")})})
        server.start()
        self.doctor(server, "SSL certificate problem")

    def test_an_exec_plug_in_runs_again_when_its_token_is_refused(self):
        script = os.path.join(self.folder.path, "plug-in")
        token = os.path.join(self.folder.path, "current")
        with open(token, "w", encoding="utf-8") as f:
            f.write(TOKEN)
        with open(script, "w", encoding="utf-8") as f:
            f.write(f"""#!/bin/sh
echo x >> {script}.calls
printf '{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"token":"%s"}}}}' $(cat {token})
""")
        os.chmod(script, 0o755)
        user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plug-in", "interactiveMode": "Never"}}
        server = self.begin({"j": self.job()}, self.kubeconfig(user))
        self.succeeds_once(server)
        with open(script + ".calls", encoding="utf-8") as f:
            self.assertEqual(1, len(f.read().splitlines()))
        self.kube.tokens = {"the-next-one"}
        with open(token, "w", encoding="utf-8") as f:
            f.write("the-next-one")
        self.succeeds_once(server)

    def test_a_token_file_that_is_replaced_is_read_again(self):
        server = self.begin({"j": self.job()})
        self.succeeds_once(server)
        self.kube.tokens = {"rotated"}
        self.kube.token_file("rotated")
        self.succeeds_once(server)

    def test_a_name_for_tls_and_the_account_of_a_pod(self):
        server = self.begin({"j": self.job()}, self.kubeconfig({"token": TOKEN}, **{"tls-server-name": "cron-1.example.com"}))
        self.succeeds_once(server)
        server.stop()
        account = self.folder.make("account")
        script = f'mount -t tmpfs tmpfs /run && mkdir -p /run/secrets/kubernetes.io && ln -s {account} /run/secrets/kubernetes.io/serviceaccount && exec "$@"'
        server = self.server(name="pod", engines={"kubernetes": {"type": "kubernetes"}}, wrapper=["unshare", "-m", "sh", "-c", script, "sh"])
        server.environment.update(KUBERNETES_SERVICE_HOST="127.0.0.1", KUBERNETES_SERVICE_PORT=str(self.kube.port))
        server.start()  # its account is not there, and that is told
        self.doctor(server, "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt cannot be read")
        shutil.copy(self.kube.file("ca.pem"), os.path.join(account, "ca.crt"))
        for name, text in (("token", TOKEN), ("namespace", "other\n")):
            with open(os.path.join(account, name), "w", encoding="utf-8") as f:
                f.write(text)
        self.doctor(server, "kubernetes v1.36.0, namespace other")
        server.apply({"j": self.job()})
        self.assertTrue(self.succeeds_once(server)["attempts"][0]["id"].startswith("other/"))

    def test_doctor_names_what_is_wrong(self):
        self.kube.rights = {"create pods", "get pods", "list pods", "watch pods", "patch pods", "delete pods"}
        server = self.begin()
        self.doctor(server, "its account has no right to get pods/log in namespace jobs")
        self.doctor(server, "kubernetes v1.36.0, namespace jobs")
        server.stop()
        for number, (change, text) in enumerate([
                (lambda: setattr(self.kube, "minor", "26"), "Kubernetes v1.26.0 is too old: servers from 1.27 on have the scheduling gates"),
                (lambda: setattr(self.kube, "tokens", set()), "HTTP 401: Unauthorized")]):
            change()
            server = self.server(name=f"s{number}", engines={"kubernetes": self.kube.engine()}).start()
            self.doctor(server, text)
            server.stop()
            self.kube.minor = "36"
        config = self.kubeconfig({"token": TOKEN})
        server = self.server(name="context", engines={"kubernetes": {**config, "context": "nope"}}).start()
        self.doctor(server, "there is no context 'nope'")

    def test_the_rights_that_are_asked_for_are_those_of_the_manifest(self):
        given = {f"{verb} {resource}" for m in manifests("rbac.yaml") if m["kind"] == "Role" for rule in m["rules"]
                 if rule["resources"] != ["events"] for verb in rule["verbs"] for resource in rule["resources"]}
        self.begin()
        lab.wait_for(lambda: self.kube.reviewed == given, 20, lambda: f"{self.kube.reviewed}")

    def test_contexts_are_engines_and_a_job_names_its_namespace(self):
        config = self.kubeconfig({"token": TOKEN})
        both = {"a": {**config, "namespace": ["jobs", "other"]}, "b": {**config, "context": "c", "namespace": "other"}}
        server = self.server(engines=both).start()
        server.apply({"one": self.job(engine="a", kubernetes={"metadata": {"namespace": "other"}}), "two": self.job(engine="b")})
        for job in ("one", "two"):
            found = self.succeeds_once(server, job)
            self.assertTrue(found["attempts"][0]["id"].startswith("other/"), found)
        path = os.path.join(self.folder.path, "j.yaml")
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"jobs": {"j": self.job(engine="b", kubernetes={"metadata": {"namespace": "jobs"}})}}, f)
        self.assertIn("metadata.namespace: the engine's configuration does not name it", server.cli.call("apply", path).err)


if __name__ == "__main__":
    lab.main()
