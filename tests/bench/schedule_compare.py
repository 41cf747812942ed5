#!/usr/bin/env python3
"""Our reading and searching of cron expressions beside other libraries', in one run on the same expressions.

  schedule_compare.py BENCH_SCHEDULE [SAMPLE.jsonl]

BENCH_SCHEDULE is the built tests/bench/bench_schedule, of a release build. By hand: croner is looked for where node
looks (NODE_PATH), robfig/cron where Debian puts it (golang-github-robfig-cron-dev), croniter where this Python does
(PYTHONPATH); what is not there is left out. Only expressions that the other library accepts are counted for it.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

CHAIN = 10
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

CRONER = r"""
const {Cron} = require("croner");
const fs = require("fs");
const cases = fs.readFileSync(process.argv[1], "utf8").trim().split("\n").map(JSON.parse);
const median = (list) => list.sort((a, b) => a - b)[Math.floor(list.length / 2)];
const parse = [], next = [];
for (let warm = 0; warm < 2; warm++) {
  parse.length = next.length = 0;
  for (const c of cases) {
    if (c.dialect === "quartz") continue;
    let job;
    try { job = new Cron(c.expr, {timezone: c.tz}); job.nextRun(new Date(c.after)); } catch (e) { continue; }
    let start = process.hrtime.bigint();
    for (let i = 0; i < 100; i++) new Cron(c.expr, {timezone: c.tz});
    parse.push(Number(process.hrtime.bigint() - start) / 100);
    let calls = 0;
    start = process.hrtime.bigint();
    for (let i = 0; i < 5; i++) {
      let at = new Date(c.after);
      for (let k = 0; k < 10 && at; k++, calls++) at = job.nextRun(at);
    }
    next.push(Number(process.hrtime.bigint() - start) / calls);
  }
}
console.log(JSON.stringify({cases: parse.length, parse_ns: median(parse), next_ns: median(next)}));
"""

ROBFIG = r"""
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"time"

	"github.com/robfig/cron"
)

type testCase struct{ Expr, Tz, After, Dialect string }

func median(list []float64) float64 { sort.Float64s(list); return list[len(list)/2] }

func main() {
	file, _ := os.Open(os.Args[1])
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 1<<20)
	var parse, next []float64
	for scanner.Scan() {
		var c testCase
		if json.Unmarshal(scanner.Bytes(), &c) != nil || c.Dialect != "5" {
			continue
		}
		zone, err := time.LoadLocation(c.Tz)
		if err != nil {
			continue
		}
		after, _ := time.Parse(time.RFC3339, c.After)
		schedule, err := cron.ParseStandard(c.Expr)
		if err != nil {
			continue
		}
		start := time.Now()
		for i := 0; i < 100; i++ {
			cron.ParseStandard(c.Expr)
		}
		parse = append(parse, float64(time.Since(start))/100)
		calls := 0
		start = time.Now()
		for i := 0; i < 20; i++ {
			at := after.In(zone)
			for k := 0; k < 10 && !at.IsZero(); k++ {
				at = schedule.Next(at)
				calls++
			}
		}
		next = append(next, float64(time.Since(start))/float64(calls))
	}
	out, _ := json.Marshal(map[string]interface{}{"cases": len(parse), "parse_ns": median(parse), "next_ns": median(next)})
	fmt.Println(string(out))
}
"""


def croner(sample):
    done = subprocess.run(["node", "-e", CRONER, sample], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().split("\n")[-1] or "failed")
    return json.loads(done.stdout)


def robfig(sample):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "main.go")
        with open(path, "w", encoding="utf-8") as file:
            file.write(ROBFIG)
        environment = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": folder, **os.environ}
        done = subprocess.run(["go", "run", path, sample], capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().split("\n")[-1] or "failed")
    return json.loads(done.stdout)


def croniter(sample):
    import datetime
    import zoneinfo

    from croniter import croniter as Croniter

    parse, following = [], []
    for line in open(sample, encoding="utf-8"):
        case = json.loads(line)
        if case["dialect"] != "5":  # its sixth field is something else
            continue
        after = datetime.datetime.fromisoformat(case["after"].replace("Z", "+00:00"))
        after = after.astimezone(zoneinfo.ZoneInfo(case["tz"]))
        try:
            start = time.perf_counter_ns()
            for _ in range(10):
                iterator = Croniter(case["expr"], after)
            parse.append((time.perf_counter_ns() - start) / 10)
            start = time.perf_counter_ns()
            for _ in range(CHAIN):
                iterator.get_next()
            following.append((time.perf_counter_ns() - start) / CHAIN)
        except Exception:  # noqa: BLE001: it refuses the expression, or finds nothing
            continue
    return {"cases": len(following), "parse_ns": statistics.median(parse), "next_ns": statistics.median(following)}


def main():
    bench = sys.argv[1]
    sample = sys.argv[2] if len(sys.argv) > 2 else os.path.join(TOP, "tests", "data", "cron-sample.jsonl")
    ours = json.loads(subprocess.run([bench, sample], check=True, capture_output=True, text=True).stdout)
    print(f"{'':10} {'cases':>6} {'parse ns':>12} {'next ns':>12} {'parse':>9} {'next':>9}")
    print(f"{'cronsched':10} {ours['cases']:6} {ours['parse_ns']:12.0f} {ours['next_ns']:12.0f} {'1 x':>9} {'1 x':>9}")
    for name, run in (("croner", croner), ("robfig", robfig), ("croniter", croniter)):
        try:
            theirs = run(sample)
        except (RuntimeError, ImportError, OSError) as error:
            print(f"{name:10} not there: {error}")
            continue
        print(f"{name:10} {theirs['cases']:6} {theirs['parse_ns']:12.0f} {theirs['next_ns']:12.0f} "
              f"{theirs['parse_ns'] / ours['parse_ns']:7.0f} x {theirs['next_ns'] / ours['next_ns']:7.0f} x")


main()
