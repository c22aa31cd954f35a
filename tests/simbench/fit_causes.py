#!/usr/bin/env python3
"""Fit the weights of [sites.causes] to simbench scenes, of which it is known what lies under each alert.

  fit_causes.py [--sites ci,zw,romania] [--seeds 6,7,8,9] [--size 400] [--scenes DIR] [--out DIR] [--binary PATH] [--rows FILE] [--write FILE...]

The product is run on each scene up to each of N_CUTS days, with weights by which every object is reported.
A multinomial logistic model with a ridge is fitted to the features in evidence.csv and printed as TOML, or written into the
pipeline files given with --write. `--rows FILE` keeps the rows, and reads them instead of running if the file is there.
The detector does not depend on the weights, so one fit is enough; it has to be fitted again when [change] changes.
"""

import argparse, collections, csv, os, re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import optimize, special

import product
import score as sb

# Cut days of a scene. Evidence grows while a site is watched, and alerts are read on any day: few clear looks, one season, all.
N_CUTS = 5
# Days of the monitoring period that are left out before the first cut, in steps of the cuts: little has alerted by then.
N_STEPS_LEFT_OUT = 1
# Inverse strength of the ridge: standardised features of few scenes must not carry weights that hold for these scenes alone.
# Cross-validated over seeds, 0.1, 1 and 10 rank pits about alike; the strongest is the least bound to the generator.
C = 0.1
# Log odds of a cause that the fit has no row of, and of all causes while rows are collected: a probability of e^-20.
NEVER = -20.0
# Added to standard deviations, so that a feature that does not vary has weight 0 instead of a division by 0.
LEAST_SPREAD = 1e-9
# Drawn pits vary in color and lie beside ponds; a real one may be as even as a field. Half of the weight of each pit goes to a
# copy whose spreads are multiplied by a share from 0 to 1, so that evenness speaks less for a field than in the simulation.
SPREADS = ["red_spread", "color_spread", "bare_share_spread"]
# The gradient at which the fit is done; the loss is convex, and the weights are written to 4 decimals.
GRADIENT = 1e-6

REFERENCE = "pit"
CAUSES = ["burn", "field", "river_bar", "road_or_building", "cloud_residue"]
# What lies there in truth, by cause. Left out: `edge` (beside a pit, or on it before it was dug), `stable` and `old_mine`
# (nothing happened, so no cause is right).
CAUSE_OF = {
    "pit": "pit",
    "burn": "burn",
    "burn_first": "burn",
    "newfield": "field",
    "crop": "field",
    "clearing": "field",
    "sandbar": "river_bar",
    "drawdown": "river_bar",
    "water": "river_bar",
    "road_new": "road_or_building",
    "building_new": "road_or_building",
    "built": "road_or_building",
    "shadow_or_cloud_leak": "cloud_residue",
}
# Columns of evidence.csv that are no feature.
NO_FEATURE = re.compile(r"alert_id|tier|cause|probability_.*|topsoil_trust|label|site|seed|cut")


def causes_tables(weights, names):
    """The tables of the causes as TOML, by cause. `weights`: {cause: (intercept, weights)}."""
    return {
        cause: f"[sites.causes.{cause}]\nintercept = {b:.4f}\n\n[sites.causes.{cause}.weights]\n"
        + "".join(f"{name} = {v:.4f}\n" for name, v in zip(names, w))
        for cause, (b, w) in weights.items()
    }


def with_weights(text, weights, names):
    """A pipeline file's text with other weights of causes."""
    for cause, table in causes_tables(weights, names).items():
        pattern = rf"\[sites\.causes\.{cause}\]\nintercept = .*\n\n\[sites\.causes\.{cause}\.weights\]\n(?:\w+ = .*\n)+"
        text, n = re.subn(pattern, lambda _: table, text)
        if n != 1:
            raise SystemExit(f"one table [sites.causes.{cause}] expected, found {n}")
    return text


def names_in(text):
    """The names of the features, in the order of a pipeline file."""
    table = re.search(r"\[sites\.causes\.burn\.weights\]\n((?:\w+ = .*\n)+)", text)
    if not table:
        raise SystemExit("no table [sites.causes.burn.weights]")
    return [line.split(" = ")[0] for line in table[1].splitlines()]


def reporting_all(text):
    """A pipeline file's text by which every object is reported."""
    names = names_in(text)
    text = with_weights(text, {cause: (NEVER, [0.0] * len(names)) for cause in CAUSES}, names)
    text, n = re.subn(r"(?m)^report_probability = [\d.]+", "report_probability = 0.0", text)
    if n != 1:
        raise SystemExit("one line report_probability expected")
    return text


def rows_of(binary, path, site, seed, out, text):
    """The labelled rows of a scene, of all cuts."""
    truth = sb.Scene(path)
    watched = truth.dates[truth.dates >= truth.mon]
    cuts = np.linspace(watched[0], watched[-1] + 1, N_CUTS + N_STEPS_LEFT_OUT + 1)[N_STEPS_LEFT_OUT + 1 :].astype(int)
    rows = []
    for cut in cuts.tolist():
        folder = os.path.join(out, f"{site}-{seed}-{cut}")
        pipeline = f"{folder}.toml"
        with open(pipeline, "w") as f:
            f.write(product.cut_pipeline(text, cut))
        run = product.run(binary, pipeline, path, folder, ["--jobs", "1", "--quiet"])
        rows += [{"site": site, "seed": seed, "cut": cut, **r} for r in product.labelled_evidence(run, truth)]
    product.say(f"{site} seed {seed}: {len(rows)} rows")
    return rows


