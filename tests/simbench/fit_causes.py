#!/usr/bin/env python3
"""Fit the weights of [sites.causes] to simbench scenes, of which it is known what lies under each alert.

  fit_causes.py [--sites ci,zw,romania] [--seeds 6,7,8,9,10j] [--size 400] [--scenes DIR] [--out DIR] [--binary PATH] [--rows FILE] [--write FILE...]

The product is run on each scene up to each of N_CUTS days, with weights by which every object is reported.
A multinomial logistic model with a ridge is fitted to the features in evidence.csv and to products of two of them, and printed
as TOML, or written into the pipeline files given with --write. `--rows FILE` keeps the rows, and reads them instead of running if the file is there.
The detector does not depend on the weights, so one fit is enough; it has to be fitted again when [change] changes.
"""

import argparse, collections, csv, os, re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

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

# Products of two features that are weighed too. Chosen one by one; from 24 on the odds of seeds left out hardly gain.
N_PRODUCTS = 24
# Times the ridge of the features that products have: fitted to two sites, the odds of the third come out better than with 1.
PRODUCT_RIDGE = 9.0
# Parts of the seeds that are left out in turn while they are chosen.
N_FOLDS = 5
# Ridge of the model that chooses them, of standardised features: a precision of about 30 rows each.
CHOICE_RIDGE = 30.0
# Share of the rows below the least and above the greatest of a feature: what so few have shown bounds no weight.
TAIL = 0.001

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


@dataclass
class Model:
    """What is written into a pipeline file."""

    # Places of the two features of each product.
    pairs: list
    # Bounds of each feature.
    least: list
    greatest: list
    # By cause: intercept, and weights of the features and then of the products.
    weights: dict


def table_of(header, keys, values):
    return f"[sites.causes{header}]\n" + "".join(f"{key} = {value:.4f}\n" for key, value in zip(keys, values))


def causes_tables(model, names):
    """All tables of [sites.causes] as TOML."""
    pairs = "".join(f'    ["{names[i]}", "{names[k]}"],\n' for i, k in model.pairs)
    parts = [
        f"[sites.causes]\nproducts = [\n{pairs}]\n",
        table_of(".least", names, model.least),
        table_of(".greatest", names, model.greatest),
    ]
    for cause, (b, w) in model.weights.items():
        products = ", ".join(f"{v:.4f}" for v in w[len(names) :])
        parts += [f"[sites.causes.{cause}]\nintercept = {b:.4f}\nproducts = [{products}]\n", table_of(f".{cause}.weights", names, w[: len(names)])]
    return "\n".join(parts)


def with_weights(text, model, names):
    """A pipeline file's text with another model of causes."""
    tables = r"(?m)^\[sites\.causes[].][\s\S]*?(?=\n(?:#.*\n)*\[(?!sites\.causes)|\Z)"
    text, n = re.subn(tables, lambda _: causes_tables(model, names), text)
    if n != 1:
        raise SystemExit(f"one row of tables [sites.causes] expected, found {n}")
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
    nothing = [0.0] * len(names)
    weights = {cause: (NEVER, nothing + [0.0] * N_PRODUCTS) for cause in CAUSES}
    text = with_weights(text, Model([(0, 0)] * N_PRODUCTS, nothing, nothing, weights), names)
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


def logistic(x, y, w):
    """Odds weights of a logistic model with a ridge, by Newton's method; the first column of `x` has no ridge."""
    beta = np.zeros(x.shape[1])
    ridge = np.full(x.shape[1], CHOICE_RIDGE)
    ridge[0] = 0.0
    for _ in range(30):
        p = special.expit(x @ beta)
        step = np.linalg.solve((x * (w * p * (1 - p))[:, None]).T @ x + np.diag(ridge + LEAST_SPREAD), x.T @ (w * (y - p)) - ridge * beta)
        beta += step
        if np.abs(step).max() < 1e-6:
            break
    return beta


