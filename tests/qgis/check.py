#!/usr/bin/python3
"""Open a run's output in QGIS, off screen, and look whether the alerts are drawn.

  /usr/bin/python3 tests/qgis/check.py RUN_FOLDER OUT.png [--picture] [--size 900x500]

RUN_FOLDER is OUT/runs/RUN_ID. Checked: alerts.geojson, sites.geojson and every raster of rasters/ are valid layers with a valid CRS;
alerts.geojson took its style from alerts.qml (categorised, every feature in a category); the state rasters have a palette; and where the
alerts are switched on over after_rgb, pixels change to each category's colour. The map is in the raster's CRS and is written to OUT.png.
Of assessments.geojson, where there is one, each area has one label at most, of its newest period, and no two labels overlap.
--picture adds the key and the notice below the map, and keeps the file under 200 kB.
Exit code 1 and a message on stderr when something is wrong. Needs Debian's python3-qgis.
"""

import argparse, glob, os, re, sys, tempfile

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
RUNTIME = tempfile.TemporaryDirectory()  # mode 700
os.environ["XDG_RUNTIME_DIR"] = RUNTIME.name

from qgis.PyQt.QtCore import QRectF, QSize, Qt  # noqa: E402
from qgis.PyQt.QtGui import QColor, QFont, QImage, QPainter, QPen  # noqa: E402
from qgis.core import (  # noqa: E402
    QgsApplication,
    QgsCoordinateTransformContext,
    QgsExpressionContext,
    QgsExpressionContextUtils,
    QgsGeometry,
    QgsMapRendererSequentialJob,
    QgsMapSettings,
    QgsRasterLayer,
    QgsRectangle,
    QgsRenderContext,
    QgsUnitTypes,
    QgsVectorLayer,
    QgsVectorLayerSimpleLabeling,
)

LEAST_PIXELS = 5  # of each category's colour
NEAR = 24  # per channel: a stroke beside a fill and the rounding of an alpha
MOST_BYTES = 200_000


class Wrong(Exception):
    pass


def need(ok, message):
    if not ok:
        raise Wrong(message)


def vector(path):
    need(os.path.exists(path), f"{path} is missing")
    layer = QgsVectorLayer(path, os.path.splitext(os.path.basename(path))[0], "ogr")
    need(layer.isValid(), f"{path}: QGIS does not open it")
    if layer.featureCount():
        need(layer.crs().isValid() and layer.crs().toWkt(), f"{path}: no valid CRS")
        bad = [f.id() for f in layer.getFeatures() if not f.geometry().isGeosValid()]
        need(not bad, f"{path}: invalid geometry in features {bad[:5]}")
    return layer


def raster(path):
    layer = QgsRasterLayer(path, os.path.splitext(os.path.basename(path))[0])
    need(layer.isValid(), f"{path}: QGIS does not open it")
    need(layer.crs().isValid() and layer.crs().toWkt(), f"{path}: no valid CRS")
    need(not layer.extent().isEmpty(), f"{path}: empty extent")
    if path.endswith("_state.tif"):
        need(layer.renderer().type() == "paletted", f"{path}: drawn as {layer.renderer().type()}, not with its palette")
    return layer


def render(layers, crs, extent, size):
    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setDestinationCrs(crs)
    settings.setTransformContext(QgsCoordinateTransformContext())
    settings.setExtent(extent)
    settings.setOutputSize(QSize(*size))
    settings.setBackgroundColor(QColor(255, 255, 255))
    job = QgsMapRendererSequentialJob(settings)
    job.start()
    job.waitForFinished()
    errors = [e.message for e in job.errors()]
    need(not errors, f"rendering: {errors}")
    return job.renderedImage().convertToFormat(QImage.Format_RGB32)


