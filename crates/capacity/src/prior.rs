use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use crate::{Error, Flag, Result};

/// The 95 % quantile of the standard normal distribution.
pub(crate) const Z95: f64 = 1.644_853_626_951_472_2;

/// A factor of one of the routes from ground to carats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Factor {
    /// T: thickness of the gravel, m.
    GravelThickness,
    /// φ: share of the disturbed area that is dug down to gravel.
    DugShare,
    /// ξ: share of the gravel that is taken out.
    ExtractedShare,
    /// G: grade, ct in a m³ of gravel.
    Grade,
    /// R: share of the diamonds that washing recovers.
    Recovery,
    /// Thickness of what lies on the gravel, m; enters no formula of area, but says what a depth means.
    Overburden,
    /// s: share of the pits dug for diamonds and not for gold.
    DiamondShare,
    /// Gravel in a volume of all that is dug.
    GravelFraction,
    /// Miners at work.
    Miners,
    /// Days that a miner digs, d/yr.
    Days,
    /// Gravel that a miner moves in a day, m³/d.
    GravelPerMinerDay,
}

impl Factor {
    /// The key in the file.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::GravelThickness => "gravel_thickness",
            Self::DugShare => "dug_share",
            Self::ExtractedShare => "extracted_share",
            Self::Grade => "grade",
            Self::Recovery => "recovery",
            Self::Overburden => "overburden",
            Self::DiamondShare => "diamond_share",
            Self::GravelFraction => "gravel_fraction",
            Self::Miners => "miners",
            Self::Days => "days",
            Self::GravelPerMinerDay => "gravel_per_miner_day",
        }
    }

    /// The unit that the file must state.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::GravelThickness | Self::Overburden => "m",
            Self::Grade => "ct/m3",
            Self::Miners => "people",
            Self::Days => "d/yr",
            Self::GravelPerMinerDay => "m3/d",
            _ => "1",
        }
    }

    const fn is_share(self) -> bool {
        matches!(
            self,
            Self::DugShare
                | Self::ExtractedShare
                | Self::Recovery
                | Self::DiamondShare
                | Self::GravelFraction
        )
    }
}

/// What is known of a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// Lognormal, by the values below which 5 % and 95 % lie; both above 0.
    Lognormal {
        /// 5 % lie below.
        p5: f64,
        /// 95 % lie below.
        p95: f64,
    },
    /// Triangular.
    Triangular {
        /// Least value.
        lo: f64,
        /// Likeliest value.
        mode: f64,
        /// Greatest value.
        hi: f64,
    },
    /// Uniform.
    Uniform {
        /// Least value.
        lo: f64,
        /// Greatest value.
        hi: f64,
    },
    /// Beta on 0 to 1.
    Beta {
        /// First shape parameter, above 0.
        alpha: f64,
        /// Second shape parameter, above 0.
        beta: f64,
    },
    /// One value, taken as exact.
    Fixed(f64),
}

impl Distribution {
    /// The range outside which at most 5 % lie at either end; the whole range where it is bounded.
    #[must_use]
    pub fn range(self) -> (f64, f64) {
        match self {
            Self::Lognormal { p5, p95 } => (p5, p95),
            Self::Triangular { lo, hi, .. } | Self::Uniform { lo, hi } => (lo, hi),
            Self::Beta { .. } => (0.0, 1.0),
            Self::Fixed(value) => (value, value),
        }
    }

    /// The same distribution with every value multiplied; `None` for a beta, which is bound to 0 to 1.
    #[must_use]
    pub fn scaled(self, by: f64) -> Option<Self> {
        Some(match self {
            Self::Lognormal { p5, p95 } => Self::Lognormal {
                p5: p5 * by,
                p95: p95 * by,
            },
            Self::Triangular { lo, mode, hi } => Self::Triangular {
                lo: lo * by,
                mode: mode * by,
                hi: hi * by,
            },
            Self::Uniform { lo, hi } => Self::Uniform {
                lo: lo * by,
                hi: hi * by,
            },
            Self::Fixed(value) => Self::Fixed(value * by),
            Self::Beta { .. } => return None,
        })
    }

