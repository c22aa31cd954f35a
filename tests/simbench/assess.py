#!/usr/bin/env python3
"""Run pitwatch on a simulated season of Séguéla, with the area's own attributes and priors, to its assessments.

  assess.py [--seed 1] [--size 200] [--pits 200] [--scenes DIR] [--out DIR] [--binary PATH]

A scene of site ci is generated within the area of aoi/civ-seguela.geojson (UTM 29 N) and watched by pipelines/cote-divoire-north.toml, whose
numbers are taken as they are; of the area file the geometry alone is cut to the scene. `pitwatch skill` measures the omitted share first.
Printed are the assessments of the area, and beside them the hectares dug in truth that feed each period by the pipeline's lag.
Exit code 1: a command failed, or no assessment of the area rests on pits.
"""

import argparse, csv, glob, json, os, re, subprocess, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
import product
from rasterio import warp

AREA = "civ-seguela"
EPSG, EAST, NORTH = 32629, 760_000, 893_000  # upper left corner, within the area


def generate(path, seed, size):
    """The scene, at another place than the generator's own."""
    if os.path.exists(os.path.join(path, "complete")):
        return
    os.makedirs(path, exist_ok=True)
    code = (
        "import runpy, sys; sys.path.insert(0, %r); import generator as g; g.SITE['ci'].update(epsg=%d, e0=%d, n0=%d); g.main()"
        % (product.HERE, EPSG, EAST, NORTH)
    )
    arguments = [path, "--site", "ci", "--seed", str(seed), "--size", str(size), "--cogs"]
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, *arguments], check=True, stdout=sys.stderr)
    open(os.path.join(path, "complete"), "w").close()


def area_file(path, size):
    """The area's file with the scene's box as its geometry."""
    with open(os.path.join(product.ROOT, "aoi", f"{AREA}.geojson")) as f:
        area = json.load(f)
    e, n, s = EAST, NORTH, 10 * size
    ring = [(e, n), (e, n - s), (e + s, n - s), (e + s, n), (e, n)]
    lon, lat = warp.transform(f"EPSG:{EPSG}", "EPSG:4326", *zip(*ring))
    area["features"][0]["geometry"] = {"type": "Polygon", "coordinates": [[list(p) for p in zip(lon, lat)]]}
    with open(path, "w") as f:
        json.dump(area, f)


def pipeline_text(scene, area, monitor_from):
    """The region's pipeline with the scene in place of the sources."""
    with open(os.path.join(product.ROOT, "pipelines", "cote-divoire-north.toml")) as f:
        text = f.read()
    end = text.index("[scenes]")
    pipelines = os.path.join(product.ROOT, "pipelines")
    head = f'reported_file = "{pipelines}/reported.csv"\nSKILL\n[[areas]]\nid = "{AREA}"\nfile = "{area}"\ncatalog = "{scene}/obs/cogs"\n\n'
    text = head + text[end:]
    text = re.sub(r"(?m)^(sources|mirror|history_from) = .*\n", "", text)
    text = re.sub(r"(?m)^monitor_from = .*$", f'monitor_from = "{monitor_from}"', text)
    return text.replace('priors_file = "priors.toml"', f'priors_file = "{pipelines}/priors.toml"')


def lag_share(start, year):
    """Share of what is dug on a day that is reported in a year, by a lag of 0, 4 to 6 and 12 months: a trapezoid."""

    def cdf(months):
        a, b, c, d = 0.0, 4.0, 6.0, 12.0
        height = 2 / (d - a + c - b)
        if months <= a:
            return 0.0
        if months < b:
            return height * (months - a) ** 2 / (2 * (b - a))
        if months <= c:
            return height * ((b - a) / 2 + months - b)
        return 1 - height * (d - months) ** 2 / (2 * (d - c)) if months < d else 1.0

    months = [(np.datetime64(f"{y}-01-01") - np.datetime64(start, "D")).astype(int) / (365.2425 / 12) for y in (year, year + 1)]
    return cdf(months[1]) - cdf(months[0])


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--size", type=int, default=200)
    p.add_argument("--pits", type=int, default=200)
    p.add_argument("--scenes", default=product.SCENES)
    p.add_argument("--out", default=os.path.join(product.RUNS, "assess"))
    p.add_argument("--binary", default=None)
    a = p.parse_args()
    binary = a.binary or product.default_binary()
    scene = os.path.abspath(os.path.join(a.scenes, f"seguela-{a.seed}-{a.size}"))
    generate(scene, a.seed, a.size)
    with open(os.path.join(scene, "obs", "meta.json")) as f:
        meta = json.load(f)
    os.makedirs(a.out, exist_ok=True)
    area = os.path.abspath(os.path.join(a.out, "area.geojson"))
    area_file(area, a.size)
    text = pipeline_text(scene, area, meta["history_end"])
    skill = os.path.abspath(os.path.join(a.out, "skill.json"))
    pipeline = os.path.join(a.out, "pipeline.toml")
    with open(pipeline, "w") as f:
        f.write(text.replace("SKILL\n", ""))
    subprocess.run([binary, "skill", pipeline, "--pits", str(a.pits), "--out", skill], check=True)
    with open(pipeline, "w") as f:
        f.write(text.replace("SKILL", f'skill_file = "{skill}"'))
    out = os.path.join(a.out, "runs-of-seguela")
    subprocess.run([binary, "run", pipeline, "--out", out, "--offline"], check=True)
    with open(os.path.join(out, "latest.json")) as f:
        run = os.path.join(out, json.load(f)["path"])
    with open(glob.glob(os.path.join(scene, "truth", "*.geojson"))[0]) as f:
        events = [e["properties"] for e in json.load(f)["features"]]
    with open(os.path.join(run, "assessments.csv"), newline="") as f:
        rows = [r for r in csv.DictReader(f) if r["scope"] == "area"]
    print("| period | dug in truth, weighted by the lag, ha | watched | mapped ha | after misses and false, ha | false ha | omitted | implied ct (90 %) | verdict |")
    print("|---|---|---|---|---|---|---|---|---|")
    for r in rows:
        dug = sum(e["area_px"] * lag_share(e["start"], int(r["period"])) for e in events) / 100
        print(
            f"| {r['period']} | {dug:.2f} | {float(r['watched_share'] or 0):.2f} | {r['mapped_ha']} | {r['adjusted_ha']} ({r['adjusted_ha_lo']} to {r['adjusted_ha_hi']}) "
            f"| {r['false_ha']} | {r['omitted_share']} | {r['implied_ct_p50']} ({r['implied_ct_p05']} to {r['implied_ct_p95']}) | {r['verdict']} |"
        )
    return 0 if any(r["route"] == "pits" for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
