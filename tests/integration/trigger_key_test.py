#!/usr/bin/python3
"""One key is one run, however often it is sent and whatever happens to the server meanwhile."""

import os
import random
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402

SENDS = int(os.environ.get("CRONSCHED_SENDS", "100"))


class TriggerKey(lab.Suite):
    def test_one_key_sent_many_times_while_the_server_is_killed_is_one_run(self):
        ledger = lab.Ledger(self.folder)
        server = self.server()
        server.start()
        server.apply({"j": ledger.process_job("sleep 1", concurrency="allow")})
        answers, lock, todo = [], threading.Lock(), list(range(SENDS))

        def send():
            while True:
                with lock:
                    if not todo:
                        return
                    todo.pop()
                answer = server.cli.call("trigger", "j", "--key", "nightly-7", "-o", "json")
                with lock:
                    answers.append(answer)

        threads = [threading.Thread(target=send) for _ in range(3)]
        for t in threads:
            t.start()
        kills = 0
        while any(t.is_alive() for t in threads):
            lab.quiet_for(random.uniform(0.1, 0.8))
            server.kill()
            kills += 1
            server.start()
        for t in threads:
            t.join()
        runs = {a.json()["run"] for a in answers if a.code == 0}
        lab.say(f"{SENDS} sends of one key over {kills} kills: {sum(a.code == 0 for a in answers)} were answered, "
                f"all with the same run: {len(runs) == 1}")
        self.assertEqual(1, len(runs), [str(a) for a in answers if a.code not in (0, 5, 7)][:5])
        self.assertNone(str(a) for a in answers if a.code not in (0, 5, 7))
        run = runs.pop()
        self.assertEqual("succeeded", server.cli.wait_end(run)["verdict"])
        self.assertEqual([run], [r["run"] for r in server.cli.runs("j")])
        self.assertEqual(1, ledger.starts(run))
        self.assertNone(lab.Checker(ledger).strict().problems)
        server.stop()

    def test_the_same_key_with_other_content_is_a_conflict(self):
        server = self.server()
        server.start()
        server.apply({"j": {"command": ["true"], "concurrency": "allow"}})
        first = server.cli.trigger("j", "--key", "k", "--param", "a=1")
        self.assertEqual(first, server.cli.trigger("j", "--key", "k", "--param", "a=1"))
        self.assertEqual(6, server.cli.call("trigger", "j", "--key", "k", "--param", "a=2").code)
        server.kill()
        server.start()
        self.assertEqual(first, server.cli.trigger("j", "--key", "k", "--param", "a=1"))
        self.assertEqual(6, server.cli.call("trigger", "j", "--key", "k", "--param", "a=2").code)
        server.stop()

    def test_an_acknowledged_apply_and_trigger_survive_a_crash_at_once(self):
        """Nothing acknowledged is lost: the server is killed the moment the answer is there."""
        server = self.server()
        server.start()
        for i in range(5):
            server.apply({"j": {"command": ["true"], "concurrency": "allow", "labels": {"round": str(i)}}})
            server.kill()
            server.start()
            self.assertIn(f'"round": "{i}"', server.cli.check("show", "j", "-o", "json").out.replace('":"', '": "'))
            run = server.cli.trigger("j")
            server.kill()
            server.start()
            self.assertEqual("succeeded", server.cli.wait_end(run)["verdict"])
        server.stop()


if __name__ == "__main__":
    lab.main()
