#!/usr/bin/env python3
"""No hindsight: what pitwatch says of a day is what it says when it knows the looks up to that day.

  hindsight.py [--sites ci,zw,romania] [--seeds 1] [--size 400] [--days 10] [--scenes DIR] [--out DIR] [--binary PATH]

For random days of the monitoring period (the same in every run) the product looks at a scene up to that day and to the end.
Of the whole run, a `confirmed_date` and an `alert_date` up to the day must be the same in the cut run.
A date up to the day that the cut run alone has was taken back later. Each such pixel is explained by the alert of the cut run that covers it:

  retracted  retractions.csv of the whole run has that alert, or its confirmation, with a later day
  left       the alert stands in the whole run, without the pixel: pixels are taken back without a row in retractions.csv
  joined     the alert grew together with one that was reported earlier, whose name it has: the whole run, or for ground that
             was taken back since the run up to the first look without the name, has another alert on its ground
  unknown    none of these

Exit code 1: a date is with hindsight, or a date that was taken back is unknown.
"""

import argparse, bisect, os

import numpy as np

import product
import run as sim
import score as sb

LAYERS = ("alert_date", "confirmed_date")
REASONS = ("retracted", "left", "joined", "unknown")


class Result:
    """Date rasters, alerts and retractions of excavation of a run."""

    def __init__(self, run):
        self.days = {layer: run.days(layer) for layer in LAYERS}
        self.ids = np.full(self.days["alert_date"].shape, "", object)
        for p, mask in run.alerts():
            self.ids[mask] = p["alert_id"]
        self.names = set(self.ids.ravel()) - {""}
        self.retractions = [r for r in run.table("retractions.csv") if r["kind"] == "excavation"]

    def taken_back_after(self, day, layer):
        """Names of the alerts that lost the dates of a layer after a day."""
        lost = ("alert",) if layer == "alert_date" else ("alert", "confirmation")
        return {r["alert_id"] for r in self.retractions if r["what"] in lost and sb.day(r["retracted_datetime"][:10]) > day}


def explained(cut, whole, lost, day, layer, at_end_of_name):
    """How many pixels of `lost` each reason explains, and an example of each.

    - `at_end_of_name`: gives the result of the run up to the first look at which an alert's name is gone.
    """
    counts, examples = dict.fromkeys(REASONS, 0), {}
    taken_back = whole.taken_back_after(day, layer)
    for name in sorted(set(cut.ids[lost])):
        pixels = lost & (cut.ids == name)
        others = set(whole.ids[cut.ids == name]) - {""}
        if not name:
            reason = "unknown"
        elif name in taken_back:
            reason = "retracted"
        elif name in whole.names:
            reason = "left"
        else:
            others = others or set(at_end_of_name(name).ids[cut.ids == name]) - {""}
            reason = "joined" if others else "unknown"
        counts[reason] += int(pixels.sum())
        row, col = np.argwhere(pixels)[0]
        examples.setdefault(reason, f"{layer} of row {row}, column {col}, alert {name or 'none'}, then {', '.join(sorted(others)) or 'none'}")
    return counts, examples


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--sites", default="ci,zw,romania")
    p.add_argument("--seeds", default="1")
    p.add_argument("--size", type=int, default=400)
    p.add_argument("--days", type=int, default=10)
    p.add_argument("--scenes", default=product.SCENES)
    p.add_argument("--out", default=os.path.join(product.ROOT, "out", "simbench", "hindsight"))
    p.add_argument("--binary")
    p.add_argument("--pipeline", default=product.PIPELINE)
    a = p.parse_args()
    binary = a.binary or product.default_binary()
    with open(a.pipeline) as f:
        text = f.read()
    os.makedirs(a.out, exist_ok=True)
    rows, n_wrong, n_unknown = [], 0, 0
    for site in a.sites.split(","):
        for seed in [int(s) for s in a.seeds.split(",")]:
            path = product.scene(a.scenes, site, seed, a.size)
            truth = sb.Scene(path)
            whole = Result(product.run(binary, a.pipeline, path, os.path.join(a.out, f"{site}-{seed}"), ["--quiet"]))
            watched = np.unique(truth.dates[truth.dates >= truth.mon])
            results = {}

            def up_to(day, site=site, seed=seed, path=path, results=results):
                """The result of the run up to a day, which is looked at too."""
                if day not in results:
                    out = os.path.join(a.out, f"{site}-{seed}-{day}")
                    with open(f"{out}.toml", "w") as f:
                        f.write(product.cut_pipeline(text, day))
                    results[day] = Result(product.run(binary, f"{out}.toml", path, out, ["--quiet"]))
                return results[day]

            # Not the last look, after which nothing comes.
            for day in sorted(np.random.default_rng(seed).choice(watched[:-1], a.days, replace=False).tolist()):
                cut, date = up_to(day), np.datetime64(day, "D")

                def at_end_of_name(name, day=day, watched=watched):
                    # A name that is gone does not come back, so the first look without it can be bisected.
                    later = watched[watched > day].tolist()
                    return up_to(later[bisect.bisect_left(later, True, key=lambda d: name not in up_to(d).names)])

                row, total = [site, str(seed), str(date)], dict.fromkeys(REASONS, 0)
                for layer in LAYERS:
                    known = (whole.days[layer] > 0) & (whole.days[layer] <= day)
                    wrong = known & (cut.days[layer] != whole.days[layer])
                    counts, examples = explained(cut, whole, (cut.days[layer] > 0) & ~known, day, layer, at_end_of_name)
                    row += [str(int(known.sum())), str(int(wrong.sum()))]
                    n_wrong += int(wrong.sum())
                    for reason in REASONS:
                        total[reason] += counts[reason]
                    for reason in ("joined", "unknown"):
                        if reason in examples:
                            product.say(f"{site} seed {seed}, {date}: {reason}: {examples[reason]}")
                    if wrong.any():
                        r, c = np.argwhere(wrong)[0]
                        product.say(f"{site} seed {seed}, {date}: {layer} of row {r}, column {c} is {whole.days[layer][r, c]}, in the cut run {cut.days[layer][r, c]}")
                n_unknown += total["unknown"]
                rows.append(row + [str(total[reason]) for reason in REASONS])
    head = ["site", "seed", "day", "alert dates", "of them with hindsight", "confirmed dates", "of them with hindsight", *(f"taken back: {r}" for r in REASONS)]
    sums = ["all", "", "", *(str(sum(int(r[i]) for r in rows)) for i in range(3, len(head)))]
    print(sim.table(head, rows + [sums]))
    if n_wrong or n_unknown:
        raise SystemExit(f"{n_wrong} dates of the whole run are not those of the cut run; {n_unknown} dates that were taken back are not explained")


if __name__ == "__main__":
    main()
