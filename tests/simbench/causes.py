#!/usr/bin/env python3
"""Causes and probabilities of alerts against truth: confusion matrix, reliability, Brier score.

  causes.py [--sites ci,zw,romania] [--seeds 1,2,3,4,5] [--size 400] [--scenes DIR] [--runs DIR]

Reads the runs that run.py left under --runs. What lies under an alert is product.what_lies_there; "other" is stable ground, an
old mine, or the edge of an excavation.
"""

import argparse, os

import numpy as np

import product
import run as sim
import score as sb

# What lies there, by simbench's names, and the cause that would be right.
TRUTH = {
    "pit": "pit",
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
N_BINS = 10
Z90 = 1.6449  # standard normal, two-sided 90 %


def alerts(folder, path):
    """(what lies there, cause, tier, probability of a pit) of each alert of excavation of a run on a scene."""
    rows = product.labelled_evidence(product.run_left_in(path, folder), sb.Scene(path))
    return [(TRUTH.get(r["label"], "other"), r["cause"], r["tier"], float(r["probability_pit"])) for r in rows]


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
    a.add_argument("--scenes", default=product.SCENES)
    a.add_argument("--runs", default=product.RUNS)
    a = a.parse_args()
    found = {}
    for site in a.sites.split(","):
        for seed in a.seeds.split(","):
            name = f"{site}-{seed}-{a.size}"
            found.setdefault(site, []).extend(alerts(os.path.join(a.runs, name), os.path.join(a.scenes, name)))
    every = sum(found.values(), [])
    for tier in ("confirmed", "provisional"):
        print(f"Alerts of the {tier} tier by what lies there (rows) and the cause that they were given (columns):\n")
        of_tier = [v for v in every if v[2] == tier]
        rows = [[lies] + [str(sum(v[0] == lies and v[1] == cause for v in of_tier)) for cause in CAUSES] for lies in ROWS]
        print(sim.table(["lies there"] + CAUSES, rows))
    print("Probability of a pit, all sites and both tiers (90 % interval of Wilson):\n")
    print(sim.table(["probability", "alerts", "mean", "share that are pits"], reliability(every)[0]))
    print("The same by site: alerts, mean probability, share that are pits:\n")
    of_site = {site: {row[0]: " · ".join(row[1:]) for row in reliability(some)[0]} for site, some in found.items()}
    rows = [[bin_] + [cells.get(bin_, "0") for cells in of_site.values()] for bin_, *_ in reliability(every)[0]]
    print(sim.table(["probability", *of_site], rows))
    rows = []
    for name, some in {**found, "all": every, "all, confirmed": [v for v in every if v[2] == "confirmed"]}.items():
        _, error, brier = reliability(some)
        rows.append([name, str(len(some)), f"{np.mean([v[0] == 'pit' for v in some]):.2f}", f"{error:.3f}", f"{brier:.3f}"])
    print(sim.table(["alerts", "n", "share that are pits", "expected calibration error", "Brier score"], rows))


if __name__ == "__main__":
    main()
