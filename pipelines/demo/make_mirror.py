#!/usr/bin/env python3
"""Write the two mirrors of the demo, their reference polygons and their area files.

    pip install numpy==2.4.6 scipy==1.17.1 rasterio==1.4.4 xarray==2026.9.0 netCDF4==1.7.5.1.post1
    pip install --no-deps nrt==0.2.1
    python tests/simbench/build_endmembers.py        # once; `scripts/setup --tests` does all of this in .venv
    python pipelines/demo/make_mirror.py             # forest/, pits/ and ../../aoi/demo-*.geojson

`forest/` holds the Sentinel-2 series that the package nrt 0.2.1 ships: 140 dates over a Romanian forest, digital numbers untouched.
`pits/` holds a part of the same series into which twelve pits are drawn with the functions of tests/simbench/generator.py.
The output is the same bytes on every run with the versions above: all chance comes from one fixed seed.
"""

import argparse, hashlib, importlib.util, json, math, os, shutil, sys

import numpy as np
import rasterio
import xarray as xr
from rasterio import features
from rasterio.transform import from_origin
from rasterio.warp import transform_bounds, transform_geom
from scipy import ndimage as ni

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "simbench"))
import generator as sim  # noqa: E402

EPSG = 3035
NOTICE = "Contains modified Copernicus Sentinel data 2015–2021"
FORESTRY = "forestry, not mining: no carats are computed"
# name: (variable in the netCDF, resolution in metres, STAC common name)
BANDS = {
    "B02": ("B2", 10, "blue"),
    "B03": ("B3", 10, "green"),
    "B04": ("B4", 10, "red"),
    "B08": ("B8", 10, "nir"),
    "B8A": ("B8A", 20, "nir08"),
    "B11": ("B11", 20, "swir16"),
}
EXTENSIONS = [
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
    "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
]
CLEAR = (4, 5, 6, 7)
NOT_GROUND = (0, 1, 3, 8, 9, 10, 11)  # classes under which a pit is not drawn, as in the generator

# The pits: (area in pixels of 10 m, first day of digging, pond). Sizes on a log scale, dates out of order of size.
PITS = [
    (1, "2019-06-12", False),
    (2, "2020-04-18", False),
    (3, "2019-08-17", False),
    (5, "2020-05-13", False),
    (6, "2019-03-25", True),
    (8, "2019-07-18", False),
    (10, "2020-03-20", False),
    (15, "2019-09-06", True),
    (20, "2020-06-03", False),
    (30, "2019-05-10", True),
    (45, "2020-02-18", False),
    (60, "2019-04-08", True),
]
PITS_SEED = 20190101
PITS_SIZE = 60  # pixels
GAP = 200  # metres between the east edge of the forest and the west edge of the pits' scene


def read_nrt():
    """The cube of nrt 0.2.1: dates, {band: [T,y,x] uint16}, SCL at 20 m, (west, north)."""
    spec = importlib.util.find_spec("nrt")
    if spec is None:
        raise SystemExit("the pixels come from the package nrt: pip install --no-deps nrt==0.2.1")
    folder = os.path.join(list(spec.submodule_search_locations)[0], "data")
    cube = {r: xr.open_dataset(f"{folder}/sentinel2_cube_subset_romania_{r}m.nc") for r in (10, 20)}
    assert (cube[10].time.values == cube[20].time.values).all()
    west, north = (float(cube[10][c].values[0]) + d for c, d in (("x", -5), ("y", 5)))
    for c, edge, d in (("x", west, -10), ("y", north, 10)):
        assert abs(float(cube[20][c].values[0]) + d - edge) < 1e-6, "the 10 m and 20 m edges differ"
    whole = lambda x: np.nan_to_num(x.values).astype(np.uint16)
    bands = {name: whole(cube[r][v]) for name, (v, r, _) in BANDS.items()}
    scl = np.nan_to_num(cube[20].SCL.values).astype(np.uint8)
    days = cube[10].time.values.astype("datetime64[D]")
    return days, bands, scl, (west, north)


