"""What the commands of this folder share: a scene, a run of pitwatch on it, and what its alerts are in truth."""

import csv, hashlib, json, os, pathlib, re, shutil, subprocess, sys, time
from dataclasses import dataclass

import numpy as np
import rasterio
from rasterio import features, warp
from scipy import ndimage as ni

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SCENES = os.path.join(ROOT, "out", "simbench", "scenes")
RUNS = os.path.join(ROOT, "out", "simbench", "runs")
PIPELINE = os.path.join(ROOT, "pipelines", "simbench.toml")

# Share of an alert's pixels on which a confounder must lie to be what the alert is: as in score.py.
OVERLAP = 0.3
# Where several confounders lie, the first one is named: as in score.py, hard negatives before all.
CONFOUNDERS = ["sandbar", "drawdown", "old_mine", "crop", "built", "burn_first", "water", "shadow_or_cloud_leak", "burn"]


def say(*a):
    print(*a, file=sys.stderr, flush=True)


def default_binary():
    """The newest of the release and the debug build."""
    target = os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "target")
    built = [p for p in (os.path.join(target, k, "pitwatch") for k in ("release", "debug")) if os.path.exists(p)]
    if not built:
        raise SystemExit("no pitwatch binary: run `cargo build -p pitwatch`, or name one with --binary")
    return max(built, key=os.path.getmtime)


def seeds(text):
    """The seeds of a list as in `1,2,10j`: a number, or text if the parameters of its site are jittered too."""
    return [seed if seed.endswith("j") else int(seed) for seed in text.split(",")]


def scene(folder, site, seed, size):
    """The scene's folder, generated unless it is there from the same generator. `seed`: see `seeds`."""
    path = os.path.join(folder, f"{site}-{seed}-{size}")
    generators = ["generator.py"] if isinstance(seed, int) else ["jittered.py", "generator.py"]
    generators = [os.path.join(HERE, name) for name in generators]
    version = hashlib.sha256(b"".join(pathlib.Path(name).read_bytes() for name in generators)).hexdigest()
    mark = os.path.join(path, "complete")
    if os.path.exists(mark) and open(mark).read() == version:
        return path
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    say(f"generating {site} seed {seed} size {size}")
    command = [sys.executable, "-W", "ignore", generators[0], path]
    subprocess.run(command + ["--site", site, "--seed", str(seed).rstrip("j"), "--size", str(size), "--cogs"], check=True, stdout=sys.stderr)
    with open(mark, "w") as f:
        f.write(version)
    return path


def cut_pipeline(text, until):
    """A pipeline file's text with a last day of monitoring, which is looked at too."""
    cut, n = re.subn(r"(?m)^\[scenes\]$", f'[scenes]\nmonitor_until = "{np.datetime64(until, "D")}"', text)
    if n != 1:
        raise SystemExit("the pipeline file must have one line [scenes]")
    return cut


@dataclass
class Run:
    """What a run of the product left."""

    folder: str
    meta: dict
    seconds: float
    peak_mib: float

    def raster(self, layer):
        """A layer of the scene's grid."""
        rasters = os.path.join(self.folder, "rasters")
        found = sorted(f for f in os.listdir(rasters) if f.endswith(f"_{layer}.tif"))
        if len(found) != 1:
            raise SystemExit(f"{rasters}: one raster *_{layer}.tif expected, found {found}")
        with rasterio.open(os.path.join(rasters, found[0])) as r:
            a = r.read(1)
            at = list(r.transform)[:6]
        if a.shape != (self.meta["size"],) * 2 or at != [float(v) for v in self.meta["transform"]]:
            raise SystemExit(f"{found[0]}: {a.shape} at {at} is not the grid of the scene, {self.meta['size']}² at {self.meta['transform']}")
        return a

    def days(self, layer):
        """A raster of days since 1970-01-01, 0 where there is none."""
        a = self.raster(layer)
        return np.where(a > 0, a, 0)

    def table(self, name):
        with open(os.path.join(self.folder, name), newline="") as f:
            return list(csv.DictReader(f))

    def alerts(self):
        """(properties, mask of its pixels) of each alert of excavation."""
        crs, transform = f"EPSG:{self.meta['epsg']}", rasterio.Affine(*self.meta["transform"][:6])
        for alert in json.load(open(os.path.join(self.folder, "alerts.geojson")))["features"]:
            if alert["properties"]["kind"] == "excavation":
                shape = warp.transform_geom("EPSG:4326", crs, alert["geometry"])
                mask = features.rasterize([(shape, 1)], out_shape=(self.meta["size"],) * 2, transform=transform)
                yield alert["properties"], mask > 0


def run_left_in(path, out):
    """The run on a scene that was left in an output folder, without its cost."""
    run_id = json.load(open(f"{out}/latest.json"))["run_id"]
    return Run(os.path.join(out, "runs", run_id), json.load(open(f"{path}/obs/meta.json")), float("nan"), float("nan"))


def run(binary, pipeline, path, out, extra=()):
    """Run the product on a scene."""
    meta = json.load(open(f"{path}/obs/meta.json"))
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    command = [binary, "run", pipeline, "--catalog", f"{path}/obs/cogs/collection.json", "--monitor-from", meta["history_end"], "--out", out, *extra]
    start = time.monotonic()
    child = subprocess.Popen(command, stdout=sys.stderr)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - start
    if child.returncode not in (0, 10):
        raise SystemExit(f"exit code {child.returncode} of: {' '.join(command)}")
    left = run_left_in(path, out)
    left.seconds, left.peak_mib = seconds, usage.ru_maxrss / 1024
    return left


def what_lies_there(truth, mask, alert_days):
    """What an alert is in truth: `pit` if a pixel of it alerted on an excavation (1-pixel tolerance, not before its start),
    `edge` if it touches one without that, else the name of the confounder, or `stable`.

    - `truth`: a score.Scene.
    - `alert_days`: the raster of alert days.
    """
    if not hasattr(truth, "near_id"):
        truth.near_id = ni.grey_dilation(truth.eid, size=(3, 3))
        truth.start = np.full(truth.eid.max() + 1, np.iinfo(np.int32).max)
        for e in truth.ev:
            if e["id"] < len(truth.start):
                truth.start[e["id"]] = np.datetime64(e["start"], "D").astype(int)
    ids, days = truth.near_id[mask], alert_days[mask]
    if ((ids > 0) & (days >= truth.start[ids])).any():
        return "pit"
    if (ids > 0).any():
        return "edge"
    share = {name: ((truth.conf[mask] & bit) > 0).mean() for name, bit in truth.sd["CONF"].items()}
    order = list(truth.sd["HARD"]) + CONFOUNDERS
    return next((name for name in order if share.get(name, 0) > OVERLAP), "stable")


def labelled_evidence(run, truth):
    """The rows of evidence.csv, each with `label`, see `what_lies_there`."""
    alert_days = run.days("alert_date")
    label = {p["alert_id"]: what_lies_there(truth, mask, alert_days) for p, mask in run.alerts()}
    rows = run.table("evidence.csv")
    if {r["alert_id"] for r in rows} != set(label):
        raise SystemExit(f"{run.folder}: evidence.csv and alerts.geojson do not have the same alerts of excavation")
    return [{**r, "label": label[r["alert_id"]]} for r in rows]
