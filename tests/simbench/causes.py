#!/usr/bin/env python3
"""Causes and probabilities of alerts against truth: confusion matrix, reliability, Brier score.

  causes.py [--sites ci,zw,romania] [--seeds 1,2,3,4,5] [--size 400] [--scenes DIR] [--runs DIR]

Reads the runs that run.py left under --runs. An alert of excavation is a pit if one of its pixels touches an excavation
(1-pixel tolerance) that had started when it was reported; else it is what covers more than three tenths of its pixels, in the
order of score.py; "other" is stable ground, an old mine, or the edge of an excavation that had not started.
"""

import argparse, csv, json, os, re

import numpy as np
import rasterio
from rasterio import features, warp

import run as sim
import score as sb

# What lies there, by simbench's names, and the cause that would be right.
TRUTH = {
    "newfield": "field",
    "crop": "field",
    "clearing": "felling",
    "sandbar": "river bar",
    "drawdown": "river bar",
    "water": "river bar",
    "road_new": "road or building",
    "building_new": "road or building",
    "built": "road or building",
    "burn": "burn",
    "burn_first": "burn",
    "shadow_or_cloud_leak": "cloud residue",
}
ROWS = ["pit", "burn", "field", "felling", "river bar", "road or building", "cloud residue", "other"]
CAUSES = ["pit", "burn", "field", "river bar", "road or building", "cloud residue", "unknown"]
ORDER = ["sandbar", "drawdown", "old_mine", "crop", "built", "burn_first", "water", "shadow_or_cloud_leak", "burn"]
N_BINS = 10
Z90 = 1.6449  # standard normal, two-sided 90 %


def alerts(folder, truth):
    """(what lies there, cause, tier, probability of a pit) of each alert of excavation of a run."""
    latest = json.load(open(os.path.join(folder, "latest.json")))
    path = os.path.join(folder, latest["path"])
    transform = rasterio.Affine(*truth.meta["transform"][:6])
    near = sb.ni.grey_dilation(truth.eid, size=(3, 3))
    start = {e["id"]: e["start"] for e in truth.ev}
    probability = {r["alert_id"]: float(r["probability_pit"]) for r in csv.DictReader(open(os.path.join(path, "evidence.csv")))}
    found = []
    for alert in json.load(open(os.path.join(path, "alerts.geojson")))["features"]:
        p = alert["properties"]
        if p["kind"] != "excavation":
            continue
        shape = warp.transform_geom("EPSG:4326", f"EPSG:{truth.meta['epsg']}", alert["geometry"])
        inside = features.rasterize([(shape, 1)], out_shape=truth.eid.shape, transform=transform) > 0
        ids = set(np.unique(near[inside])) - {0}
        if ids:
            # The name has the day on which the alert was reported.
            reported = re.search(r"-(\d{4})(\d\d)(\d\d)-[NS]\d+[EW]\d+$", p["alert_id"])
            lies = "pit" if any("-".join(reported.groups()) >= start[i] for i in ids) else "other"
        else:
            share = {n: ((truth.conf[inside] & v) > 0).mean() for n, v in truth.sd["CONF"].items()}
            names = [n for n in list(truth.sd["HARD"]) + ORDER if share[n] > 0.3]
            lies = TRUTH.get(names[0], "other") if names else "other"
        found.append((lies, p["cause"], p["tier"], probability[p["alert_id"]]))
    return found


def wilson(k, n):
    """90 % interval of a share, Wilson (1927), doi:10.1080/01621459.1927.10502953."""
    share, d = k / n, 1 + Z90**2 / n
    middle = (share + Z90**2 / (2 * n)) / d
    half = Z90 * np.sqrt(share * (1 - share) / n + Z90**2 / (4 * n**2)) / d
    return middle - half, middle + half


def reliability(found):
    p = np.array([a[3] for a in found])
    y = np.array([a[0] == "pit" for a in found])
    bins = np.minimum((p * N_BINS).astype(int), N_BINS - 1)
    rows, error = [], 0.0
    for b in range(N_BINS):
        k = bins == b
        if not k.any():
            continue
        low, high = wilson(y[k].sum(), k.sum())
        rows.append([f"{b / N_BINS:.1f}–{(b + 1) / N_BINS:.1f}", str(k.sum()), f"{p[k].mean():.2f}", f"{y[k].mean():.2f} ({low:.2f}–{high:.2f})"])
        error += k.sum() * abs(p[k].mean() - y[k].mean())
    return rows, error / len(p), float(((p - y) ** 2).mean())


def main():
    a = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    a.add_argument("--sites", default="ci,zw,romania")
    a.add_argument("--seeds", default="1,2,3,4,5")
    a.add_argument("--size", type=int, default=400)
    a.add_argument("--scenes", default=os.path.join(sim.ROOT, "out", "simbench", "scenes"))
    a.add_argument("--runs", default=os.path.join(sim.ROOT, "out", "simbench", "runs"))
    a = a.parse_args()
    found = {}
    for site in a.sites.split(","):
        for seed in a.seeds.split(","):
            name = f"{site}-{seed}-{a.size}"
            found.setdefault(site, []).extend(alerts(os.path.join(a.runs, name), sb.Scene(os.path.join(a.scenes, name))))
    every = sum(found.values(), [])
    for tier in ("confirmed", "provisional"):
        print(f"Alerts of the {tier} tier by what lies there (rows) and the cause that they were given (columns):\n")
        of_tier = [v for v in every if v[2] == tier]
        rows = [[lies] + [str(sum(v[0] == lies and v[1] == cause for v in of_tier)) for cause in CAUSES] for lies in ROWS]
        print(sim.table(["lies there"] + CAUSES, rows))
    print("Probability of a pit, all sites and both tiers (90 % interval of Wilson):\n")
    print(sim.table(["probability", "alerts", "mean", "share that are pits"], reliability(every)[0]))
    rows = []
    for name, some in {**found, "all": every, "all, confirmed": [v for v in every if v[2] == "confirmed"]}.items():
        _, error, brier = reliability(some)
        rows.append([name, str(len(some)), f"{np.mean([v[0] == 'pit' for v in some]):.2f}", f"{error:.3f}", f"{brier:.3f}"])
    print(sim.table(["alerts", "n", "share that are pits", "expected calibration error", "Brier score"], rows))


if __name__ == "__main__":
    main()
