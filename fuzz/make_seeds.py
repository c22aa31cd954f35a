"""Writes the TIFFs of seeds/tiff: one of each layout that is read, a few hundred bytes each.

/usr/bin/python3 fuzz/make_seeds.py    (GDAL for Python; the committed files were made with GDAL 3.6.2)
"""
import pathlib

import numpy as np
from osgeo import gdal, osr

gdal.UseExceptions()
FOLDER = pathlib.Path(__file__).parent / "seeds/tiff"
LAYOUTS = {
    "deflate-tiles-u16.tif": (gdal.GDT_UInt16, 40, 36, ["TILED=YES", "BLOCKXSIZE=16", "BLOCKYSIZE=16", "COMPRESS=DEFLATE", "PREDICTOR=2"]),
    "lzw-strips-u8.tif": (gdal.GDT_Byte, 30, 20, ["COMPRESS=LZW", "BLOCKYSIZE=7"]),
    "big-endian-i16.tif": (gdal.GDT_Int16, 12, 10, ["ENDIANNESS=BIG", "COMPRESS=LZW", "PREDICTOR=2"]),
    "bigtiff-plain-u16.tif": (gdal.GDT_UInt16, 10, 9, ["BIGTIFF=YES"]),
    "sparse-u8.tif": (gdal.GDT_Byte, 40, 36, ["TILED=YES", "BLOCKXSIZE=16", "BLOCKYSIZE=16", "SPARSE_OK=TRUE", "COMPRESS=DEFLATE"]),
}

FOLDER.mkdir(parents=True, exist_ok=True)
reference = osr.SpatialReference()
reference.ImportFromEPSG(32630)
for name, (kind, width, height, options) in LAYOUTS.items():
    dataset = gdal.GetDriverByName("GTiff").Create(str(FOLDER / name), width, height, 1, kind, options)
    dataset.SetProjection(reference.ExportToWkt())
    dataset.SetGeoTransform((205_000, 10, 0, 985_000, 0, -10))
    dataset.GetRasterBand(1).SetNoDataValue(0)
    rows, cols = np.mgrid[0:height, 0:width]
    pixels = (rows * 7 + cols * 3) % 200
    if name.startswith("sparse"):
        pixels[16:, :] = 0
    dataset.GetRasterBand(1).WriteArray(pixels)