def write_cog(path, pixels, west, north, res):
    """One band as a COG; of predictor 1 and 2 the one that makes the smaller file. Returns its size and multihash."""
    best = None
    for predictor in ("NO", "YES"):
        with rasterio.MemoryFile() as mem:
            with mem.open(
                driver="COG",
                height=pixels.shape[0],
                width=pixels.shape[1],
                count=1,
                dtype=pixels.dtype,
                crs=EPSG,
                transform=from_origin(west, north, res, res),
                nodata=0,
                compress="deflate",
                level=9,
                predictor=predictor,
                blocksize=128 if max(pixels.shape) > 64 else 64,
                overviews="NONE",
            ) as out:
                out.write(pixels, 1)
            data = bytes(mem.getbuffer())
        if best is None or len(data) < len(best):
            best = data
    with open(path, "wb") as f:
        f.write(best)
    return len(best), "1220" + hashlib.sha256(best).hexdigest()


def dump(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, indent=1)
        f.write("\n")


def lonlat(geometry):
    """The geometry in longitude and latitude, 7 decimals, a MultiPolygon with the winding of RFC 7946."""
    g = transform_geom(f"EPSG:{EPSG}", "OGC:CRS84", geometry, precision=7)
    polygons = g["coordinates"] if g["type"] == "MultiPolygon" else [g["coordinates"]]

    def wound(ring, ccw):
        area = sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(ring, ring[1:]))
        return [list(p) for p in (ring if (area > 0) == ccw else ring[::-1])]

    return {"type": "MultiPolygon", "coordinates": [[wound(r, i == 0) for i, r in enumerate(p)] for p in polygons]}


def outline(mask, west, north):
    """The pixels of a mask as one MultiPolygon on pixel edges."""
    t = from_origin(west, north, 10, 10)
    parts = [g["coordinates"] for g, _ in features.shapes(mask.astype(np.uint8), mask=mask, transform=t, connectivity=4)]
    return lonlat({"type": "MultiPolygon", "coordinates": parts})


def write_mirror(folder, cid, title, description, prefix, days, bands, scl, west, north, extra):
    """A static STAC collection: one item a date in a folder of its own."""
    rows, cols = bands["B02"].shape[1:]
    box = [west, north - 10 * rows, west + 10 * cols, north]
    ll = [round(v, 7) for v in transform_bounds(EPSG, "OGC:CRS84", *box, densify_pts=21)]
    ring = [[west, box[1]], [box[2], box[1]], [box[2], north], [west, north], [west, box[1]]]
    footprint = lonlat({"type": "Polygon", "coordinates": [ring]})["coordinates"][0]
    links = []
    for k, d in enumerate(days):
        day = str(d)
        name = day.replace("-", "")
        os.makedirs(f"{folder}/{name}", exist_ok=True)
        assets = {}
        for band in [*BANDS, "SCL"]:
            pixels, res = (scl[k], 20) if band == "SCL" else (bands[band][k], BANDS[band][1])
            size, checksum = write_cog(f"{folder}/{name}/{band}.tif", pixels, west, north, res)
            about = {"data_type": str(pixels.dtype), "nodata": 0, "spatial_resolution": res}
            assets[band] = {
                "href": f"./{band}.tif",
                "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                "title": "Scene classification (SCL)" if band == "SCL" else f"Surface reflectance, {band}",
                "roles": ["data"] if band == "SCL" else ["data", "reflectance"],
                "gsd": res,
                "proj:shape": list(pixels.shape),
                "proj:transform": [res, 0, west, 0, -res, north],
                "raster:bands": [about if band == "SCL" else {**about, "scale": 0.0001, "offset": 0}],
                "file:size": size,
                "file:checksum": checksum,
            }
            if band != "SCL":
                assets[band]["eo:bands"] = [{"name": band, "common_name": BANDS[band][2]}]
        item = {
            "type": "Feature",
            "stac_version": "1.1.0",
            "stac_extensions": EXTENSIONS,
            "id": f"{prefix}-{name}",
            "collection": cid,
            "bbox": ll,
            "geometry": {"type": "Polygon", "coordinates": footprint},
            "properties": {
                "datetime": day + "T00:00:00Z",
                "description": "The source gives the date only; 00:00:00Z stands for an unknown time of that day.",
                "platform": "sentinel-2",
                "constellation": "sentinel-2",
                "instruments": ["msi"],
                "proj:code": f"EPSG:{EPSG}",
                "proj:bbox": box,
                "eo:cloud_cover": round(100 * float(np.isin(scl[k], (8, 9, 10)).mean()), 2),
                "pitwatch:notice": NOTICE,
                **extra,
            },
            "links": [{"rel": r, "href": "../collection.json", "type": "application/json"} for r in ("root", "parent", "collection")],
            "assets": assets,
        }
        dump(f"{folder}/{name}/item.json", item)
        links.append({"rel": "item", "href": f"./{name}/item.json", "type": "application/geo+json"})
    dump(
        f"{folder}/collection.json",
        {
            "type": "Collection",
            "stac_version": "1.1.0",
            "id": cid,
            "title": title,
            "description": description,
            "license": "EUPL-1.2",
            "pitwatch:notice": f"{NOTICE}. Pixels from the package nrt 0.2.1, © European Union, Joint Research Centre, EUPL-1.2.",
            **extra,
            "keywords": ["Sentinel-2", "forest", "Romania"],
            "providers": [
                {"name": "European Union, Copernicus Sentinel-2", "roles": ["producer"], "url": "https://www.copernicus.eu"},
                {
                    "name": "European Commission, Joint Research Centre (nrt 0.2.1)",
                    "roles": ["processor", "licensor"],
                    "url": "https://github.com/ec-jrc/nrt",
                },
            ],
            "extent": {
                "spatial": {"bbox": [ll]},
                "temporal": {"interval": [[f"{days[0]}T00:00:00Z", f"{days[-1]}T00:00:00Z"]]},
            },
            "links": [
                {"rel": "root", "href": "./collection.json", "type": "application/json"},
                {"rel": "license", "href": "../LICENSE-EUPL-1.2.txt", "type": "text/plain"},
                *links,
            ],
        },
    )


