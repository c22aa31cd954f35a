#!/usr/bin/env python3
"""Run pitwatch on simbench scenes and print its scores as Markdown tables.

  run.py [--sites ci,zw,romania] [--seeds 1,2] [--size 400] [--scenes DIR] [--out DIR] [--binary PATH] [--json FILE] [--floor F1]

A seed with a j behind it, as 10j, has jittered parameters of its site as well (jittered.py).
Needs numpy scipy rasterio, and to generate scenes xarray netCDF4 nrt==0.2.1 and endmembers.npz (`scripts/setup --tests`).
Scenes are generated once and kept under --scenes (default out/simbench/scenes), runs go to --out (default out/simbench/runs).
The product is run as

  pitwatch run pipelines/simbench.toml --catalog SCENE/obs/cogs/collection.json --monitor-from HISTORY_END --out OUT

Both of its date rasters are scored by score.py at --mmu 2: -1 (nodata) counts as no alert.
Exit code 1: a run failed, or the pooled F1 of the confirmed dates is below --floor.
"""

import argparse, json, os

import numpy as np

import product
import score as sb

MMU = 2
TIERS = {"confirmed": "confirmed_date", "alert": "alert_date"}
# Figures of README.md: F1 per scene, and seed 1 of three sites pooled.
PEERS_F1 = {
    ("ci", 1): (0.571, 0.604),
    ("ci", 2): (0.551, 0.564),
    ("zw", 1): (0.613, 0.557),
    ("zw", 2): (0.658, 0.735),
    ("romania", 1): (0.848, 0.769),
    ("romania", 2): (0.829, 0.748),
}
PEERS_POOLED = [
    ("IQR 3 + filter (seed 1)", dict(recall=0.597, precision=0.772, F1=0.674, F1_strict=0.509, FA=54, delay="49 (4)")),
    ("CCDC 5 + filter (seed 1)", dict(recall=0.551, precision=0.768, F1=0.642, F1_strict=0.479, FA=52, delay="52 (4)")),
]


def num(v, digits=3):
    return "–" if v is None or v != v else f"{v:.{digits}f}"


def delay(d, c):
    return "–" if d is None or d != d else f"{d:.0f} ({c:.0f})"


def sizes(bins):
    return " · ".join(f"{k[:-2]}: {a}/{b}" for k, (a, b) in bins.items() if b)


def pooled(rs):
    """score.pool and what it leaves out."""
    p = sb.pool(rs)
    for k in ("FA_ha_100km2_yr", "FA_strict_ha_100km2_yr", "FA_strict_100km2_yr"):
        p[k] = float(np.mean([r[k] for r in rs]))
    p["n_events"] = sum(r["n_events"] for r in rs)
    return p


HEAD = ["", "events", "recall", "precision", "F1", "F1 strict", "FP/100 km²/yr", "FA ha lenient / strict", "delay d (clear)", "px F1", "hits by size (px)"]


def cells(name, r):
    d, c = (r["delay_d_median"], r["delay_clear_median"]) if "delay_d_median" in r else (r["delay_d"], r["delay_clear"])
    return [
        name,
        str(r["n_events"]),
        num(r["recall"]),
        num(r["precision"]),
        num(r["F1"]),
        num(r["F1_strict"]),
        num(r["FA_100km2_yr"], 1),
        f"{num(r['FA_ha_100km2_yr'], 1)} / {num(r['FA_strict_ha_100km2_yr'], 1)}",
        delay(d, c),
        num(r["px_F1"]),
        sizes(r["recall_by_size"]),
    ]


def table(head, rows):
    line = lambda v: "| " + " | ".join(v) + " |"
    return "\n".join([line(head), line(["---"] * len(head))] + [line(r) for r in rows]) + "\n"


def recall(r, low, high):
    """Recall of excavations of `low` to `high` pixels."""
    bins = [v for k, v in r["recall_by_size"].items() if low <= float(k.split("-")[0]) < high]
    return sum(h for h, _ in bins) / max(1, sum(n for _, n in bins))


# Columns of the summary: heading, what of a score, decimals.
SUMMARY = [
    ("F1", lambda r: r["F1"], 3),
    ("F1 strict", lambda r: r["F1_strict"], 3),
    ("false objects /100 km²/yr", lambda r: r["FA_100km2_yr"], 1),
    ("false ha lenient", lambda r: r["FA_ha_100km2_yr"], 2),
    ("false ha strict", lambda r: r["FA_strict_ha_100km2_yr"], 1),
    ("recall ≥ 10 px", lambda r: recall(r, 10, 1e9), 2),
    ("4–10 px", lambda r: recall(r, 4, 10), 2),
    ("1.5–4 px", lambda r: recall(r, 1.5, 4), 2),
    ("delay d", lambda r: r["delay_d_median"] or np.nan, 0),
    ("delay in clear looks", lambda r: r["delay_clear_median"] or np.nan, 1),
    ("px F1", lambda r: r["px_F1"], 2),
]