    fn is_valid(self) -> bool {
        match self {
            Self::Lognormal { p5, p95 } => 0.0 < p5 && p5 < p95 && p95.is_finite(),
            Self::Triangular { lo, mode, hi } => {
                0.0 <= lo && lo <= mode && mode <= hi && lo < hi && hi.is_finite()
            }
            Self::Uniform { lo, hi } => 0.0 <= lo && lo < hi && hi.is_finite(),
            Self::Beta { alpha, beta } => {
                alpha > 0.0 && beta > 0.0 && alpha.is_finite() && beta.is_finite()
            }
            Self::Fixed(value) => value >= 0.0 && value.is_finite(),
        }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lognormal { p5, p95 } => write!(formatter, "lognormal, P5 {p5}, P95 {p95}"),
            Self::Triangular { lo, mode, hi } => {
                write!(formatter, "triangular {lo}, {mode}, {hi}")
            }
            Self::Uniform { lo, hi } => write!(formatter, "uniform {lo} to {hi}"),
            Self::Beta { alpha, beta } => write!(formatter, "beta {alpha}, {beta}"),
            Self::Fixed(value) => write!(formatter, "{value}"),
        }
    }
}

/// How well a prior is backed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceClass {
    /// Measured on the ground it is used for.
    Measured,
    /// Published for this or like ground.
    Literature,
    /// Proposed by someone who knows such ground, on stated grounds.
    Expert,
    /// A stand-in until someone knows.
    Placeholder,
}

/// One prior: what is known of one factor, and who says so.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "RawPrior")]
pub struct Prior {
    /// What is known.
    pub distribution: Distribution,
    /// Its unit: `ct/m3`.
    pub unit: String,
    /// Who says so; empty = nobody.
    pub source: String,
    /// How well it is backed.
    pub class: SourceClass,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPrior {
    lognormal: Option<[f64; 2]>,
    triangular: Option<[f64; 3]>,
    uniform: Option<[f64; 2]>,
    beta: Option<[f64; 2]>,
    fixed: Option<f64>,
    unit: String,
    #[serde(default)]
    source: String,
    class: SourceClass,
}

impl TryFrom<RawPrior> for Prior {
    type Error = String;

    fn try_from(raw: RawPrior) -> std::result::Result<Self, String> {
        let mut given = [
            raw.lognormal
                .map(|[p5, p95]| Distribution::Lognormal { p5, p95 }),
            raw.triangular
                .map(|[lo, mode, hi]| Distribution::Triangular { lo, mode, hi }),
            raw.uniform.map(|[lo, hi]| Distribution::Uniform { lo, hi }),
            raw.beta
                .map(|[alpha, beta]| Distribution::Beta { alpha, beta }),
            raw.fixed.map(Distribution::Fixed),
        ]
        .into_iter()
        .flatten();
        let (Some(distribution), None) = (given.next(), given.next()) else {
            return Err("write exactly one of lognormal = [P5, P95], triangular = [least, mode, greatest], \
                 uniform = [least, greatest], beta = [alpha, beta] or fixed = value"
                .into());
        };
        if !distribution.is_valid() {
            return Err(format!(
                "{distribution}: the values must be finite, in order and not negative (lognormal and beta: above 0)"
            ));
        }
        Ok(Self {
            distribution,
            unit: raw.unit,
            source: raw.source,
            class: raw.class,
        })
    }
}

/// The priors of one kind of ground.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Deposit {
    /// True if the grade is one of carats recovered by such washing: then recovery is 1, not to discount twice.
    #[serde(default)]
    pub grade_is_recovered: bool,
    /// The factors.
    #[serde(flatten)]
    pub factors: BTreeMap<Factor, Prior>,
}

/// A published capacity or plant throughput.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Documented {
    /// Carats in a year; or
    pub carats: Option<Prior>,
    /// tonnes in an hour,
    pub throughput: Option<Prior>,
    /// hours in a year,
    pub hours: Option<Prior>,
    /// and carats in a tonne.
    pub grade_per_tonne: Option<Prior>,
    /// First year that it speaks of.
    pub from_year: i32,
    /// Last year that it speaks of.
    pub until_year: i32,
    /// Where it was published.
    pub citation: String,
}

/// The priors of one area.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct AreaPriors {
    /// ISO 3166-1 alpha-3.
    pub country: String,
    /// Its kind of ground, a name under `[deposit]`; `None` = there is none that area speaks of.
    pub deposit: Option<String>,
    /// Why area says nothing of carats here: shafts, in-river dredging, industrial plants.
    pub not_by_area: Option<String>,
    /// True where most pits are dug for gold: without a diamond share there is no number from area.
    #[serde(default)]
    pub is_gold_dominated: bool,
    /// Published capacities.
    #[serde(default)]
    pub documented: Vec<Documented>,
    /// Factors that differ from those of the deposit.
    #[serde(flatten)]
    pub factors: BTreeMap<Factor, Prior>,
}

