#!/usr/bin/env python3
"""Bright tailings that the scene classification calls cloud: how much of them stays visible.

  tailings.py [--sites ci,zw,romania] [--seeds 1,2] [--brightness 0.18] [--scenes DIR] [--out DIR] [--binary PATH]

Copies of the scenes are made in which every clear look at dug ground (half of the pixel or more, after its onset) whose mean
of blue, green and red exceeds --brightness is classified as cloud (SCL 8) in every look, and not now and then as in
generator.py. The product runs on the scene and on the copy, with its own rule (`tailings_whiteness`) and without it
(0 trusts the classification). The second table says how many pixels classified as cloud the rule takes for ground.
"""

import argparse, glob, json, os, re, shutil

import numpy as np
import rasterio

import product
import run as sim
import score as sb

CLEAR = (4, 5, 6, 7)
CLOUD = 8


def days(path):
    return np.array([sb.day(x) for x in open(f"{path}/obs/dates.txt").read().split()])


def stressed(path, out, brightness):
    """A copy of a scene whose bright dug ground is called cloud; returns it with the share of looks at dug ground that are."""
    fr, on = np.load(f"{path}/truth/frac.npy"), np.load(f"{path}/truth/onset.npy")
    cube, scl = np.load(f"{path}/obs/cube.npy", mmap_mode="r"), np.load(f"{path}/obs/scl.npy").copy()
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(path, out, copy_function=lambda a, b: os.link(a, b) if a.endswith(".tif") and "SCL" not in a else shutil.copy(a, b))
    n_seen = n_called = 0
    for t, day in enumerate(days(path)):
        seen = (fr >= 50) & (on > 0) & (day >= on) & np.isin(scl[t], CLEAR)
        called = seen & (cube[t, :3].mean(0) / 1e4 > brightness)
        n_seen, n_called = n_seen + int(seen.sum()), n_called + int(called.sum())
        if not called.any():
            continue
        # The classification has pixels of 20 m.
        coarse = called[::2, ::2] | called[1::2, ::2] | called[::2, 1::2] | called[1::2, 1::2]
        scl[t][coarse.repeat(2, 0).repeat(2, 1) & np.isin(scl[t], CLEAR)] = CLOUD
        stamp = str(np.datetime64("1970-01-01") + int(day)).replace("-", "")
        (name,) = glob.glob(f"{out}/obs/cogs/*_{stamp}_*/SCL.tif")
        with rasterio.open(name) as r:
            profile = r.profile
        profile.update(driver="COG")
        for key in ("tiled", "blockxsize", "blockysize", "interleave"):
            profile.pop(key, None)
        os.remove(name)
        with rasterio.open(name, "w", **profile, predictor="YES") as r:
            r.write(scl[t][::2, ::2].astype(profile["dtype"]), 1)
    np.save(f"{out}/obs/scl.npy", scl)
    return n_called / max(n_seen, 1)


def let_through(path, whiteness, red):
    """Pixels classified as cloud of medium or high probability, and how many of them the rule takes for ground."""
    cube, scl = np.load(f"{path}/obs/cube.npy", mmap_mode="r"), np.load(f"{path}/obs/scl.npy", mmap_mode="r")
    n = n_ground = 0
    for t in range(len(scl)):
        cloud = np.isin(scl[t], (8, 9))
        n += int(cloud.sum())
        n_ground += int((cloud & (cube[t, 0] < whiteness * cube[t, 2]) & (cube[t, 2] > red * 1e4)).sum())
    return n, n_ground


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--sites", default="ci,zw,romania")
    p.add_argument("--seeds", default="1,2")
    p.add_argument("--size", type=int, default=400)
    p.add_argument("--brightness", type=float, default=0.18)
    p.add_argument("--pipeline", default=product.PIPELINE)
    p.add_argument("--scenes", default=product.SCENES)
    p.add_argument("--out", default=os.path.join(product.ROOT, "out", "simbench", "tailings"))
    p.add_argument("--binary")
    a = p.parse_args()
    os.makedirs(a.out, exist_ok=True)
    binary = a.binary or product.default_binary()
    text = open(a.pipeline).read()
    number = lambda key: float(re.search(rf"^{key} = (\S+)", text, re.M).group(1))
    without = os.path.join(a.out, "without.toml")
    with open(without, "w") as f:
        f.write(re.sub(r"^tailings_whiteness = \S+", "tailings_whiteness = 0.0", text, flags=re.M))
    sites, seeds = a.sites.split(","), [int(s) for s in a.seeds.split(",")]
    rows, passed = [], []
    for site in sites:
        scores, shares, n, n_ground = {}, [], 0, 0
        for seed in seeds:
            path = product.scene(a.scenes, site, seed, a.size)
            copy = os.path.join(a.out, f"{site}-{seed}")
            shares.append(stressed(path, copy, a.brightness))
            more = let_through(path, number("tailings_whiteness"), number("tailings_red"))
            n, n_ground = n + more[0], n_ground + more[1]
            for scene_name, scene in (("as it is", path), ("called cloud", copy)):
                for rule, pipeline in (("without", without), ("with", a.pipeline)):
                    left = product.run(binary, pipeline, scene, os.path.join(a.out, "run"), ["--quiet"])
                    r = sb.score(sb.Scene(path), left.days("confirmed_date"), sim.MMU)
                    scores.setdefault((scene_name, rule), []).append(r)
            shutil.rmtree(copy)
        passed.append(f"| {site} | {n} | {n_ground} | {100 * n_ground / max(n, 1):.2f} % |")
        for (scene_name, rule), rs in scores.items():
            mean = lambda k: float(np.mean([r[k] for r in rs]))
            share = f"{np.mean(shares):.2f}" if scene_name != "as it is" else "0"
            rows.append(
                f"| {site} | {scene_name} | {share} | {rule} | {mean('recall'):.3f} | {mean('F1'):.3f} | {mean('F1_strict'):.3f} "
                f"| {mean('FA_ha_100km2_yr'):.2f} / {mean('FA_strict_ha_100km2_yr'):.1f} |"
            )
    print("| site | bright dug ground | share of its looks called cloud | rule | recall | F1 | F1 strict | FA ha lenient / strict |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(rows))
    print("\n| site | pixels classified as cloud (SCL 8, 9) | of these taken for ground | share |\n| --- | --- | --- | --- |")
    print("\n".join(passed))


if __name__ == "__main__":
    main()