def inks(symbol, layer):
    """The colours a polygon symbol draws with, each with its opacity from 0 to 1."""
    out = []
    for part in symbol.symbolLayers():
        if not part.enabled():
            continue
        opacity = symbol.opacity() * layer.opacity()
        if hasattr(part, "brushStyle") and part.brushStyle() != Qt.NoBrush:
            out.append((part.fillColor(), part.fillColor().alphaF() * opacity))
        if hasattr(part, "strokeStyle") and part.strokeStyle() != Qt.NoPen:
            out.append((part.strokeColor(), part.strokeColor().alphaF() * opacity))
        if not hasattr(part, "brushStyle") and not hasattr(part, "strokeStyle"):  # a line as outline
            out.append((part.color(), part.color().alphaF() * opacity))
    return [(c, a) for c, a in out if a > 0.05]


def used_categories(layer):
    """{index: number of features} of the categories that the features fall into."""
    renderer = layer.renderer()
    context = QgsRenderContext()
    scope = QgsExpressionContext(QgsExpressionContextUtils.globalProjectLayerScopes(layer))
    context.setExpressionContext(scope)
    renderer.startRender(context, layer.fields())
    used = {}
    for f in layer.getFeatures():
        scope.setFeature(f)
        context.setExpressionContext(scope)
        keys = renderer.legendKeysForFeature(f, context)
        need(keys, f"alerts.geojson: feature {f['alert_id']} falls into no category of alerts.qml")
        for k in keys:
            used[k] = used.get(k, 0) + 1
    renderer.stopRender(context)
    items = {i.ruleKey(): i for i in renderer.legendSymbolItems()}
    return {k: (items[k], n) for k, n in used.items()}


def rgb(image):
    w, h = image.width(), image.height()
    bits = image.constBits()
    bits.setsize(w * h * 4)
    b = bytes(bits)
    return b, w, h


def count_ink(off, on, symbol_inks):
    """Pixels that changed from `off` to what one of the inks over `off` gives."""
    a, w, h = rgb(off)
    b, _, _ = rgb(on)
    n = 0
    for i in range(0, w * h * 4, 4):
        if a[i : i + 3] == b[i : i + 3]:
            continue
        for colour, alpha in symbol_inks:
            want = [v * alpha + a[i + j] * (1 - alpha) for j, v in enumerate((colour.blue(), colour.green(), colour.red()))]
            if max(abs(want[j] - b[i + j]) for j in range(3)) <= NEAR:
                n += 1
                break
    return n


def fit(extent, size, margin=1.02):
    """The extent widened to the shape of the picture."""
    w, h = extent.width() * margin, extent.height() * margin
    w, h = max(w, h * size[0] / size[1]), max(h, w * size[1] / size[0])
    c = extent.center()
    return QgsRectangle(c.x() - w / 2, c.y() - h / 2, c.x() + w / 2, c.y() + h / 2)


def legible(layer):
    """Small labels with a white edge, for a picture of a few hundred pixels."""
    labeling = layer.labeling()
    if not isinstance(labeling, QgsVectorLayerSimpleLabeling):
        return
    settings = labeling.settings()
    form = settings.format()
    form.setFont(QFont("DejaVu Sans"))
    form.setSizeUnit(QgsUnitTypes.RenderPoints)
    form.setSize(6.5)
    form.setColor(QColor(0, 0, 0))
    edge = form.buffer()
    edge.setEnabled(True)
    edge.setSizeUnit(QgsUnitTypes.RenderMillimeters)
    edge.setSize(0.5)
    edge.setColor(QColor(255, 255, 255))
    form.setBuffer(edge)
    settings.setFormat(form)
    layer.setLabeling(QgsVectorLayerSimpleLabeling(settings))


def with_titles(image, rasters, extent):
    """The name of each area in the upper left corner of its raster."""
    p = QPainter(image)
    p.setFont(QFont("DejaVu Sans", 9, QFont.Bold))
    zoom = image.width() / extent.width()
    for r in rasters:
        x, y = (r.extent().xMinimum() - extent.xMinimum()) * zoom, (extent.yMaximum() - r.extent().yMaximum()) * zoom
        name = re.sub(r"_\d+_[a-z_]+$", "", r.name())
        p.fillRect(QRectF(x, y, p.fontMetrics().horizontalAdvance(name) + 12, 20), QColor(255, 255, 255))
        p.setPen(QColor(0, 0, 0))
        p.drawText(int(x) + 6, int(y) + 14, name)
    p.end()