def write_area(path, area_id, name, note, west, north, n):
    """The extent of a mirror, 0.1 m inside its edges so that rounded coordinates touch no further pixel."""
    w, s, e, t = west + 0.1, north - 10 * n + 0.1, west + 10 * n - 0.1, north - 0.1
    ring = [[w, s], [e, s], [e, t], [w, t], [w, s]]
    g = lonlat({"type": "Polygon", "coordinates": [ring]})
    props = {"area_id": area_id, "name": name, "is_mining": False, "note": note, "notice": NOTICE}
    feature = {"type": "Feature", "properties": props, "geometry": {"type": "Polygon", "coordinates": g["coordinates"][0]}}
    dump(path, {"type": "FeatureCollection", "features": [feature]})


def summers(days, bands, scl):
    """NDVI and red of the clear looks (NaN elsewhere), the year of each look, and whether it is of June to September."""
    ok = np.isin(scl, CLEAR).repeat(2, 1).repeat(2, 2)
    red, nir = (bands[b].astype(np.float32) / 1e4 for b in ("B04", "B08"))
    ndvi = np.where(ok, (nir - red) / np.maximum(nir + red, 1e-3), np.nan)
    year = days.astype("datetime64[Y]").astype(int) + 1970
    month = days.astype("datetime64[M]").astype(int) % 12 + 1
    return ndvi, np.where(ok, red, np.nan), year, (month >= 6) & (month <= 9)


def fellings(days, bands, scl):
    """[y,x] year of the felling, 0 = none, by the rule of real_clearings in tests/simbench/generator.py, year by year and undilated.

    In the clear looks (SCL 4-7) of June to September: the pixel's median NDVI of the summers before 2019 is above 0.75, and in the summer
    of the year its median NDVI fell by over 0.10 more than the area's median fall, or its median red rose by over 0.02 more than the
    area's median rise. The first year that holds is the year. Objects of fewer than 3 pixels (8-connected) are dropped.
    """
    ndvi, red_ok, year, summer = summers(days, bands, scl)
    med = lambda x, k: np.nanmedian(x[k], 0)
    before = summer & (year < 2019)
    out = np.zeros(ndvi.shape[1:], np.uint16)
    for y in (2019, 2020):
        k = summer & (year == y)
        drop, rise = med(ndvi, before) - med(ndvi, k), med(red_ok, k) - med(red_ok, before)
        m = (med(ndvi, before) > 0.75) & ((drop - np.nanmedian(drop) > 0.10) | (rise - np.nanmedian(rise) > 0.02))
        out[m & (out == 0)] = y
    for y in (2019, 2020):
        lab, c = ni.label(out == y, np.ones((3, 3)))
        small = np.bincount(lab.ravel(), minlength=c + 1)[lab] < 3
        out[(lab > 0) & small] = 0
    return out