def summary(scores):
    """A row a site: mean over its scenes, least and greatest in brackets. Scores are (site, seed, score)."""
    rows = []
    for site in dict.fromkeys(site for site, _, _ in scores):
        row = [site]
        for _, value, digits in SUMMARY:
            values = [value(r) for s, _, r in scores if s == site]
            row.append(f"{np.mean(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})")
        rows.append(row)
    return table(["site"] + [head for head, _, _ in SUMMARY], rows)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--sites", default="ci,zw,romania")
    p.add_argument("--seeds", default="1,2")
    p.add_argument("--size", type=int, default=400)
    p.add_argument("--scenes", default=product.SCENES)
    p.add_argument("--out", default=product.RUNS)
    p.add_argument("--binary")
    p.add_argument("--pipeline", default=product.PIPELINE)
    p.add_argument("--json", help="write all scores here")
    p.add_argument("--floor", type=float, help="least pooled F1 of the confirmed dates")
    p.add_argument("extra", nargs="*", help="further flags of `pitwatch run`, after --")
    a = p.parse_args()
    binary = a.binary or product.default_binary()
    results, cost = {t: [] for t in TIERS}, []
    for seed in product.seeds(a.seeds):
        for site in a.sites.split(","):
            path = product.scene(a.scenes, site, seed, a.size)
            left = product.run(binary, a.pipeline, path, os.path.join(a.out, f"{site}-{seed}-{a.size}"), a.extra)
            truth = sb.Scene(path)
            cost.append([f"{site} seed {seed}", f"{left.seconds:.1f}", f"{left.peak_mib:.0f}"])
            for tier, name in TIERS.items():
                r = sb.score(truth, left.days(name), MMU)
                results[tier].append((site, seed, r))
                product.say(f"{site} seed {seed} {tier}: F1 {r['F1']:.3f}")
    for tier, name in TIERS.items():
        print(f"### {tier.capitalize()} (`{name}`)\n")
        rows = []
        for site, seed, r in results[tier]:
            peers = PEERS_F1.get((site, seed)) if a.size == 400 else None
            rows.append(cells(f"{site} seed {seed}", r) + ([num(v) for v in peers] if peers else ["–", "–"]))
        print(table(HEAD + ["F1 of IQR 3 + filter", "F1 of CCDC 5 + filter"], rows))
        seeds = dict.fromkeys(s for _, s, _ in results[tier])
        rows = [cells(f"seed {s} pooled", pooled([r for _, k, r in results[tier] if k == s])) for s in seeds]
        if len(seeds) > 1:
            rows.append(cells("all pooled", pooled([r for _, _, r in results[tier]])))
        if a.size == 400:
            for peer, v in PEERS_POOLED:
                known = [peer, "216", num(v["recall"]), num(v["precision"]), num(v["F1"]), num(v["F1_strict"]), num(v["FA"], 1)]
                rows.append(known + ["–", v["delay"], "–", "–"])
        print(table(HEAD, rows))
        fps = {}
        for _, _, r in results[tier]:
            for k, v in r["FP_attr"].items():
                fps[k] = fps.get(k, 0) + v
        print("False objects by what lies there: " + (", ".join(f"{k} {v}" for k, v in sorted(fps.items(), key=lambda i: -i[1])) or "none") + ".\n")
    print("### Mean over the seeds\n")
    for tier, name in TIERS.items():
        print(f"{tier.capitalize()} (`{name}`), mean and range:\n")
        print(summary(results[tier]))
    print("### Cost\n")
    print(table(["scene", "wall s", "peak resident MiB"], cost))
    if a.json:
        scores = {t: [{"site": s, "seed": k, "size": a.size, **r} for s, k, r in v] for t, v in results.items()}
        with open(a.json, "w") as f:
            json.dump({"mmu": MMU, "scores": scores, "pooled": {t: pooled([r for *_, r in v]) for t, v in results.items()}}, f, indent=1, default=float)
    if a.floor is not None:
        f1 = pooled([r for *_, r in results["confirmed"]])["F1"]
        if not f1 >= a.floor:
            raise SystemExit(f"F1 of the confirmed dates is {f1:.3f}, below the floor of {a.floor}")


if __name__ == "__main__":
    main()