/// The priors of one country: published capacities.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountryPriors {
    /// Published capacities.
    #[serde(default)]
    pub documented: Vec<Documented>,
}

/// The range in which a factor is plausible.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plausible {
    /// Least and greatest plausible value, in the factor's unit.
    pub range: [f64; 2],
    /// Who says so.
    pub source: String,
}

/// Values of the user that take the place of those in the priors file: the table `[capacity.priors]` of a pipeline.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overrides {
    /// By deposit.
    #[serde(default)]
    pub deposit: BTreeMap<String, BTreeMap<Factor, Prior>>,
    /// By area.
    #[serde(default)]
    pub area: BTreeMap<String, BTreeMap<Factor, Prior>>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct PriorsFile {
    version: String,
    plausible: BTreeMap<Factor, Plausible>,
    deposit: BTreeMap<String, Deposit>,
    area: BTreeMap<String, AreaPriors>,
    #[serde(default)]
    country: BTreeMap<String, CountryPriors>,
}

/// The priors of a run: the priors file with the user's overrides.
#[derive(Debug, Clone, PartialEq)]
pub struct Priors {
    file: PriorsFile,
    overridden: BTreeMap<String, (String, String)>,
}

/// One factor as it is used.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen<'a> {
    /// Its path: `deposit.birim.grade`.
    pub path: String,
    /// The prior.
    pub prior: &'a Prior,
}

impl Priors {
    /// Reads a priors file and lays the user's values over it.
    ///
    /// # Errors
    ///
    /// If the text is not a priors file, a unit is wrong, a share exceeds 1, an area names a deposit that is not there,
    /// or an override names a deposit or area that is not there.
    pub fn parse(text: &str, overrides: &Overrides) -> Result<Self> {
        let file: PriorsFile = toml::from_str(text).map_err(|error| Error::Priors {
            message: error.to_string(),
        })?;
        let mut priors = Self {
            file,
            overridden: BTreeMap::new(),
        };
        priors.check()?;
        priors.lay_over(overrides)?;
        priors.check()?;
        Ok(priors)
    }

