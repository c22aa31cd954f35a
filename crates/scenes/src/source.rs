//! The sources of scenes, and what is peculiar to each.

use std::fmt;
use std::path::PathBuf;

use url::Url;

use crate::net::{Access, Net, NetError, Remote, S3Keys, Signing};

/// Sources that a pipeline file can name without describing them.
pub const KNOWN_SOURCES: [&str; 4] = [
    "earth-search",
    "earth-search-c1",
    "planetary-computer",
    "cdse",
];

/// How a source is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// A STAC API with `/search` (STAC API specification 1.0, "item search").
    StacApi,
    /// A static catalog, collection or collection of features, at an address or on disk.
    Static,
    /// A folder of `.SAFE` products.
    Safe,
}

/// How addresses of a source's files are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SigningConfig {
    /// They are not.
    None,
    /// With a token of Planetary Computer's service at this address.
    PlanetaryComputer {
        /// `{token_url}/{account}/{container}` gives a token.
        token_url: String,
    },
    /// As S3's.
    S3 {
        /// Where buckets are; `None` is AWS.
        endpoint: Option<String>,
        /// AWS region, or `default`.
        region: String,
        /// Keys; `None` reads without a signature.
        keys: Option<S3Keys>,
    },
}

/// A source as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceConfig {
    /// Its short name.
    pub name: String,
    /// How it is asked.
    pub kind: SourceKind,
    /// Root of the API; address or path of the catalog; path of the folder.
    pub url: String,
    /// Collections to search; none means all.
    pub collections: Vec<String>,
    /// Where it and its files may be asked.
    pub access: Access,
    /// How its files' addresses are signed.
    pub signing: SigningConfig,
    /// Items asked for at a time.
    pub page_items: usize,
    /// The property that says when an item was published or changed, where the API can be asked by it (STAC API extension
    /// "query"); `None` is asked for all of a period each time.
    pub published_property: Option<String>,
}

/// A source that can be asked.
pub struct Source {
    pub(crate) config: SourceConfig,
    pub(crate) remote: Remote,
}

impl SourceConfig {
    /// A known source, by its short name.
    ///
    /// Hosts and collections as in items of these sources of 2023 to 2025; Planetary Computer's token service as in its
    /// documentation, "Using tokens for data access"; Copernicus Data Space's endpoints as in its documentation, "STAC
    /// product catalogue" and "S3 access".
    #[must_use]
    pub fn known(name: &str) -> Option<Self> {
        let (url, collection, hosts): (_, _, &[&str]) = match name {
            "earth-search" => (
                "https://earth-search.aws.element84.com/v1",
                "sentinel-2-l2a",
                &[
                    "earth-search.aws.element84.com",
                    "sentinel-cogs.s3.us-west-2.amazonaws.com",
                ],
            ),
            "earth-search-c1" => (
                "https://earth-search.aws.element84.com/v1",
                "sentinel-2-c1-l2a",
                &[
                    "earth-search.aws.element84.com",
                    "e84-earth-search-sentinel-data.s3.us-west-2.amazonaws.com",
                ],
            ),
            "planetary-computer" => (
                "https://planetarycomputer.microsoft.com/api/stac/v1",
                "sentinel-2-l2a",
                &["planetarycomputer.microsoft.com", "*.blob.core.windows.net"],
            ),
            "cdse" => (
                "https://stac.dataspace.copernicus.eu/v1",
                "sentinel-2-l2a",
                &[
                    "stac.dataspace.copernicus.eu",
                    "eodata.dataspace.copernicus.eu",
                ],
            ),
            _ => return None,
        };
        let signing = match name {
            "planetary-computer" => SigningConfig::PlanetaryComputer {
                token_url: "https://planetarycomputer.microsoft.com/api/sas/v1/token".into(),
            },
            "cdse" => SigningConfig::S3 {
                endpoint: Some("https://eodata.dataspace.copernicus.eu".into()),
                region: "default".into(),
                keys: None,
            },
            _ => SigningConfig::None,
        };
        Some(Self {
            name: name.to_owned(),
            kind: SourceKind::StacApi,
            url: url.into(),
            collections: vec![collection.into()],
            access: Access {
                hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
                ..Access::default()
            },
            signing,
            page_items: 200,
            // Every item of Earth Search of 2022 to 2026 has it. Planetary Computer's have no such property, and that of
            // Copernicus Data Space could not be tried.
            published_property: name
                .starts_with("earth-search")
                .then(|| "updated".to_owned()),
        })
    }

    /// A source that is described in full; its own host is allowed.
    #[must_use]
    pub fn new(name: &str, kind: SourceKind, url: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            url: url.to_owned(),
            collections: Vec::new(),
            access: Access::default(),
            signing: SigningConfig::None,
            page_items: 200,
            published_property: None,
        }
    }

    /// The source, ready to be asked. The host of its own address is allowed beside those of its rules.
    ///
    /// # Errors
    ///
    /// If an address is none, or the client cannot be made.
    pub fn open(&self, net: &Net) -> Result<Source, NetError> {
        let mut access = self.access.clone();
        let mut allow = |address: &str| {
            if let Ok(url) = Url::parse(address)
                && let Some(host) = url.host_str()
            {
                let port = url
                    .port()
                    .map_or_else(String::new, |port| format!(":{port}"));
                access.hosts.push(format!("{host}{port}"));
            }
        };
        allow(&self.url);
        let parse = |address: &str| {
            Url::parse(address)
                .map_err(|error| NetError::address(address, &format!("it is no address: {error}")))
        };
        let signing = match &self.signing {
            SigningConfig::None => Signing::none(),
            SigningConfig::PlanetaryComputer { token_url } => {
                allow(token_url);
                Signing::planetary_computer(parse(token_url)?)
            }
            SigningConfig::S3 {
                endpoint,
                region,
                keys,
            } => {
                if let Some(endpoint) = endpoint {
                    allow(endpoint);
                }
                Signing::s3(
                    endpoint.as_deref().map(parse).transpose()?,
                    region,
                    keys.clone(),
                )
            }
        };
        Ok(Source {
            config: self.clone(),
            remote: net.remote(access, signing)?,
        })
    }
}

impl Source {
    /// Its short name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The way to its files.
    #[must_use]
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// The path of a source on disk.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(&self.config.url)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Source({})", self.config.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_sources_are_known() {
        for name in KNOWN_SOURCES {
            let config = SourceConfig::known(name).unwrap();
            assert_eq!(config.name, name);
            assert!(config.url.starts_with("https://"));
            assert!(!config.access.allow_private && !config.access.allow_http);
            config
                .open(&Net::new(crate::net::Limits::default()))
                .unwrap();
        }
        assert!(SourceConfig::known("nobody").is_none());
    }
}
