#!/usr/bin/env python3
"""No hindsight: what pitwatch says of a day is what it says when it knows the looks up to that day.

  hindsight.py [--sites ci,zw,romania] [--seeds 1] [--size 400] [--days 10] [--scenes DIR] [--out DIR] [--binary PATH]

For random days of the monitoring period (the same in every run) the product looks at a scene up to that day and to the end.
Of the whole run: a `confirmed_date` up to the day must be the same in the cut run, an `alert_date` up to the day must be in it.
What the cut run has and the whole run has not was taken back later; how many such dates there are is counted, and how many
alerts of the cut run stand in retractions.csv of the whole run with a later day.
Exit code 1: a pixel has a date with hindsight.
"""

import argparse, csv, json, os

import numpy as np
import rasterio

import product
import run as sim
import score as sb


def results(folder):
    """Date rasters, alerts by id and retractions of the run in an output folder."""
    path = os.path.join(folder, json.load(open(os.path.join(folder, "latest.json")))["path"])
    rasters = {}
    for name in ("alert_date", "confirmed_date"):
        file = next(f for f in os.listdir(f"{path}/rasters") if f.endswith(f"_{name}.tif"))
        rasters[name] = rasterio.open(f"{path}/rasters/{file}").read(1)
    alerts = {f["properties"]["alert_id"]: f["properties"]["tier"] for f in json.load(open(f"{path}/alerts.geojson"))["features"] if f["properties"]["kind"] == "excavation"}
    return rasters, alerts, list(csv.DictReader(open(f"{path}/retractions.csv")))


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--sites", default="ci,zw,romania")
    p.add_argument("--seeds", default="1")
    p.add_argument("--size", type=int, default=400)
    p.add_argument("--days", type=int, default=10)
    p.add_argument("--scenes", default=os.path.join(sim.ROOT, "out", "simbench", "scenes"))
    p.add_argument("--out", default=os.path.join(sim.ROOT, "out", "simbench", "hindsight"))
    p.add_argument("--binary")
    p.add_argument("--pipeline", default=os.path.join(sim.ROOT, "pipelines", "simbench.toml"))
    a = p.parse_args()
    binary = a.binary or sim.default_binary()
    text = open(a.pipeline).read()
    os.makedirs(a.out, exist_ok=True)
    rows, n_wrong = [], 0
    for site in a.sites.split(","):
        for seed in [int(s) for s in a.seeds.split(",")]:
            scene = sim.scene(a.scenes, site, seed, a.size)
            truth = sb.Scene(scene)
            whole_out = os.path.join(a.out, f"{site}-{seed}")
            sim.detect(binary, a.pipeline, scene, whole_out, ["--quiet"])
            whole, _, retractions = results(whole_out)
            watched = truth.dates[truth.dates >= truth.mon]
            for day in sorted(np.random.default_rng(seed).choice(watched[3:-1], a.days, replace=False).tolist()):
                pipeline = os.path.join(a.out, f"{site}-{seed}-{day}.toml")
                with open(pipeline, "w") as f:
                    f.write(product.cut_pipeline(text, day + 1))
                out = os.path.join(a.out, f"{site}-{seed}-{day}")
                sim.detect(binary, pipeline, scene, out, ["--quiet"])
                cut, alerts, _ = results(out)
                known = {name: (r > 0) & (r <= day) for name, r in whole.items()}
                wrong = sum(int((known[name] & (cut[name] != whole[name])).sum()) for name in whole)
                lost = sum(int(((cut[name] > 0) & ~known[name]).sum()) for name in whole)
                later = {r["alert_id"] for r in retractions if r["kind"] == "excavation" and sb.day(r["retracted_datetime"][:10]) > day}
                rows.append([site, str(seed), str(np.datetime64("1970-01-01") + day), str(int(known["alert_date"].sum())), str(int(known["confirmed_date"].sum())), str(wrong), str(lost), str(len(alerts)), str(len(later & set(alerts)))])
                n_wrong += wrong
    head = ["site", "seed", "day", "pixels alerted", "confirmed", "with hindsight", "dates taken back later", "alerts of the cut run", "of them in retractions.csv later"]
    print(sim.table(head, rows))
    if n_wrong:
        raise SystemExit(f"{n_wrong} dates of the whole run are not those of the cut run")


if __name__ == "__main__":
    main()