def with_even_pits(rows):
    """The rows and their weights, with a more even copy of each pit."""
    random = np.random.default_rng(1)
    every, weights = [], []
    for row in rows:
        is_pit = CAUSE_OF[row["label"]] == REFERENCE
        every.append(row)
        weights.append(0.5 if is_pit else 1.0)
        if is_pit:
            share = random.uniform(0, 1)
            every.append({**row, **{name: float(row[name]) * share for name in SPREADS}})
            weights.append(0.5)
    return every, np.array(weights)


def fit(x, y, weights, n_classes):
    """Intercepts and weights of a multinomial logistic model, classes by features.

    Least of C · Σ weight · log loss + ½ Σ w², intercepts without ridge.
    `weights`: one a row.
    """
    n, k = x.shape
    of = np.eye(n_classes)[y]

    def loss(flat):
        w = flat.reshape(n_classes, k + 1)
        z = x @ w[:, 1:].T + w[:, 0]
        total = special.logsumexp(z, axis=1)
        off = weights[:, None] * (np.exp(z - total[:, None]) - of)
        gradient = np.c_[C * off.sum(0), C * off.T @ x + w[:, 1:]]
        return C * (weights * (total - (z * of).sum(1))).sum() + 0.5 * (w[:, 1:] ** 2).sum(), gradient.ravel()

    found = optimize.minimize(loss, np.zeros(n_classes * (k + 1)), jac=True, method="L-BFGS-B", options=dict(maxiter=20000, maxfun=20000, gtol=GRADIENT, ftol=0))
    w = found.x.reshape(n_classes, k + 1)
    return w[:, 0], w[:, 1:]


def fitted(rows, names):
    """{cause: (intercept, weights)} against a pit, of raw features."""
    rows, weights_of_rows = with_even_pits([r for r in rows if r["label"] in CAUSE_OF])
    x = np.array([[float(r[name]) for name in names] for r in rows])
    present = [c for c in [REFERENCE] + CAUSES if any(CAUSE_OF[r["label"]] == c for r in rows)]
    if REFERENCE not in present:
        raise SystemExit("no alert lies on a pit")
    y = np.array([present.index(CAUSE_OF[r["label"]]) for r in rows])
    mean, spread = x.mean(0), x.std(0) + LEAST_SPREAD
    b, w = fit((x - mean) / spread, y, weights_of_rows, len(present))
    w = w / spread
    b = b - w @ mean
    weights = {cause: (NEVER, np.zeros(len(names))) for cause in CAUSES}
    weights |= {c: (b[i] - b[0], w[i] - w[0]) for i, c in enumerate(present) if i}
    return weights


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--sites", default="ci,zw,romania")
    p.add_argument("--seeds", default="6,7,8,9")
    p.add_argument("--size", type=int, default=400)
    p.add_argument("--scenes", default=product.SCENES)
    p.add_argument("--out", default=os.path.join(product.ROOT, "out", "simbench", "fit"))
    p.add_argument("--binary")
    p.add_argument("--pipeline", default=product.PIPELINE)
    p.add_argument("--jobs", type=int, default=os.cpu_count(), help="scenes at a time")
    p.add_argument("--rows", help="CSV of the labelled rows: read if it is there, else written")
    p.add_argument("--write", nargs="+", default=[], help="pipeline files that get the weights")
    a = p.parse_args()
    with open(a.pipeline) as f:
        text = f.read()
    if a.rows and os.path.exists(a.rows):
        with open(a.rows, newline="") as f:
            rows = list(csv.DictReader(f))
    else:
        binary = a.binary or product.default_binary()
        os.makedirs(a.out, exist_ok=True)
        scenes = [(site, seed) for seed in product.seeds(a.seeds) for site in a.sites.split(",")]
        paths = [product.scene(a.scenes, site, seed, a.size) for site, seed in scenes]
        every = reporting_all(text)
        with ThreadPoolExecutor(a.jobs) as pool:
            parts = pool.map(lambda s, path: rows_of(binary, path, *s, a.out, every), scenes, paths)
        rows = [r for part in parts for r in part]
        if a.rows:
            with open(a.rows, "w", newline="") as f:
                out = csv.DictWriter(f, rows[0])
                out.writeheader()
                out.writerows(rows)
    names = [c for c in rows[0] if not NO_FEATURE.fullmatch(c)]
    if names != names_in(text):
        raise SystemExit("evidence.csv and the pipeline file do not have the same features in the same order")
    weights = fitted(rows, names)
    counts = collections.Counter(r["label"] for r in rows)
    product.say(f"{len(rows)} rows: " + ", ".join(f"{k} {n}" for k, n in counts.most_common()))
    for path in a.write:
        with open(path) as f:
            old = f.read()
        with open(path, "w") as f:
            f.write(with_weights(old, weights, names))
    if not a.write:
        print("\n".join(causes_tables(weights, names).values()))


if __name__ == "__main__":
    main()
