#!/usr/bin/env python3
"""CPU seconds of pitwatch's detection and of other packages' on the same cube, in one run, as a Markdown table.

  benches/peers/run [--side 200] [--cold-rows 10] [--rounds 3]

That command makes the environment, builds pitwatch's part (benches/peers/cube.rs) and calls this file with --program.

The cube is seeded, of 140 looks five days apart, six bands and classes; `peers_cube` makes it, keeps it in memory and writes
it to out/peers/cube as .npy files, which the peers read. COLD takes the first --cold-rows rows, all others the whole cube;
pixels are drawn alike, so that any rows stand for all.

Everything runs on one thread and the methods take turns, --rounds times; the least CPU time (user and system, of the process)
counts. Outside the timing: reading the cube, the peers' NDVI and masks, COLD's layout by pixel, and numba's compilation (each
nrt method runs on a few rows first). Inside for pitwatch: masks, indices and collecting a pixel's looks from their planes.
"""

import os

for name in ("OMP", "OPENBLAS", "MKL", "NUMBA", "NUMEXPR"):
    os.environ[f"{name}_NUM_THREADS"] = "1"  # read when NumPy and numba are imported

import argparse, datetime as dt, importlib.metadata, subprocess, sys, time, warnings  # noqa: E402
from unittest.mock import MagicMock  # noqa: E402

# pycold imports GDAL for files, which is not on PyPI as a wheel; cold_detect reads no file.
sys.modules["osgeo"] = MagicMock()

import numpy as np  # noqa: E402
import xarray as xr  # noqa: E402
from nrt.monitor.ewma import EWMA  # noqa: E402
from nrt.monitor.iqr import IQR  # noqa: E402
from pycold import cold_detect  # noqa: E402

FOLDER = os.path.join("out", "peers", "cube")
RED, NIR = 2, 3
CLEAR_CLASSES = (4, 5, 6, 7)
WARM_UP_ROWS = 4
CONFIRMED_BREAK = 3  # in nrt's mask
CFMASK_CLEAR, CFMASK_CLOUD = 0, 4
COLD_BREAK = 100  # change_prob of a segment that ends with a break


def timed(work):
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


