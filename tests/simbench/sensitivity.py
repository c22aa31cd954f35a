#!/usr/bin/env python3
"""How far each number of a pipeline file's [change] and [sites] moves the result: a Markdown table.

  sensitivity.py [--pipeline FILE] [--sites ci,zw,romania] [--seed 7] [--size 200] [--lower 0.7] [--higher 1.4]
                 [--only KEY,...] [--other-seed 8] [--draws 6] [--jitter 0.02] [--processes 2]
                 [--scenes DIR] [--out DIR] [--binary PATH]

Each number is lowered and raised by itself (a list of numbers as a whole), all others as they are; the weights of causes are left alone.
A value v becomes v + |v| · (factor − 1), so that "higher" is higher for negative ones too; a whole number changes by at
least 1, and 0 is never scaled. A value that `pitwatch validate` refuses is shown as refused.
Scores are those of score.py at --mmu 2 of the confirmed dates, means over the scenes.

Two things say which changes mean nothing. All real numbers are moved at once, each by a uniform deviate of up to --jitter of
itself, --draws times: that is how far the score jumps where nothing of substance changed. And the unchanged file is
scored on the same sites with --other-seed: that is how far it moves with the pits that were drawn.

Scores are kept under --out by what they rest on, so that a run that was stopped goes on.
Needs what run.py needs.
"""

import argparse, concurrent.futures, functools, hashlib, json, os, random, re, shutil, subprocess, tomllib

import numpy as np

import product
import run
import score as sb

MEASURES = ("F1", "F1_strict", "FA_strict_ha_100km2_yr")
DIGITS = {"F1": 3, "F1_strict": 3, "FA_strict_ha_100km2_yr": 1}
TABLES = ("change", "sites", "sites.topsoil")
REFUSED = "refused"


def sha256(*parts):
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def read(path):
    with open(path, "rb") as f:
        return f.read()


def numbers(text):
    """[(table, key, value)] in the order of the file."""
    tables = tomllib.loads(text)
    is_number = lambda v: isinstance(v, (int, float)) and not isinstance(v, bool)
    of = lambda table: functools.reduce(dict.get, table.split("."), tables).items()
    return [(t, k, v) for t in TABLES for k, v in of(t) if all(map(is_number, v if isinstance(v, list) else [v]))]


def moved(value, factor):
    """The value lowered or raised, of the same type; a list as a whole."""
    if isinstance(value, list):
        return [moved(v, factor) for v in value]
    new = value + abs(value) * (factor - 1)
    if isinstance(value, float):
        return float(f"{new:.6g}")
    new = round(new)
    if new == value:
        new += 1 if factor > 1 else -1
    return new


def with_value(text, table, key, value):
    """The pipeline's text with one value replaced."""
    here, lines, n = None, text.split("\n"), 0
    for i, line in enumerate(lines):
        if m := re.match(r"\[+([^\]]+)\]", line):
            here = m[1].strip()
        elif here == table and re.match(rf"{re.escape(key)}\s*=", line):
            lines[i], n = f"{key} = {value!r}", n + 1
    if n != 1:
        raise SystemExit(f"{key} stands {n} times in [{table}]")
    return "\n".join(lines)


def quiet():
    """What the product says goes nowhere: a worker's own failures come back as exceptions."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def scored(job):
    """The measures of a pipeline's text on one scene, or REFUSED."""
    binary, text, scene, folder, basis = job
    name = sha256(basis.encode(), text.encode(), os.path.basename(scene).encode())[:24]
    kept = os.path.join(folder, f"{name}.json")
    if os.path.exists(kept):
        return json.load(open(kept))
    pipeline = os.path.join(folder, f"{name}.toml")
    with open(pipeline, "w") as f:
        f.write(text)
    if subprocess.run([binary, "validate", pipeline], capture_output=True).returncode == 3:
        result = REFUSED
    else:
        try:
            left = product.run(binary, pipeline, scene, os.path.join(folder, name), ["--jobs", "1", "-q"])
        except SystemExit as e:  # would end the worker without a word
            raise RuntimeError(str(e)) from None
        r = sb.score(sb.Scene(scene), left.days("confirmed_date"), run.MMU)
        result = {k: r[k] for k in MEASURES} | {"n_events": r["n_events"]}
    with open(kept + ".part", "w") as f:
        json.dump(result, f)
    os.replace(kept + ".part", kept)
    os.remove(pipeline)
    shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
    return result


def mean(rs):
    return REFUSED if REFUSED in rs else {k: float(np.mean([r[k] for r in rs])) for k in MEASURES}


def signed(value, k):
    v = round(value, DIGITS[k]) + 0.0
    return f"{v:+.{DIGITS[k]}f}".replace("-", "−") if v else "0"