def with_key(image, used, notice, extent, crs):
    """The map with a scale bar, the key of the categories in use and the notice below it."""
    strip = 52
    out = QImage(image.width(), image.height() + strip, QImage.Format_RGB32)
    out.fill(QColor(255, 255, 255))
    p = QPainter(out)
    p.setRenderHint(QPainter.Antialiasing)
    p.drawImage(0, 0, image)
    p.setFont(QFont("DejaVu Sans", 9))
    x, y = 10, image.height() + 8
    for item, n in used.values():
        colours = inks_of_item(item)
        p.setPen(QPen(colours[-1], 2))
        p.setBrush(colours[0])
        p.drawRect(QRectF(x, y + 2, 16, 12))
        p.setPen(QColor(0, 0, 0))
        text = f"{item.label()} ({n})"
        p.drawText(int(x) + 22, y + 13, text)
        x += 22 + p.fontMetrics().horizontalAdvance(text) + 18
    if crs.mapUnits() == QgsUnitTypes.DistanceMeters:
        metres = next((m for m in (5000, 2000, 1000, 500, 200, 100) if m / extent.width() < 0.2), 50)
        length = metres / extent.width() * image.width()
        p.setPen(QPen(QColor(0, 0, 0), 2))
        right, low = image.width() - 12, image.height() + 24
        p.drawLine(int(right - length), low, right, low)
        p.setFont(QFont("DejaVu Sans", 8))
        p.drawText(QRectF(right - length, low - 17, length, 15), Qt.AlignHCenter, f"{metres} m")
    p.setFont(QFont("DejaVu Sans", 8))
    p.setPen(QColor(80, 80, 80))
    p.drawText(10, image.height() + strip - 9, notice)
    p.end()
    return out


def inks_of_item(item):
    symbol = item.symbol()
    part = symbol.symbolLayer(0)
    fill = part.fillColor() if hasattr(part, "brushStyle") and part.brushStyle() != Qt.NoBrush else QColor(255, 255, 255)
    stroke = part.strokeColor() if hasattr(part, "strokeStyle") and part.strokeStyle() != Qt.NoPen else symbol.color()
    return fill, stroke


def save(image, path, most=None):
    image.save(path, "PNG", 0)
    if most and os.path.getsize(path) > most:
        image.convertToFormat(QImage.Format_Indexed8, Qt.DiffuseDither).save(path, "PNG", 0)
        if os.path.getsize(path) > most:
            image.convertToFormat(QImage.Format_Indexed8, Qt.ThresholdDither).save(path, "PNG", 0)
        need(os.path.getsize(path) <= most, f"{path}: {os.path.getsize(path)} bytes, more than {most}: take a smaller --size")


def check_assessments(path):
    """One label an area at most, of its newest period, and no label on another, at several scales and sizes."""
    layer = vector(path)
    need(layer.renderer().type() == "categorizedSymbol", "assessments.geojson: assessments.qml was not applied")
    newest = {}
    for f in layer.getFeatures():
        newest[f["area_id"]] = max(newest.get(f["area_id"], ""), str(f["period"]))
    drawn = 0
    for size in ((900, 500), (300, 200)):
        for zoom in (1.2, 3, 10):
            settings = QgsMapSettings()
            settings.setLayers([layer])
            settings.setDestinationCrs(layer.crs())
            extent = QgsRectangle(layer.extent())
            extent.scale(zoom)
            settings.setExtent(extent)
            settings.setOutputSize(QSize(*size))
            settings.setFlag(QgsMapSettings.DrawLabeling, True)
            job = QgsMapRendererSequentialJob(settings)
            job.start()
            job.waitForFinished()
            labels = job.takeLabelingResults().allLabels()
            drawn += len(labels)
            for label in labels:
                area, rest = label.labelText.split(" ", 1)
                need(rest.startswith(newest[area] + ":"), f"assessments.geojson: the label {label.labelText} is not of the newest period")
            areas = [label.labelText.split(" ")[0] for label in labels]
            need(len(set(areas)) == len(areas), f"assessments.geojson: an area has several labels: {areas}")
            boxes = [QgsGeometry.fromRect(label.labelRect) for label in labels]
            for i, box in enumerate(boxes):
                need(not any(box.intersects(other) for other in boxes[:i]), "assessments.geojson: labels overlap")
    need(drawn, "assessments.geojson: no label is drawn")
    return drawn