def choose_products(z, y, w, folds):
    """The pairs of features whose products say most of what seeds that were left out were not told, in order.

    In each step the residuals of the left-out parts are held against every product, less what the model already explains of
    it; a product counts by its mean score over the parts.

    - `z`: standardised features. `y`: 1 = pit. `w`: weights of the rows. `folds`: the part of each row.
    """
    pairs = [(i, k) for i in range(z.shape[1]) for k in range(i, z.shape[1])]
    products = np.stack([z[:, i] * z[:, k] for i, k in pairs], 1)
    products = (products - products.mean(0)) / (products.std(0) + LEAST_SPREAD)
    x, chosen = np.c_[np.ones(len(z)), z], []
    while len(chosen) < N_PRODUCTS:
        p = np.empty(len(z))
        for fold in range(N_FOLDS):
            out = folds == fold
            p[out] = special.expit(x[out] @ logistic(x[~out], y[~out], w[~out]))
        information = w * np.maximum(p * (1 - p), 1e-3)
        explained = np.linalg.solve((x * information[:, None]).T @ x + 1e-6 * np.eye(x.shape[1]), (x * information[:, None]).T @ products)
        rest = products - x @ explained
        score = sum(
            (w * (y - p))[out] @ rest[out] / np.sqrt(information[out] @ rest[out] ** 2 + LEAST_SPREAD) for out in (folds == fold for fold in range(N_FOLDS))
        )
        score[chosen] = 0.0
        best = int(np.abs(score).argmax())
        chosen.append(best)
        x = np.c_[x, products[:, best]]
    return [pairs[k] for k in chosen]


def fitted(rows, names):
    """The model of raw features."""
    rows, weights_of_rows = with_even_pits([r for r in rows if r["label"] in CAUSE_OF])
    x = np.array([[float(r[name]) for name in names] for r in rows])
    least, greatest = np.quantile(x, [TAIL, 1 - TAIL], axis=0)
    x = np.clip(x, least, greatest)
    present = [c for c in [REFERENCE] + CAUSES if any(CAUSE_OF[r["label"]] == c for r in rows)]
    if REFERENCE not in present:
        raise SystemExit("no alert lies on a pit")
    y = np.array([present.index(CAUSE_OF[r["label"]]) for r in rows])
    mean, spread = x.mean(0), x.std(0) + LEAST_SPREAD
    z = (x - mean) / spread
    seeds = sorted({str(r["seed"]) for r in rows})
    folds = np.array([seeds.index(str(r["seed"])) % N_FOLDS for r in rows])
    pairs = choose_products(z, (y == 0).astype(float), weights_of_rows, folds)
    products = np.stack([z[:, i] * z[:, k] for i, k in pairs], 1)
    scale = (products.std(0) + LEAST_SPREAD) * PRODUCT_RIDGE**0.5
    b, w = fit(np.c_[z, products / scale], y, weights_of_rows, len(present))
    # Of standardised features back to raw ones: a product of two differences has linear parts too.
    of_products = w[:, len(names) :] / scale
    of_features = w[:, : len(names)] / spread
    b = b - of_features @ mean
    for (i, k), v in zip(pairs, of_products.T):
        v = v / (spread[i] * spread[k])
        of_features[:, i] -= v * mean[k]
        of_features[:, k] -= v * mean[i]
        b = b + v * mean[i] * mean[k]
    of_products = of_products / np.array([spread[i] * spread[k] for i, k in pairs])
    w = np.c_[of_features, of_products]
    weights = {cause: (NEVER, np.zeros(w.shape[1])) for cause in CAUSES}
    weights |= {c: (b[i] - b[0], w[i] - w[0]) for i, c in enumerate(present) if i}
    return Model(pairs, least, greatest, weights)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--sites", default="ci,zw,romania")
    p.add_argument("--seeds", default="6,7,8,9,10j,11j,12j,13j,14j,15j")
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
    model = fitted(rows, names)
    counts = collections.Counter(r["label"] for r in rows)
    product.say(f"{len(rows)} rows: " + ", ".join(f"{k} {n}" for k, n in counts.most_common()))
    for path in a.write:
        with open(path) as f:
            new = with_weights(f.read(), model, names)
        with open(path, "w") as f:
            f.write(new)
    if not a.write:
        print(causes_tables(model, names))


if __name__ == "__main__":
    main()
