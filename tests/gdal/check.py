#!/usr/bin/python3
"""Read a run's output and the demo's mirrors with GDAL.

  /usr/bin/python3 tests/gdal/check.py RUN_FOLDER [MIRROR ...]

Every raster of RUN_FOLDER/rasters and of the mirrors has a valid COG layout, a CRS, a nodata value, and decodes whole; the rasters of the run
carry the notice in their tags. Every GeoJSON of the run opens with the columns and types of the design, geometries valid MultiPolygons in EPSG:4326.
Exit code 1 and one line for each fault. Needs Debian's python3-gdal.
"""

import glob, os, re, sys

from osgeo import gdal, ogr
from osgeo_utils.samples import validate_cloud_optimized_geotiff as cog

gdal.UseExceptions()
ogr.UseExceptions()

TEXT, REAL, WHOLE, TIME = {ogr.OFTString}, {ogr.OFTReal, ogr.OFTInteger, ogr.OFTInteger64}, {ogr.OFTInteger, ogr.OFTInteger64}, {ogr.OFTDateTime}
ALERTS = {
    **{c: TEXT for c in ("alert_id", "site_id", "area_id", "kind", "tier", "cause", "review", "notice")},
    **{c: REAL for c in ("probability", "area_ha", "area_ha_lo", "area_ha_hi", "min_detectable_ha")},
    **{c: REAL for c in ("ndvi_before", "ndvi_after", "bsi_before", "bsi_after")},
    **{c: TIME for c in ("start_datetime", "end_datetime", "confirmed_datetime")},
    **{c: WHOLE for c in ("n_clear_history", "n_clear_since")},
}
SITES = {"site_id": TEXT, "area_id": TEXT, "notice": TEXT}
RASTERS = {
    "state": ("Byte",),
    "alert_date": ("Int32",),
    "confirmed_date": ("Int32",),
    "confidence": ("Float32",),
    "clear_looks": ("UInt16",),
    "last_clear_date": ("Int32",),
    "before_rgb": ("Byte",) * 3,
    "after_rgb": ("Byte",) * 3,
}
faults = []


def raster(path, result):
    try:
        _, errors, _ = cog.validate(path, full_check=True)
        faults.extend(f"{path}: {e}" for e in errors)
        ds = gdal.Open(path)
        layout = ds.GetMetadataItem("LAYOUT", "IMAGE_STRUCTURE")
        if layout != "COG":
            faults.append(f"{path}: LAYOUT is {layout}, not COG")
        if not ds.GetProjection():
            faults.append(f"{path}: no CRS")
        types = tuple(gdal.GetDataTypeName(ds.GetRasterBand(i + 1).DataType) for i in range(ds.RasterCount))
        for i in range(ds.RasterCount):
            ds.GetRasterBand(i + 1).Checksum()
        if ds.GetRasterBand(1).GetNoDataValue() is None:
            faults.append(f"{path}: no nodata value")
        if result:
            name = next((n for n in RASTERS if path.endswith(f"_{n}.tif")), None)
            if name is None:
                faults.append(f"{path}: not a raster of the design")
            elif types != RASTERS[name]:
                faults.append(f"{path}: bands are {types}, not {RASTERS[name]}")
            if not any("Copernicus Sentinel data" in v for v in ds.GetMetadata().values()):
                faults.append(f"{path}: no tag holds the Copernicus notice")
            if name == "state" and ds.GetRasterBand(1).GetColorTable() is None:
                faults.append(f"{path}: no palette")
    except (RuntimeError, cog.ValidateCloudOptimizedGeoTIFFException) as e:
        faults.append(f"{path}: {e}")


def geojson(path, columns):
    try:
        ds = ogr.Open(path)
        layer = ds.GetLayer(0)
        count = layer.GetFeatureCount()
        if count == 0:
            return 0
        srs = layer.GetSpatialRef()
        if srs is None or srs.GetAuthorityCode(None) != "4326":
            faults.append(f"{path}: the CRS is not EPSG:4326")
        shape = ogr.GeometryTypeToName(layer.GetGeomType())
        if shape != "Multi Polygon":
            faults.append(f"{path}: geometries are {shape}, not Multi Polygon")
        types = {f.name: f.type for f in layer.schema}
        seen = set()
        for f in layer:
            seen |= {n for n in types if f.IsFieldSetAndNotNull(n)}
            if not f.GetGeometryRef().IsValid():
                faults.append(f"{path}: invalid geometry in feature {f.GetFID()}")
        if "id" in types:
            faults.append(f"{path}: a column is called id")
        for name, allowed in columns.items():
            if name not in types:
                faults.append(f"{path}: column {name} is missing")
            elif name in seen and types[name] not in allowed:
                faults.append(f"{path}: column {name} is read as {ogr.GetFieldTypeName(types[name])}")
        return count
    except RuntimeError as e:
        faults.append(f"{path}: {e}")
        return 0


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    run, mirrors = sys.argv[1], sys.argv[2:]
    rasters = sorted(glob.glob(os.path.join(run, "rasters", "*.tif")))
    areas = {re.sub(r"_\d+_[a-z_]+\.tif$", "", os.path.basename(p)) for p in rasters}
    for a in sorted(areas):
        have = {n for n in RASTERS for p in rasters if os.path.basename(p).startswith(a + "_") and p.endswith(f"_{n}.tif")}
        faults.extend(f"{run}: area {a} has no raster {n}" for n in RASTERS if n not in have)
    if not rasters:
        faults.append(f"{run}/rasters holds no raster")
    for p in rasters:
        raster(p, True)
    inputs = sorted(p for m in mirrors for p in glob.glob(os.path.join(m, "**", "*.tif"), recursive=True))
    for p in inputs:
        raster(p, False)
    counts = [f"{geojson(os.path.join(run, n), c)} in {n}" for n, c in (("alerts.geojson", ALERTS), ("sites.geojson", SITES))]
    print(f"GDAL reads {len(rasters)} rasters of the run, {len(inputs)} of the mirrors, and {', '.join(counts)}")
    for f in faults:
        print(f"GDAL check failed: {f}", file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
