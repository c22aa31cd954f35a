"""Two libraries of other authors read what a run wrote for the statistics engine.

  check.py BINARY OUT     runs BINARY on the demo's pits as if they lay in Séguéla, into OUT

pysdmx and sdmx1 must read the structure, and every row of the observations against it. Neither checks codes, periods or required
attributes: pitwatch does that itself before it writes.
"""

import csv, json, os, shutil, subprocess, sys

import sdmx
from pysdmx.io import get_datasets, read_sdmx

DATAFLOW = "DF_PITWATCH"


ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def pipeline():
    """The demo with the table [capacity] of northern Côte d'Ivoire; paths are absolute."""
    read = lambda name: open(os.path.join(ROOT, "pipelines", name)).read()
    demo, model = read("demo.toml"), read("cote-divoire-north.toml")
    capacity = model[model.index("[capacity]") : model.index("[skill]")].replace('"priors.toml"', f'"{ROOT}/pipelines/priors.toml"')
    areas = f'[[areas]]\nid = "civ-seguela"\nfile = "{ROOT}/aoi/demo-pits.geojson"\ncatalog = "{ROOT}/pipelines/demo/pits"\n\n'
    rest = demo[demo.index("[scenes]") :].replace("[skill]", capacity + "\n[skill]", 1)
    return f'reported_file = "{ROOT}/pipelines/reported.csv"\n\n{areas}{rest}'


def main():
    binary, out = sys.argv[1:]
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    with open(os.path.join(out, "pipeline.toml"), "w") as f:
        f.write(pipeline())
    subprocess.run([binary, "run", os.path.join(out, "pipeline.toml"), "--out", out, "--offline", "--quiet"], check=True, stdout=subprocess.DEVNULL)
    run = os.path.join(out, json.load(open(os.path.join(out, "latest.json")))["path"])
    structure, observations = (os.path.join(run, name) for name in ("structure.xml", "observations.csv"))
    with open(observations, newline="") as f:
        n_rows = len(list(csv.DictReader(f)))
    assert n_rows > 0, f"{observations} has no row"

    message = read_sdmx(structure, validate=True)
    assert [d.id for d in message.get_dataflows()] == [DATAFLOW]
    (dataset,) = get_datasets(observations, structure)
    assert len(dataset.data) == n_rows, (len(dataset.data), n_rows)
    dimensions = [c.id for c in message.get_data_structure_definitions()[0].components.dimensions]
    assert not dataset.data.duplicated(dimensions).any()

    other = sdmx.read_sdmx(structure)
    assert list(other.dataflow) == [DATAFLOW]
    (definition,) = other.structure.values()
    data = sdmx.read_sdmx(observations, structure=definition).data[0]
    assert len(data.obs) == n_rows, (len(data.obs), n_rows)
    print(f"pysdmx and sdmx1 read {n_rows} observations of {len(dimensions)} dimensions")


if __name__ == "__main__":
    main()