def write_fellings(path, felled, west, north):
    found = []
    for y in (2019, 2020):
        lab, c = ni.label(felled == y, np.ones((3, 3)))
        for i in range(1, c + 1):
            n = int((lab == i).sum())
            props = {"felling_id": f"{y}-{i:02}", "year": y, "area_px": n, "area_ha": round(n / 100, 2)}
            found.append({"type": "Feature", "properties": props, "geometry": outline(lab == i, west, north)})
    dump(path, {"type": "FeatureCollection", "name": "fellings", "features": found})
    return found


def open_ground(days, bands, scl):
    """[y,x] roads and other ground that was not green before the pits: median summer NDVI before 2019 below 0.7."""
    ndvi, _, year, summer = summers(days, bands, scl)
    return np.nanmedian(ndvi[summer & (year < 2019)], 0) < 0.7


def quiet_window(avoid, n):
    """Top-left corner (even row, even column) of the n×n window with the fewest pixels to avoid."""
    size = avoid.shape[0]
    spots = [(y, x) for y in range(0, size - n + 1, 2) for x in range(0, size - n + 1, 2)]
    return min(spots, key=lambda p: int(avoid[p[0] : p[0] + n, p[1] : p[1] + n].sum()))


def draw_pits(days, bands, scl, avoid):
    """Pits by the generator's shapes, spectra and growth. Changes `bands` in place; returns the events and the truth rasters."""
    rng = np.random.default_rng(PITS_SEED)
    spectra = {k: v.astype(np.float32) for k, v in np.load(os.path.join(ROOT, "tests", "simbench", "endmembers.npz")).items()}
    soil, sand = spectra["soil_af"], spectra["sandgravel"]
    brighter = soil[soil[:, 2] > np.quantile(soil[:, 2], 0.35)]
    pale = np.concatenate([sand[sand[:, 2] > 0.2], soil[soil[:, 0] > np.quantile(soil[:, 0], 0.9)]])
    # The generator's sixth band is B12; here it is B8A, which gets the value of B08.
    six = lambda s: np.r_[s[:5], s[3]].astype(np.float32)
    n = PITS_SIZE
    taken = avoid.copy()
    events = []
    for area, start, pond in sorted(PITS, key=lambda p: -p[0]):
        phi, r = sim.blob(rng, area)
        core = (phi < 5).any(-1)
        wide = ni.binary_dilation(np.pad(core, 3), iterations=3)
        for _ in range(4000):
            y, x = rng.integers(r, n - r, 2)
            at = (slice(y - r, y + r + 1), slice(x - r, x + r + 1))
            if not (taken[at] & core).any():
                break
        else:
            raise SystemExit(f"no room for the pit of {area} pixels")
        big = np.zeros((n + 6, n + 6), bool)
        big[y - r : y + r + 7, x - r : x + r + 7] = wide
        taken |= big[3:-3, 3:-3]
        t0 = sim.day(start)
        grow = float(rng.uniform(8, 25) if area < 6 else rng.uniform(15, 120) * (area / 200) ** 0.3)
        bare = rng.uniform(0.62, 0.9) * brighter[rng.integers(len(brighter))]
        tail = rng.uniform(0.6, 0.95) * pale[rng.integers(len(pale))]
        turbid = rng.uniform(0.3, 1.0)
        hue = bare[:3] / bare[2]
        water = np.r_[
            0.02 + turbid * np.array([0.055, 0.10, 0.13]) * np.r_[0.6 + 0.4 * hue[:2], 1.0],
            0.012 + turbid * 0.075,
            0.012 + 0.012 * turbid,
        ]
        events.append(
            dict(
                y=int(y),
                x=int(x),
                R=r,
                phi=phi,
                area=float(area),
                t0=t0,
                grow=grow,
                bare=six(bare),
                tail=six(tail),
                wt=rng.uniform(0, 0.6),
                tex=np.clip(0.5 + 0.5 * sim.grf(rng, 2 * r + 1, 1.2), 0, 1),
                water=six(water),
                pf=float(rng.uniform(0.25, 0.5)) if pond else 0.0,
                tp=t0 + rng.uniform(25, 70),
                rv=float(rng.uniform(0, 0.3)),
                abandon=1e9,
                rg=200.0,
            )
        )
    events.sort(key=lambda e: e["t0"])
    for i, e in enumerate(events):
        e["id"] = i + 1
    t = days.astype(int)
    up = lambda a: a.repeat(2, 1).repeat(2, 2)
    at10 = {b: bands[b] if BANDS[b][1] == 10 else up(bands[b]) for b in BANDS}
    order = ["B02", "B03", "B04", "B08", "B11", "B8A"]
    cube = np.stack([at10[b] for b in order], 1).astype(np.float32) / 1e4
    scl10 = up(scl)
    # Brightness of each date against the median of all, so that a pit brightens and dims with its scene.
    clear = np.where(np.isin(scl10, CLEAR)[:, None], cube, np.nan)
    ratio = clear / np.nanmedian(clear, 0)[None]
    gain = np.array([np.nanmedian(ratio[k]) if np.isfinite(ratio[k]).any() else 1.0 for k in range(len(t))])
    gain = np.clip(gain, 0.8, 1.25).astype(np.float32)
    eid, frac, onset = sim.truth_rasters(events, n, t)
    green = six(spectra["gv"].mean(0))
    for k, now in enumerate(t):
        wet = 0.5 * (0.5 + 0.5 * math.cos(2 * math.pi * ((now % 365) - 200) / 365))
        img = cube[k].copy()
        for e in events:
            if e["t0"] < now:
                sim.inject(img, e, now, wet, green, np.isin(scl10[k], NOT_GROUND), np.full(6, gain[k], np.float32))
        changed = (img != cube[k]).any(0)
        dn = np.clip(np.round(img * 1e4), 1, 32000)
        for i, b in enumerate(order):
            if BANDS[b][1] == 10:
                bands[b][k][changed] = dn[i][changed].astype(np.uint16)
            else:  # a 20 m pixel is the mean of its four 10 m pixels
                mean = dn[i].reshape(n // 2, 2, n // 2, 2).mean((1, 3)).round().astype(np.uint16)
                touched = changed.reshape(n // 2, 2, n // 2, 2).any((1, 3))
                bands[b][k][touched] = mean[touched]
    return events, eid, frac


def write_truth(path, events, eid, frac, scl, days, west, north):
    """The pixels that a pit covers by at least a fifth in the end, and what is known of each pit. Returns the rows of the table."""
    iso = lambda t: str(np.datetime64("1970-01-01") + int(t))
    rows, found = [], []
    for e in events:
        own = eid == e["id"]
        mask = own & (frac >= 20)
        y, x = np.argwhere(own)[np.argmax(frac[own])]
        after = days.astype(int) >= e["visible"]
        looks = int(np.isin(scl[after, y // 2, x // 2], CLEAR).sum())
        props = {
            "pit_id": f"pit-{e['id']:02}",
            "area_px": e["area"],
            "area_ha": round(e["area"] / 100, 2),
            "core_px": e["npx"],
            "outline_px": int(mask.sum()),
            "start": iso(e["t0"]),
            "visible": iso(e["visible"]),
            "grown": iso(math.ceil(e["t0"] + e["grow"])),
            "pond_fraction": round(e["pf"], 2),
            "clear_looks_after": looks,
        }
        rows.append(props)
        found.append({"type": "Feature", "properties": props, "geometry": outline(mask, west, north)})
    dump(path, {"type": "FeatureCollection", "name": "truth", "features": found})
    return rows


def fresh(folder):
    """Drop an earlier mirror, keep what was written by hand."""
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        if name.isdigit():
            shutil.rmtree(f"{folder}/{name}")
    os.makedirs(folder, exist_ok=True)


def table(readme, rows):
    """Put the table of pits between the two marks in the folder's README."""
    cols = ["pit_id", "area_px", "area_ha", "core_px", "start", "visible", "grown", "pond_fraction", "clear_looks_after"]
    line = lambda v: "| " + " | ".join(str(x) for x in v) + " |"
    text = "\n".join([line(cols), line(["---"] * len(cols))] + [line(r[c] for c in cols) for r in rows])
    with open(readme, encoding="utf-8") as f:
        head, rest = f.read().split("<!-- pits -->\n")
        tail = rest.split("<!-- /pits -->")[1]
    with open(readme, "w", encoding="utf-8") as f:
        f.write(f"{head}<!-- pits -->\n{text}\n<!-- /pits -->{tail}")


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--out", default=HERE, help="folder of forest/ and pits/")
    p.add_argument("--aoi", default=os.path.join(ROOT, "aoi"), help="folder of the area files")
    a = p.parse_args()
    days, bands, scl, (west, north) = read_nrt()
    forest, pits = f"{a.out}/forest", f"{a.out}/pits"
    fresh(forest)
    fresh(pits)
    os.makedirs(a.aoi, exist_ok=True)

    write_mirror(
        forest,
        "demo-forest",
        "Sentinel-2 over a Romanian forest, 2015–2021",
        "140 dates of Sentinel-2 L2A over 1 km² of closed forest in Romania, from the package nrt 0.2.1, digital numbers untouched. "
        "Forestry, not mining. See README.md.",
        "nrt-romania",
        days,
        bands,
        scl,
        west,
        north,
        {},
    )
    felled = fellings(days, bands, scl)
    found = write_fellings(f"{forest}/fellings.geojson", felled, west, north)
    write_area(f"{a.aoi}/demo-forest.geojson", "demo-forest", "Demo: Romanian forest", FORESTRY, west, north, bands["B02"].shape[1])

    avoid = (felled > 0) | open_ground(days, bands, scl)
    y, x = quiet_window(avoid, PITS_SIZE)
    n = PITS_SIZE
    cut = {b: v[:, y * 10 // r : (y + n) * 10 // r, x * 10 // r : (x + n) * 10 // r].copy() for b, v in bands.items() for r in [BANDS[b][1]]}
    cut_scl = scl[:, y // 2 : (y + n) // 2, x // 2 : (x + n) // 2]
    near = ni.binary_dilation(avoid, np.ones((3, 3)), iterations=2)[y : y + n, x : x + n]
    events, eid, frac = draw_pits(days, cut, cut_scl, near)
    # Beside the forest, not over it: see pits/README.md.
    pits_west, pits_north = west + 10 * bands["B02"].shape[2] + GAP, north - 200
    true_place = [west + 10 * x, north - 10 * y]
    write_mirror(
        pits,
        "demo-pits",
        "Sentinel-2 over a Romanian forest, with pits drawn in",
        "A part of the series in ../forest with twelve pits of known size and date drawn into its pixels, moved beside it. "
        "Nothing here was dug. See README.md and truth.geojson.",
        "nrt-romania-pits",
        days,
        cut,
        cut_scl,
        pits_west,
        pits_north,
        {"pitwatch:synthetic": "pits are drawn into the pixels; the scene is moved: see README.md", "pitwatch:true_origin": true_place},
    )
    rows = write_truth(f"{pits}/truth.geojson", events, eid, frac, cut_scl, days, pits_west, pits_north)
    if os.path.exists(f"{pits}/README.md"):
        table(f"{pits}/README.md", rows)
    write_area(
        f"{a.aoi}/demo-pits.geojson",
        "demo-pits",
        "Demo: pits drawn into a Romanian forest",
        FORESTRY + "; the pits are drawn into the pixels",
        pits_west,
        pits_north,
        n,
    )
    by_year = {y: sum(f["properties"]["year"] == y for f in found) for y in (2019, 2020)}
    print(f"fellings: {by_year}, pixels {int((felled > 0).sum())}; pits' window at row {y}, column {x}, felled pixels in it {int((felled[y:y+n, x:x+n] > 0).sum())}")
    for r in rows:
        print(r)


if __name__ == "__main__":
    main()