def pair(deltas, k):
    return " / ".join(REFUSED if d == REFUSED else signed(d[k], k) for d in deltas)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--pipeline", default=product.PIPELINE)
    p.add_argument("--sites", default="ci,zw,romania")
    p.add_argument("--seed", type=int, default=7)
    p.add_argument("--other-seed", type=int, default=8)
    p.add_argument("--size", type=int, default=200)
    p.add_argument("--lower", type=float, default=0.7)
    p.add_argument("--higher", type=float, default=1.4)
    p.add_argument("--only", help="these keys alone")
    p.add_argument("--draws", type=int, default=6)
    p.add_argument("--jitter", type=float, default=0.02)
    p.add_argument("--processes", type=int, default=2)
    p.add_argument("--scenes", default=product.SCENES)
    p.add_argument("--out", default=os.path.join(product.ROOT, "out", "simbench", "sensitivity"))
    p.add_argument("--binary")
    a = p.parse_args()
    if not (0 < a.lower < 1 < a.higher):
        raise SystemExit("--lower is between 0 and 1, --higher above 1")
    binary = os.path.abspath(a.binary or product.default_binary())
    os.makedirs(a.out, exist_ok=True)
    sites = a.sites.split(",")
    # The base says what all scores rest on beside the pipeline's text.
    basis = sha256(read(binary), *(read(os.path.join(product.HERE, f)) for f in ("generator.py", "score.py", "product.py")))
    text = read(a.pipeline).decode()
    found = [n for n in numbers(text) if not a.only or n[1] in a.only.split(",")]

    draws = []
    for draw in range(a.draws):
        rng, drawn = random.Random(draw), text
        for table, key, value in numbers(text):
            if isinstance(value, float):
                drawn = with_value(drawn, table, key, float(f"{value * (1 + rng.uniform(-a.jitter, a.jitter)):.6g}"))
        draws.append(drawn)
    variants = {("base", 0): text} | {("draw", i): drawn for i, drawn in enumerate(draws)}
    for table, key, value in found:
        for factor in (a.lower, a.higher):
            variants[table, key, factor] = with_value(text, table, key, moved(value, factor)) if value else text

    scenes = [product.scene(a.scenes, site, a.seed, a.size) for site in sites]
    others = [product.scene(a.scenes, site, a.other_seed, a.size) for site in sites]
    jobs = [(name, scene) for name in variants for scene in scenes] + [("other", scene) for scene in others]
    results = {}
    with concurrent.futures.ProcessPoolExecutor(a.processes, initializer=quiet) as pool:
        todo = {pool.submit(scored, (binary, variants.get(name, text), scene, a.out, basis)): name for name, scene in jobs}
        for i, done in enumerate(concurrent.futures.as_completed(todo), 1):
            results.setdefault(todo[done], []).append(done.result())
            if i % 20 == 0 or i == len(jobs):
                product.say(f"{i} of {len(jobs)} runs")
    base = mean(results["base", 0])
    if base == REFUSED:
        raise SystemExit(f"{a.pipeline} is refused")
    delta = lambda r: REFUSED if r == REFUSED else {k: r[k] - base[k] for k in MEASURES}

    rows, still = [], []
    for table, key, value in found:
        deltas = [delta(mean(results[table, key, factor])) for factor in (a.lower, a.higher)]
        known = [d for d in deltas if d != REFUSED]
        effect = tuple(max((abs(d[k]) for d in known), default=0.0) for k in MEASURES)
        if any(round(v, DIGITS[k]) for v, k in zip(effect, MEASURES)) or len(known) < 2:
            low, high = (moved(value, factor) for factor in (a.lower, a.higher))
            rows.append((effect, [f"`{key}`", f"{value} ({low} / {high})"] + [pair(deltas, k) for k in MEASURES]))
        else:
            still.append(f"`{key}`")
    rows.sort(key=lambda row: row[0], reverse=True)

    n = sum(r["n_events"] for r in results["base", 0])
    print(f"Unchanged: F1 {base['F1']:.3f}, F1 strict {base['F1_strict']:.3f}, false area strict {base['FA_strict_ha_100km2_yr']:.1f} ha/100 km²/yr; {n} pits in {len(sites)} scenes of {a.size} × {a.size} pixels, seed {a.seed}.")
    drawn = [delta(mean(results["draw", i])) for i in range(a.draws)]
    if drawn:
        spread = ", ".join(f"{signed(min(d[k] for d in drawn), k)} to {signed(max(d[k] for d in drawn), k)}" for k in MEASURES)
        print(f"All real numbers moved at once by up to {100 * a.jitter:g} % at random, {a.draws} times: {spread} (F1, F1 strict, ha).")
    other = delta(mean(results["other"]))
    print(f"Seed {a.other_seed} in place of {a.seed}, nothing changed: " + ", ".join(signed(other[k], k) for k in MEASURES) + ".\n")
    head = ["key", "value (lower / higher)", "F1 Δ lower / higher", "F1 strict Δ", "false area strict Δ, ha/100 km²/yr"]
    print(run.table(head, [row for _, row in rows]))
    print("No effect: " + (", ".join(still) or "none") + ".")


if __name__ == "__main__":
    main()