def check(folder, picture, as_picture, size):
    alerts = vector(os.path.join(folder, "alerts.geojson"))
    sites = vector(os.path.join(folder, "sites.geojson"))
    files = sorted(glob.glob(os.path.join(folder, "rasters", "*.tif")))
    need(files, f"{folder}/rasters holds no raster")
    rasters = {os.path.basename(f): raster(f) for f in files}
    need(alerts.featureCount() > 0, "alerts.geojson holds no alert: nothing to draw")
    need(os.path.exists(os.path.join(folder, "alerts.qml")), "alerts.qml is missing")
    kind = alerts.renderer().type()
    need(kind == "categorizedSymbol", f"alerts.geojson is drawn as {kind}: alerts.qml was not applied")
    need("alert_id" in alerts.fields().names(), "alerts.geojson has no column alert_id")
    used = used_categories(alerts)

    after = [r for name, r in rasters.items() if name.endswith("_after_rgb.tif")]
    need(after, "no raster *_after_rgb.tif")
    crs = after[0].crs()
    same = [r for r in after if r.crs() == crs]
    # Each area on its own, large enough that the smallest alert is several pixels wide.
    counts = {k: 0 for k in used}
    for r in after:
        w, h = r.extent().width(), r.extent().height()
        zoom = 800 / max(w, h)
        box = (max(1, round(w * zoom)), max(1, round(h * zoom)))
        extent = fit(r.extent(), box, 1.0)
        alerts.setLabelsEnabled(False)
        off = render([r], r.crs(), extent, box)
        on = render([alerts, r], r.crs(), extent, box)
        for k, (item, _) in used.items():
            counts[k] += count_ink(off, on, inks(item.symbol(), alerts))
    alerts.setLabelsEnabled(True)
    for k, (item, n) in used.items():
        need(counts[k] >= LEAST_PIXELS, f"category \"{item.label()}\": {n} alerts, but {counts[k]} pixels of its colour in the picture")

    assessments = os.path.join(folder, "assessments.geojson")
    if os.path.exists(assessments) and vector(assessments).featureCount():
        check_assessments(assessments)

    union = QgsRectangle(same[0].extent())
    for r in same[1:]:
        union.combineExtentWith(r.extent())
    if union.area() > 6 * sum(r.extent().area() for r in same):  # areas far apart: the first one alone
        union = QgsRectangle(same[0].extent())
    extent = fit(union, size)
    if as_picture:
        legible(alerts)
    image = render([alerts, *same], crs, extent, size)
    if as_picture:
        with_titles(image, same, extent)
        notice = next((f["notice"] for f in alerts.getFeatures() if "notice" in alerts.fields().names() and f["notice"]), "")
        image = with_key(image, used, str(notice), extent, crs)
    save(image, picture, MOST_BYTES if as_picture else None)
    drawn = ", ".join(f"{item.label()}: {n} alerts, {counts[k]} pixels" for k, (item, n) in used.items())
    print(f"QGIS opens {alerts.featureCount()} alerts, {sites.featureCount()} sites and {len(rasters)} rasters; {drawn}; {picture}")


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("folder")
    p.add_argument("png")
    p.add_argument("--picture", action="store_true", help="with key and notice, under 200 kB, for the README")
    p.add_argument("--size", default="900x500", help="of the map in pixels")
    a = p.parse_args()
    app = QgsApplication([], False)
    app.initQgis()
    code = 0
    try:
        check(a.folder, a.png, a.picture, [int(v) for v in a.size.split("x")])
    except Wrong as e:
        print(f"QGIS check failed: {e}", file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # QGIS may crash while it takes down its layers


if __name__ == "__main__":
    main()
