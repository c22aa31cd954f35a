#!/usr/bin/env python3
"""generator.py with jittered parameters of the site: another season, cover, cloud, fire, share of fields and soils in each seed.

  jittered.py OUT --seed 10 --site ci|zw|romania [--size 400] [--cogs]

The parameters are drawn from the seed, so a scene is as repeatable as the generator's own. `romania` has a real background and no
parameters of a season; there the scene is the generator's own.
"""

import sys

import numpy as np

import generator

# Standard deviations of what is drawn about each site's value: days added, and ln of factors.
PEAK_DAYS = 15
FACTORS = dict(k=0.15, tc=0.2, gc=0.08, cw=0.05, cd=0.3, burn=0.3, cropf=0.2)
# Bounds of shares, so that no ground has more cover than there is and no season is without a clear look.
BOUNDS = dict(gc=(0.3, 0.95), cw=(0.5, 0.95), cd=(0.05, 0.5), burn=(0.05, 0.8), cropf=(0.05, 0.3))
# Share of the seeds whose soils are those of all of Africa rather than those measured near the site.
OTHER_SOILS = 1 / 3


def jittered(site, name, seed):
    """The site's parameters with what the seed draws."""
    draw = np.random.default_rng([seed, sum(map(ord, name)), 1])
    site = dict(site)
    if "peak" not in site:
        return site
    shift = int(round(draw.normal(0, PEAK_DAYS)))
    site["peak"] += shift
    site["fire"] = tuple(day + shift for day in site["fire"])
    for key, spread in FACTORS.items():
        site[key] *= float(np.exp(draw.normal(0, spread)))
        site[key] = float(np.clip(site[key], *BOUNDS.get(key, (-np.inf, np.inf))))
    if draw.random() < OTHER_SOILS:
        site["soil"] = "soil_af"
    return site


def main():
    seed = int(sys.argv[sys.argv.index("--seed") + 1])
    for name, site in generator.SITE.items():
        generator.SITE[name] = jittered(site, name, seed)
    generator.main()


if __name__ == "__main__":
    main()
