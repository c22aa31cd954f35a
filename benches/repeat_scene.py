#!/usr/bin/env python3
"""Repeat a simbench scene over more ground and more dates, as real tiled COGs with STAC items, to measure memory.

  repeat_scene.py SITE KM2 OUT [--scenes DIR]

KM2 is 16 times a power of two; the scene of 16 km2 (seed 1) is generated under --scenes if it is not there.
OUT/once.json lists the scene's own looks; OUT/twice.json lists each a second time, with an id of its own, one day later
(two where the day is taken; baseline, offset and pixels are the first look's). Prints the scene's HISTORY_END.
Needs what `scripts/setup --tests` installs. Does nothing if OUT is complete.
"""

import argparse, copy, datetime as dt, json, os, shutil, sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import rasterio
from rasterio.warp import transform_bounds

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "simbench"))
import product  # noqa: E402

SIDE_PIXELS = 400
SCENE_KM2 = 16


def repeats(km2):
    """How often the scene stands below and beside itself: as square as can be."""
    times = km2 // SCENE_KM2
    if times * SCENE_KM2 != km2 or times & (times - 1):
        raise SystemExit(f"{km2} km2 is not {SCENE_KM2} times a power of two")
    down = 1 << (times.bit_length() - 1) // 2
    return down, times // down


def repeat_file(source, target, down, across):
    with rasterio.open(source) as r:
        pixels, profile = np.tile(r.read(1), (down, across)), r.profile
    with rasterio.open(
        target,
        "w",
        driver="COG",
        height=pixels.shape[0],
        width=pixels.shape[1],
        count=1,
        dtype=pixels.dtype,
        crs=profile["crs"],
        transform=profile["transform"],
        nodata=profile["nodata"],
        compress="deflate",
        blocksize=256,
        predictor="YES",
    ) as w:
        w.write(pixels, 1)


def repeat_look(source, out, item_id, again_id, again_day, down, across):
    """Writes one look and the look that has its pixels again."""
    with open(f"{source}/{item_id}/item.json") as f:
        item = json.load(f)
    folder = f"{out}/{item_id}"
    os.makedirs(folder)
    for asset in item["assets"].values():
        repeat_file(f"{source}/{item_id}/{asset['href']}", f"{folder}/{asset['href']}", down, across)
        asset["proj:shape"] = [asset["proj:shape"][0] * down, asset["proj:shape"][1] * across]
    finest = min(item["assets"].values(), key=lambda asset: asset["proj:transform"][0])
    with rasterio.open(f"{folder}/{finest['href']}") as r:
        west, south, east, north = transform_bounds(r.crs, 4326, *r.bounds)
    item["bbox"] = [west, south, east, north]
    item["geometry"]["coordinates"] = [[[west, south], [east, south], [east, north], [west, north], [west, south]]]
    shutil.copytree(folder, f"{out}/{again_id}")
    again = copy.deepcopy(item)
    again["id"] = again_id
    again["properties"]["datetime"] = f"{again_day}T{item['properties']['datetime'].split('T')[1]}"
    for one in (item, again):
        with open(f"{out}/{one['id']}/item.json", "w") as f:
            json.dump(one, f)
    return item["bbox"]


def second_days(days):
    taken = set(days)
    for day in days:
        again = next(d for d in (day + dt.timedelta(k) for k in (1, 2)) if d not in taken)
        taken.add(again)
        yield again


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("site")
    p.add_argument("km2", type=int)
    p.add_argument("out")
    p.add_argument("--scenes", default=os.path.join(ROOT, "out", "simbench", "scenes"))
    a = p.parse_args()
    down, across = repeats(a.km2)
    scene = product.scene(a.scenes, a.site, 1, SIDE_PIXELS)
    with open(f"{scene}/obs/meta.json") as f:
        print(json.load(f)["history_end"])
    if os.path.exists(f"{a.out}/twice.json"):
        return
    shutil.rmtree(a.out, ignore_errors=True)
    os.makedirs(a.out)
    source = f"{scene}/obs/cogs"
    with open(f"{source}/collection.json") as f:
        collection = json.load(f)
    ids = [os.path.basename(os.path.dirname(link["href"])) for link in collection["links"]]
    days = []
    for item_id in ids:
        with open(f"{source}/{item_id}/item.json") as f:
            days.append(dt.date.fromisoformat(json.load(f)["properties"]["datetime"][:10]))
    again_days = list(second_days(days))
    again_ids = [f"{i}_again" for i in ids]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        jobs = [
            pool.submit(repeat_look, source, a.out, item_id, again_id, day, down, across)
            for item_id, again_id, day in zip(ids, again_ids, again_days)
        ]
        boxes = [job.result() for job in jobs]
    collection["extent"]["spatial"]["bbox"] = [boxes[0]]
    last = max(days + again_days)
    collection["extent"]["temporal"]["interval"][0][1] = f"{last}T23:59:59Z"
    for name, listed in (("once", ids), ("twice", ids + again_ids)):
        collection["links"] = [{"rel": "item", "href": f"./{item_id}/item.json"} for item_id in listed]
        with open(f"{a.out}/{name}.json", "w") as f:
            json.dump(collection, f)


if __name__ == "__main__":
    main()