class Pitwatch:
    """`pitwatch_change::detect` in a process of its own, which does the work once for each line it is sent."""

    name, bands = "pitwatch", "6"

    def __init__(self, program, side):
        os.makedirs(FOLDER, exist_ok=True)
        command = [program, str(side), FOLDER]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.n_history = int(self.answer())
        self.n_pixels = side * side

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("peers: pitwatch's part ended early")
        return line

    def run(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        cpu_s, n_alerts = self.answer().split()
        return float(cpu_s), int(n_alerts)


class Nrt:
    """A monitor of nrt on NDVI, used as its documentation shows: fit the history, then monitor look by look."""

    bands = "1 (NDVI)"

    def __init__(self, name, monitor, fit, ndvi, n_history):
        self.name, self.monitor, self.fit = name, monitor, fit
        self.ndvi, self.n_history = ndvi, n_history
        self.n_pixels = ndvi.sizes["y"] * ndvi.sizes["x"]
        self.work(ndvi.isel(y=slice(WARM_UP_ROWS)))

    def work(self, ndvi):
        history, monitoring = ndvi[: self.n_history], ndvi[self.n_history :]
        monitor = self.monitor()
        monitor.fit(dataarray=history, **self.fit)
        dates = monitoring.time.values.astype("M8[s]").astype(dt.datetime)
        for array, date in zip(monitoring.values, dates):
            monitor.monitor(array=array, date=date)
        return int((monitor.mask == CONFIRMED_BREAK).sum())

    def run(self):
        return timed(lambda: self.work(self.ndvi))


class Cold:
    """`pycold.cold_detect` with its default settings, pixel by pixel as it is documented, without a thermal band."""

    name, bands = "pycold COLD", "6"

    def __init__(self, reflectance, is_clear, days):
        n_bands, n_looks = reflectance.shape[:2]
        pixels = reflectance.reshape(n_bands, n_looks, -1).transpose(2, 0, 1)
        self.pixels = np.ascontiguousarray(pixels, dtype=np.int64)
        qa = np.where(is_clear, CFMASK_CLEAR, CFMASK_CLOUD).reshape(n_looks, -1).T
        self.qa = np.ascontiguousarray(qa, dtype=np.int64)
        self.dates = days.astype(np.int64) + dt.date(1970, 1, 1).toordinal()
        self.thermal = np.zeros(n_looks, dtype=np.int64)
        self.n_pixels = len(self.pixels)

    def work(self):
        n_breaks = 0
        for bands, qa in zip(self.pixels, self.qa):
            segments = cold_detect(self.dates, *bands, self.thermal, qa)
            n_breaks += any(segment["change_prob"] == COLD_BREAK for segment in segments)
        return n_breaks

    def run(self):
        return timed(self.work)


def peers(n_history, cold_rows):
    reflectance, classes, days = (np.load(f"{FOLDER}/{name}.npy") for name in ("reflectance", "classes", "days"))
    is_clear = np.isin(classes, CLEAR_CLASSES)
    red, nir = reflectance[RED].astype(np.float32), reflectance[NIR].astype(np.float32)
    ndvi = xr.DataArray(
        np.where(is_clear, (nir - red) / (nir + red), np.float32(np.nan)),
        dims=("time", "y", "x"),
        coords={
            "time": days.astype("M8[D]").astype("M8[ns]"),
            "y": np.arange(classes.shape[1], dtype=float)[::-1],
            "x": np.arange(classes.shape[2], dtype=float),
        },
    )
    print(
        f"{classes.shape[1]} × {classes.shape[2]} pixels, {len(days)} looks of which {n_history} are history, "
        f"{reflectance.shape[0]} bands, {100 * is_clear.mean():.1f} % clear, 2 % of the pixels dug up:\n"
    )
    # The robust fit weighs outliers down itself, so that EWMA's screen for them, a fit more, is left out.
    robust = {"method": "RIRLS", "screen_outliers": None}
    # One model for all: a level and two harmonics, as pitwatch has it.
    ewma = lambda: EWMA(trend=False, harmonic_order=2)  # noqa: E731
    iqr = lambda: IQR(trend=False, harmonic_order=2)  # noqa: E731
    return [
        Nrt("nrt EWMA, robust fit (RIRLS)", ewma, robust, ndvi, n_history),
        Cold(reflectance[:, :, :cold_rows], is_clear[:, :cold_rows], days),
        Nrt("nrt EWMA, least squares", ewma, {}, ndvi, n_history),
        Nrt("nrt IQR, least squares", iqr, {}, ndvi, n_history),
    ], len(days)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--program", required=True, help="the built example peers_cube")
    p.add_argument("--side", type=int, default=200, help="height and width of the cube in pixels")
    p.add_argument("--cold-rows", type=int, default=10, help="rows that COLD takes")
    p.add_argument("--rounds", type=int, default=3)
    a = p.parse_args()
    warnings.simplefilter("ignore")
    pitwatch = Pitwatch(a.program, a.side)
    others, n_looks = peers(pitwatch.n_history, a.cold_rows)
    methods = [pitwatch, *others]
    runs = {method: [] for method in methods}
    for _ in range(a.rounds):
        for method in methods:
            runs[method].append(method.run())

    def rate(method):
        return method.n_pixels * n_looks / min(cpu_s for cpu_s, _ in runs[method]) / 1e6

    print(
        "| method | bands | pixels | CPU s, least | CPU s, most | M pixel-dates per CPU s | pitwatch is × as fast "
        "| pixels with an alert |"
    )
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for method in methods:
        cpu = [cpu_s for cpu_s, _ in runs[method]]
        n_alerts = runs[method][0][1]
        print(
            f"| {method.name} | {method.bands} | {method.n_pixels:,} | {min(cpu):.2f} | {max(cpu):.2f} "
            f"| {rate(method):.3g} | {rate(pitwatch) / rate(method):.3g} | {100 * n_alerts / method.n_pixels:.1f} % |"
        )
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("nrt", "pycold", "numpy", "numba")]
    print(f"\n{', '.join(versions)}; {a.rounds} rounds.")


if __name__ == "__main__":
    main()
