#!/usr/bin/env python3
"""Print the truth of the demo beside what a run found, as Markdown tables.

  truth.py OUT          OUT is the folder of `scripts/demo` (out/demo); needs nothing but Python 3

A truth and an alert belong together if one has a vertex inside the other.
"""

import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def features(path):
    with open(path) as f:
        return json.load(f)["features"]


def polygons(feature):
    g = feature["geometry"]
    return g["coordinates"] if g["type"] == "MultiPolygon" else [g["coordinates"]]


def inside(point, feature):
    """Even-odd rule over all rings."""
    x, y = point
    odd = False
    for rings in polygons(feature):
        for ring in rings:
            for (x1, y1), (x2, y2) in zip(ring, ring[1:]):
                if (y1 <= y) != (y2 <= y) and x < x1 + (y - y1) / (y2 - y1) * (x2 - x1):
                    odd = not odd
    return odd


def touch(a, b):
    points = lambda f: (p for rings in polygons(f) for ring in rings for p in ring)
    return any(inside(p, b) for p in points(a)) or any(inside(p, a) for p in points(b))


def main():
    out = sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__)
    with open(f"{out}/latest.json") as f:
        run = os.path.join(out, json.load(f)["path"])
    alerts = features(f"{run}/alerts.geojson")
    of = lambda area, kind: [a for a in alerts if a["properties"]["area_id"] == area and a["properties"]["kind"] == kind]

    dug = of("demo-pits", "excavation")
    print("| pit | dug from | half exposed by | true ha | found ha (low to high) | last look before | first look after | tier |")
    print("|---|---|---|---|---|---|---|---|")
    claimed = []
    for pit in features(f"{HERE}/pits/truth.geojson"):
        p = pit["properties"]
        found = [a for a in dug if touch(a, pit)]
        claimed += found
        row = [p["pit_id"], p["start"], p["visible"], f"{p['area_ha']:.2f}"]
        if found:
            q = [a["properties"] for a in found]
            total = [sum(a[k] for a in q) for k in ("area_ha", "area_ha_lo", "area_ha_hi")]
            tier = "confirmed" if any(a["tier"] == "confirmed" for a in q) else "provisional"
            row += ["{:.2f} ({:.2f} to {:.2f})".format(*total), min(a["start_datetime"] for a in q)[:10], min(a["end_datetime"] for a in q)[:10], tier]
        else:
            row += ["not found", "", "", ""]
        print("| " + " | ".join(row) + " |")
    print(f"\n{len([a for a in dug if a not in claimed])} of {len(dug)} excavation alerts of the pits' area touch no pit.")

    fellings = features(f"{HERE}/forest/fellings.geojson")
    cleared, dug = of("demo-forest", "cleared"), of("demo-forest", "excavation")
    hit = sum(any(touch(a, f) for a in cleared) for f in fellings)
    true = sum(any(touch(a, f) for f in fellings) for a in cleared)
    print(f"In the forest {hit} of {len(fellings)} listed fellings of 2019 and 2020 are found as cleared ground;", end=" ")
    print(f"{true} of {len(cleared)} alerts of cleared ground touch a listed felling; {len(dug)} alerts are of excavation.")


if __name__ == "__main__":
    main()
