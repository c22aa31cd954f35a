#!/usr/bin/env python3
"""Budgets of false alerts against truth: run pitwatch on simbench scenes with a budget and print what came of it.

  budget.py [--budgets 25,100] [--sites ci,zw,romania] [--seeds 1,2,3,4,5] [--scenes DIR] [--out DIR] [--binary PATH]

Lenient leaves out new fields, roads, buildings and fellings, which a replay of the history never sees; strict counts them.
Alerts of either tier count (`alert_date`), as score.py counts false objects at --mmu 2.
"""

import argparse, json, os

import numpy as np

import product
import run as sim
import score as sb

REPLAY_DAYS = 365  # one cycle of seasons


def with_budget(pipeline, budget, path):
    """A copy of the pipeline file that has the budget."""
    text = open(pipeline).read()
    table = f"[sites.budget]\nfalse_alerts_per_100_km2_year = {budget}\nreplay_days = {REPLAY_DAYS}\n\n"
    with open(path, "w") as f:
        f.write(text.replace("[sites.causes.burn]", table + "[sites.causes.burn]", 1))
    return path


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--budgets", default="25,100")
    p.add_argument("--sites", default="ci,zw,romania")
    p.add_argument("--seeds", default="1,2,3,4,5")
    p.add_argument("--size", type=int, default=400)
    p.add_argument("--scenes", default=product.SCENES)
    p.add_argument("--out", default=os.path.join(product.ROOT, "out", "simbench", "budgets"))
    p.add_argument("--binary")
    p.add_argument("--pipeline", default=product.PIPELINE)
    a = p.parse_args()
    binary = a.binary or product.default_binary()
    os.makedirs(a.out, exist_ok=True)
    rows = []
    for budget in [float(b) for b in a.budgets.split(",")]:
        pipeline = with_budget(a.pipeline, budget, os.path.join(a.out, f"budget-{budget:g}.toml"))
        of_budget = []
        for site in a.sites.split(","):
            found = []
            for seed in [int(s) for s in a.seeds.split(",")]:
                path = product.scene(a.scenes, site, seed, a.size)
                out = os.path.join(a.out, f"{site}-{seed}-{budget:g}")
                left = product.run(binary, pipeline, path, out)
                stated = json.load(open(os.path.join(left.folder, "manifest.json")))["false_alert_budgets"][0]
                found.append((stated, sb.score(sb.Scene(path), left.days("alert_date"), sim.MMU)))
            of_budget += found
            rows.append(row(budget, site, found))
        rows.append(row(budget, "all", of_budget))
    head = ["budget", "site", "least probability", "replay: alerts without it", "replay: alerts with it", "lenient /100 km²/yr (scenes)", "strict /100 km²/yr", "F1", "recall ≥ 10 px"]
    print(sim.table(head, rows))


def row(budget, site, found):
    span = lambda values, digits: f"{min(values):.{digits}f}–{max(values):.{digits}f}"
    stated = lambda key: [s[key] for s, _ in found]
    score = lambda key: [r[key] for _, r in found]
    large = [sum(h for k, (h, _) in r["recall_by_size"].items() if float(k.split("-")[0]) >= 10) for _, r in found]
    n_large = [sum(n for k, (_, n) in r["recall_by_size"].items() if float(k.split("-")[0]) >= 10) for _, r in found]
    return [
        f"{budget:g}",
        site,
        span(stated("report_probability"), 2),
        span(stated("n_all"), 0),
        span(stated("n_alerts"), 0),
        f"{np.mean(score('FA_100km2_yr')):.1f} ({span(score('FA_100km2_yr'), 0)})",
        f"{np.mean(score('FA_strict_100km2_yr')):.1f}",
        f"{np.mean(score('F1')):.3f}",
        f"{sum(large) / max(1, sum(n_large)):.3f}",
    ]


if __name__ == "__main__":
    main()
