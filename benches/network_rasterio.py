"""rasterio's part of benches/network.rs: reads windows with a pool of threads, a handle each.

usage: network_rasterio.py IN_FLIGHT DECODERS <WORK
WORK has a line a window: address, row, column, height, width. Prints wall seconds, CPU seconds and a checksum.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import rasterio
from rasterio.windows import Window

in_flight, decoders = int(sys.argv[1]), sys.argv[2]
work = [line.split(" ") for line in sys.stdin.read().splitlines()]
settings = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".tif",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "VSI_CACHE": "TRUE",
    "GDAL_NUM_THREADS": decoders,
}


def read(words):
    href, (row, col, height, width) = words[0], map(int, words[1:])
    with rasterio.Env(**settings), rasterio.open(href) as dataset:
        return dataset.read(1, window=Window(col, row, width, height))


with rasterio.Env(**settings):
    start, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(in_flight) as pool:
        planes = list(pool.map(read, work))
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu

pixels = np.concatenate([plane.ravel() for plane in planes]).astype(np.uint64)
weights = np.arange(pixels.size, dtype=np.uint64) % np.uint64(251) + np.uint64(1)
print(wall, cpu, int((pixels * weights).sum(dtype=np.uint64)))
