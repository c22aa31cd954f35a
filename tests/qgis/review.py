#!/usr/bin/python3
"""Edit a review in QGIS, off screen, as an analyst does in the attribute table, and save the layer.

  /usr/bin/python3 tests/qgis/review.py REVIEWS.geojson ALERT_ID REVIEW REASON REVIEWER

Exit code 1 and a message on stderr when the layer cannot be read, edited or saved. Needs Debian's python3-qgis.
"""

import os, sys, tempfile

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
RUNTIME = tempfile.TemporaryDirectory()  # mode 700
os.environ["XDG_RUNTIME_DIR"] = RUNTIME.name

from qgis.core import QgsApplication, QgsVectorLayer  # noqa: E402


def main(path, alert_id, review, reason, reviewer):
    layer = QgsVectorLayer(path, "reviews", "ogr")
    if not layer.isValid():
        return f"{path} is no valid layer"
    names = layer.fields().names()
    widget = layer.editorWidgetSetup(names.index("review")).type()
    if widget != "ValueMap":
        return f"review is edited with {widget}, not a choice: the style beside the layer was not taken"
    found = [feature for feature in layer.getFeatures() if feature["alert_id"] == alert_id]
    if len(found) != 1:
        return f"{len(found)} features are named {alert_id}"
    if not layer.startEditing():
        return "the layer cannot be edited"
    for column, value in (("review", review), ("reason", reason), ("reviewer", reviewer)):
        if not layer.changeAttributeValue(found[0].id(), names.index(column), value):
            return f"{column} cannot be changed"
    if not layer.commitChanges():
        return "; ".join(layer.commitErrors())
    return None


if __name__ == "__main__":
    application = QgsApplication([], False)
    application.initQgis()
    problem = main(*sys.argv[1:])
    if problem:
        print(problem, file=sys.stderr)
    # Without tearing down: the exit handlers of QGIS may crash after all is done.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1 if problem else 0)