    /// The version of the file.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.file.version
    }

    /// The areas, by id.
    #[must_use]
    pub fn areas(&self) -> &BTreeMap<String, AreaPriors> {
        &self.file.area
    }

    /// The kinds of ground, by name.
    #[must_use]
    pub fn deposits(&self) -> &BTreeMap<String, Deposit> {
        &self.file.deposit
    }

    /// The published capacities of a country as a whole.
    #[must_use]
    pub fn country_documented(&self, country: &str) -> &[Documented] {
        self.file
            .country
            .get(country)
            .map_or(&[], |country| &country.documented)
    }

    /// The prior of a factor in an area, on a kind of ground: the area's own, else the ground's.
    #[must_use]
    pub fn choose(
        &self,
        area_id: &str,
        deposit: Option<&str>,
        factor: Factor,
    ) -> Option<Chosen<'_>> {
        let of_area = self
            .file
            .area
            .get(area_id)
            .and_then(|area| area.factors.get(&factor));
        if let Some(prior) = of_area {
            return Some(Chosen {
                path: format!("area.{area_id}.{}", factor.key()),
                prior,
            });
        }
        let name = deposit?;
        let prior = self.file.deposit.get(name)?.factors.get(&factor)?;
        Some(Chosen {
            path: format!("deposit.{name}.{}", factor.key()),
            prior,
        })
    }

    /// What a reader must know of a prior that was used.
    pub(crate) fn flags_of(&self, factor: Factor, chosen: &Chosen<'_>) -> Vec<Flag> {
        let path = || chosen.path.clone();
        let mut flags = Vec::new();
        if chosen.prior.class == SourceClass::Placeholder {
            flags.push(Flag::PlaceholderPrior { path: path() });
        }
        if chosen.prior.source.trim().is_empty() {
            flags.push(Flag::UnsourcedPrior { path: path() });
        }
        if let Some(plausible) = self.file.plausible.get(&factor) {
            let (lo, hi) = chosen.prior.distribution.range();
            let [least, greatest] = plausible.range;
            if lo < least || hi > greatest {
                flags.push(Flag::ImplausiblePrior {
                    path: path(),
                    range: format!("{least} to {greatest} {}", factor.unit()),
                });
            }
        }
        if let Some((was, is)) = self.overridden.get(&chosen.path) {
            flags.push(Flag::OverriddenPrior {
                path: path(),
                was: was.clone(),
                is: is.clone(),
            });
        }
        flags
    }

    fn lay_over(&mut self, overrides: &Overrides) -> Result<()> {
        let words = |prior: &Prior| {
            let source = if prior.source.trim().is_empty() {
                "no source"
            } else {
                &prior.source
            };
            format!("{} {} ({source})", prior.distribution, prior.unit)
        };
        let unknown = |path: String| Error::Priors {
            message: format!("{path} is overridden, but the priors file has no such table"),
        };
        // Areas first: what an area's value was may be the deposit's, as the file has it.
        for (area_id, factors) in &overrides.area {
            let deposit = self
                .file
                .area
                .get(area_id)
                .ok_or_else(|| unknown(format!("area.{area_id}")))?
                .deposit
                .clone();
            for (&factor, prior) in factors {
                let was = self
                    .choose(area_id, deposit.as_deref(), factor)
                    .map_or_else(|| "nothing".to_owned(), |chosen| words(chosen.prior));
                let path = format!("area.{area_id}.{}", factor.key());
                self.overridden.insert(path, (was, words(prior)));
                if let Some(area) = self.file.area.get_mut(area_id) {
                    area.factors.insert(factor, prior.clone());
                }
            }
        }
        for (name, factors) in &overrides.deposit {
            let deposit = self
                .file
                .deposit
                .get_mut(name)
                .ok_or_else(|| unknown(format!("deposit.{name}")))?;
            for (&factor, prior) in factors {
                let was = deposit
                    .factors
                    .insert(factor, prior.clone())
                    .map_or_else(|| "nothing".to_owned(), |was| words(&was));
                let path = format!("deposit.{name}.{}", factor.key());
                self.overridden.insert(path, (was, words(prior)));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let deposits = self.file.deposit.iter().flat_map(|(name, deposit)| {
            deposit
                .factors
                .iter()
                .map(move |(factor, prior)| (format!("deposit.{name}"), *factor, prior))
        });
        let areas = self.file.area.iter().flat_map(|(id, area)| {
            area.factors
                .iter()
                .map(move |(factor, prior)| (format!("area.{id}"), *factor, prior))
        });
        for (table, factor, prior) in deposits.chain(areas) {
            let path = format!("{table}.{}", factor.key());
            if prior.unit != factor.unit() {
                return Err(Error::Priors {
                    message: format!(
                        "{path} has unit {:?}; write {:?}",
                        prior.unit,
                        factor.unit()
                    ),
                });
            }
            if factor.is_share() && prior.distribution.range().1 > 1.0 {
                return Err(Error::Priors {
                    message: format!(
                        "{path} is a share and reaches {}; it must not exceed 1",
                        prior.distribution.range().1
                    ),
                });
            }
        }
        for (id, area) in &self.file.area {
            let missing = area
                .deposit
                .as_ref()
                .filter(|name| !self.file.deposit.contains_key(*name));
            if let Some(name) = missing {
                return Err(Error::Priors {
                    message: format!("area.{id} names deposit {name:?}, which is not in the file"),
                });
            }
            for documented in &area.documented {
                check_documented(&format!("area.{id}"), documented)?;
            }
        }
        for (id, country) in &self.file.country {
            for documented in &country.documented {
                check_documented(&format!("country.{id}"), documented)?;
            }
        }
        Ok(())
    }
}

fn check_documented(table: &str, documented: &Documented) -> Result<()> {
    let refuse = |message: &str| {
        Err(Error::Priors {
            message: format!("{table}.documented: {message}"),
        })
    };
    if documented.citation.trim().is_empty() {
        return refuse("a documented capacity needs its citation");
    }
    let plant = [
        &documented.throughput,
        &documented.hours,
        &documented.grade_per_tonne,
    ];
    let is_carats = documented.carats.is_some() && plant.iter().all(|prior| prior.is_none());
    let is_plant = documented.carats.is_none() && plant.iter().all(|prior| prior.is_some());
    if !(is_carats || is_plant) {
        return refuse("write either carats, or throughput, hours and grade_per_tonne");
    }
    for (prior, unit) in [
        (&documented.carats, "ct/yr"),
        (&documented.throughput, "t/h"),
        (&documented.hours, "h/yr"),
        (&documented.grade_per_tonne, "ct/t"),
    ] {
        if prior.as_ref().is_some_and(|prior| prior.unit != unit) {
            return refuse(&format!("the unit must be {unit:?}"));
        }
    }
    Ok(())
}
