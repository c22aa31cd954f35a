#!/usr/bin/env python3
"""A year of scheduled runs equals one run: runs at five-day steps over a scene, in which all goes wrong that can.

  year.py [--sites ci] [--seeds 1] [--size 200] [--step-days 5] [--scenes DIR] [--out DIR] [--binary PATH]

The catalog grows from step to step. Looks come late (20 %), or come first with the pixels of the look before and are replaced
later (8 %); at a step the catalog may be gone (8 %), a file may be missing (12 %), or the program is killed at a random moment
(25 %). After each step events are delivered to a receiver that refuses 15 % of them, and answers 500 to 15 % that it took in.
At the end:

  - the run has the same bytes as one run over the whole catalog into another folder, but for the manifest and the events;
  - the receiver has each event of the ledger, once after dropping ids it has seen, each subject's in order of revision.

Exit code 1 if not.
"""

import argparse, hashlib, http.server, json, os, random, shutil, sqlite3, subprocess, threading, time

import numpy as np

import product
import run as sim

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WHAT = ("late", "replaced", "outages", "missing files", "kills")


class Receiver(http.server.ThreadingHTTPServer):
    """Takes events in, and fails at times."""

    def __init__(self, seed):
        super().__init__(("127.0.0.1", 0), Handler)
        self.taken, self.dice, self.lock = [], random.Random(seed), threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            chance = self.server.dice.random()
            if chance >= 0.15:
                self.server.taken.append((self.headers["webhook-id"], body))
        self.send_response(503 if chance < 0.15 else 500 if chance < 0.3 else 204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Catalog:
    """A collection that grows."""

    def __init__(self, scene, folder):
        source = os.path.join(scene, "obs", "cogs", "collection.json")
        self.collection = json.load(open(source))
        self.folder, self.path = folder, os.path.join(folder, "collection.json")
        os.makedirs(os.path.join(folder, "items"))
        self.items = []
        for link in self.collection["links"]:
            if link["rel"] != "item":
                continue
            path = os.path.join(os.path.dirname(source), link["href"])
            item = json.load(open(path))
            for asset in item["assets"].values():
                asset["href"] = os.path.abspath(os.path.join(os.path.dirname(path), asset["href"]))
            item["links"] = []
            self.items.append(item)
        self.items.sort(key=lambda item: item["properties"]["datetime"])

    def publish(self, items):
        """Makes the catalog one of these items."""
        links = [link for link in self.collection["links"] if link["rel"] != "item"]
        for item in items:
            href = f"items/{item['id']}.json"
            with open(os.path.join(self.folder, href), "w") as f:
                json.dump(item, f)
            links.append({"rel": "item", "href": f"./{href}"})
        with open(self.path, "w") as f:
            json.dump({**self.collection, "links": links}, f)


def plan(catalog, first, step_days, n_steps, dice, counts):
    """(step, item) of each publication; a later one of an id replaces the earlier."""
    comes = []
    for index, item in enumerate(catalog.items):
        day = np.datetime64(item["properties"]["datetime"][:10], "D").astype(int)
        step = max(0, -(-(day - first) // step_days))
        if step > n_steps:
            continue
        if step > 0 and dice.random() < 0.2:
            counts["late"] += 1
            step = min(n_steps, step + dice.randint(1, 6))
        if index and step < n_steps and dice.random() < 0.08:
            counts["replaced"] += 1
            comes.append((step, {**item, "assets": catalog.items[index - 1]["assets"]}))
            step = min(n_steps, step + dice.randint(1, 4))
        comes.append((step, item))
    return comes


def broken(item):
    """An item of which a file is missing."""
    assets = {name: dict(asset) for name, asset in item["assets"].items()}
    name = sorted(assets)[0]
    assets[name]["href"] += ".gone"
    return {**item, "assets": assets}


def hashes(folder):
    found = {}
    for root, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(root, name)
            found[os.path.relpath(path, folder)] = hashlib.sha256(open(path, "rb").read()).hexdigest()
    return {name: value for name, value in found.items() if name not in ("manifest.json", "alerts.ndjson")}


def check_events(ledger, taken):
    """How many events there are, and how many came more than once; what is wrong raises."""
    rows = sqlite3.connect(ledger).execute("SELECT event_id, body FROM events ORDER BY seq").fetchall()
    expected, seen, revisions, n_repeated = dict(rows), {}, {}, 0
    for event_id, body in taken:
        event = json.loads(body)
        if event_id in seen:
            n_repeated += 1
            assert seen[event_id] == event, f"{event_id} came with other contents"
            continue
        seen[event_id] = event
        before = revisions.get(event["subject"], 0)
        assert event["revision"] == before + 1, f"{event['subject']}: revision {event['revision']} after {before}"
        revisions[event["subject"]] = event["revision"]
    assert seen == {k: json.loads(v) for k, v in expected.items()}, "the receiver does not have the events of the ledger"
    return len(expected), n_repeated


def year(a, binary, site, seed):
    scene = product.scene(a.scenes, site, seed, a.size)
    folder = os.path.join(a.out, f"{site}-{seed}")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    dice, counts = random.Random(seed), dict.fromkeys(WHAT, 0)
    catalog = Catalog(scene, folder)
    monitor_from = json.load(open(f"{scene}/obs/meta.json"))["history_end"]
    first = np.datetime64(monitor_from, "D").astype(int)
    last = np.datetime64(catalog.items[-1]["properties"]["datetime"][:10], "D").astype(int)
    n_steps = min(a.steps, -(-(last - first) // a.step_days))
    comes = plan(catalog, first, a.step_days, n_steps, dice, counts)
    receiver = Receiver(seed)
    endpoints = os.path.join(folder, "endpoints.toml")
    with open(endpoints, "w") as f:
        f.write(f'[[endpoint]]\nname = "group"\nurl = "http://127.0.0.1:{receiver.server_port}/hook"\nsecrets = ["env:HOOK"]\n'
                'feed = "group"\nallow_http = true\nallow_private = true\n')
    out = os.path.join(folder, "out")
    command = [binary, "run", a.pipeline, "--catalog", catalog.path, "--monitor-from", monitor_from, "--quiet", "--out"]

    def deliver():
        ledger = os.path.join(out, "ledger.sqlite")
        if not os.path.exists(ledger):
            return 7
        db = sqlite3.connect(ledger, timeout=20)
        db.execute("UPDATE deliveries SET next_at = '2020-01-01T00:00:00Z' WHERE state = 'pending'")
        db.commit()
        db.close()
        sent = subprocess.run([binary, "alerts", "deliver", out, "--endpoints", endpoints, "--quiet"], env={**os.environ, "HOOK": SECRET},
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert sent.returncode in (0, 7), f"deliver ended with {sent.returncode}"
        return sent.returncode

    published, seconds, codes = {}, 1.0, {}
    for step in range(n_steps + 1):
        published.update({item["id"]: item for when, item in comes if when == step})
        items, chance, kill = list(published.values()), dice.random() if step < n_steps else 1.0, None
        if 0.08 <= chance < 0.2:
            counts["missing files"] += 1
            spoiled = dice.randrange(len(items))
            items[spoiled] = broken(items[spoiled])
        catalog.publish(items)
        if chance < 0.08:
            counts["outages"] += 1
            os.remove(catalog.path)
        elif 0.2 <= chance < 0.45:
            kill = dice.random() * seconds
        start = time.monotonic()
        run = subprocess.Popen([*command, out, "--since", "last"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            _, said = run.communicate(timeout=kill)
            seconds = time.monotonic() - start
        except subprocess.TimeoutExpired:
            counts["kills"] += 1
            run.kill()
            _, said = run.communicate()
        codes[run.returncode] = codes.get(run.returncode, 0) + 1
        assert run.returncode in (0, 4, 5, -9), f"step {step} ended with {run.returncode}: {said.decode()}"
        deliver()
        product.say(f"{site} seed {seed}: step {step} of {n_steps}, exit codes so far {codes}")
    subprocess.run([*command, out, "--since", "last"], check=True, stdout=subprocess.DEVNULL)
    for _ in range(200):
        if deliver() == 0:
            break
    receiver.shutdown()
    n_events, n_repeated = check_events(os.path.join(out, "ledger.sqlite"), receiver.taken)
    once = os.path.join(folder, "once")
    subprocess.run([*command, once], check=True, stdout=subprocess.DEVNULL)
    folders = [product.run_left_in(scene, path).folder for path in (out, once)]
    many, one = (hashes(path) for path in folders)
    differing = sorted(name for name in many.keys() | one.keys() if many.get(name) != one.get(name))
    assert not differing, f"{site} seed {seed}: these differ: {differing}"
    n = {name: len(json.load(open(os.path.join(folders[0], f"{name}.geojson")))["features"]) for name in ("alerts", "sites")}
    return [site, str(seed), str(n_steps + 1), *(str(counts[what]) for what in WHAT), str(n["alerts"]), str(n["sites"]), str(n_events), str(n_repeated)]


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--sites", default="ci")
    p.add_argument("--seeds", default="1")
    p.add_argument("--size", type=int, default=200)
    p.add_argument("--step-days", type=int, default=5)
    p.add_argument("--steps", type=int, default=73)
    p.add_argument("--scenes", default=product.SCENES)
    p.add_argument("--out", default=os.path.join(product.ROOT, "out", "simbench", "year"))
    p.add_argument("--binary")
    p.add_argument("--pipeline", default=product.PIPELINE)
    a = p.parse_args()
    binary = a.binary or product.default_binary()
    rows = [year(a, binary, site, int(seed)) for site in a.sites.split(",") for seed in a.seeds.split(",")]
    head = ["site", "seed", "runs", *WHAT, "alerts", "sites", "events", "received again"]
    print(sim.table(head, rows))


if __name__ == "__main__":
    main()
