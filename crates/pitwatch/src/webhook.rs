//! Endpoints: where events are pushed to, what of them, and how a push is signed.
//!
//! Source: Standard Webhooks 1.0.0, <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use pitwatch_report::EventType;
use pitwatch_scenes::net::Access;
use serde::Deserialize;
use standardwebhooks::Webhook;
use url::Url;

use crate::exit::Problem;

/// The type of what public endpoints get.
pub(crate) const PUBLIC_TYPE: &str = "pitwatch.public.updated.v1";
/// Seconds that a receiver has, if the endpoint does not say.
const TIMEOUT_SECONDS: u64 = 15;
/// The longest that an endpoint may say: one that does not answer must not hold up the others for long.
const MAX_TIMEOUT_SECONDS: u64 = 120;
/// Bytes of a secret. Source: Standard Webhooks, "Signature scheme": between 24 and 64 bytes.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// What may stand before a secret.
const SECRET_PREFIX: &str = "whsec_";

/// Which of two things an endpoint gets; the two are never mixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Feed {
    /// Every event, with exact places.
    Group,
    /// The counts of grid cells, late, and nothing else.
    Public,
}

impl fmt::Display for Feed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Group => "group",
            Self::Public => "public",
        })
    }
}

/// Where a secret is; never the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
enum SecretPlace {
    Environment(String),
    File(PathBuf),
    /// A file in `$CREDENTIALS_DIRECTORY`, as systemd's `LoadCredential=` makes it.
    Credential(String),
}

/// One endpoint of the file.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) url: Url,
    secrets: Vec<SecretPlace>,
    /// The types that it gets; `None` is all.
    events: Option<BTreeSet<&'static str>>,
    pub(crate) feed: Feed,
    allow_private: bool,
    allow_http: bool,
    pub(crate) timeout: Duration,
}

/// Signs for one endpoint, with each of its secrets.
pub(crate) struct Signer(Vec<Webhook>);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    endpoint: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    url: String,
    secrets: Vec<String>,
    events: Option<Vec<String>>,
    /// Has no default: whether somebody gets exact places is said, not left out.
    feed: Feed,
    #[serde(default)]
    allow_private: bool,
    #[serde(default)]
    allow_http: bool,
    timeout_seconds: Option<u64>,
}

/// Reads a file of endpoints.
///
/// # Errors
///
/// A configuration problem that names the file, the endpoint and what to write instead, and never what stands where a
/// secret's place should.
pub(crate) fn read(path: &Path) -> Result<Vec<Endpoint>> {
    let read = || -> Result<Vec<Endpoint>> {
        let text = std::fs::read_to_string(path).context("cannot read the file of endpoints")?;
        parse(&text)
    };
    read()
        .with_context(|| path.display().to_string())
        .context(Problem::Configuration)
}

fn parse(text: &str) -> Result<Vec<Endpoint>> {
    let file: File = toml::from_str(text).map_err(|error| {
        // Not the error's own text, which repeats the line: a secret may stand there.
        let line = error.span().map_or(0, |span| {
            1 + text[..span.start.min(text.len())].matches('\n').count()
        });
        anyhow!("line {line}: {}", scrubbed(error.message()))
    })?;
    if file.endpoint.is_empty() {
        bail!(
            "no endpoint; write [[endpoint]] with name, url, secrets and feed (docs/delivery.md)"
        );
    }
    let mut names = BTreeSet::new();
    let mut endpoints = Vec::new();
    for (index, entry) in file.endpoint.into_iter().enumerate() {
        let name = entry.name.clone();
        let is_plain = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !is_plain {
            bail!(
                "endpoint {}: name is made of letters, digits, '-', '_' and '.'",
                index + 1
            );
        }
        if !names.insert(name.clone()) {
            bail!("endpoint {name}: two have this name; give each its own");
        }
        endpoints.push(endpoint(entry).with_context(|| format!("endpoint {name}"))?);
    }
    Ok(endpoints)
}

/// A message without what stands between quotes after a wrong value, which may be a secret.
fn scrubbed(message: &str) -> String {
    match message.split_once("invalid type: string ") {
        Some((head, tail)) => {
            let rest = tail.rsplit_once(", expected").map_or("", |(_, rest)| rest);
            format!("{head}invalid type: a string, expected{rest}")
        }
        None => message.to_owned(),
    }
}

fn endpoint(entry: Entry) -> Result<Endpoint> {
    // The address is not repeated: a token may stand in it.
    let url = Url::parse(&entry.url)
        .map_err(|error| anyhow!("url is no address ({error}); write https://HOST/PATH"))?;
    match url.scheme() {
        "https" => {}
        "http" if entry.allow_http => {}
        "http" => bail!(
            "url is http, which anybody on the way can read; write https, or allow_http = true for a receiver on this machine"
        ),
        scheme => bail!("url has the scheme {scheme}; write https://HOST/PATH"),
    }
    if url.host_str().is_none() {
        bail!("url has no host; write https://HOST/PATH");
    }
    if !url.username().is_empty() || url.password().is_some() {
        bail!("url has a user name or a password; a push is known by its signature: take them out");
    }
    if entry.secrets.is_empty() {
        bail!(
            "secrets is empty; write secrets = [\"env:NAME\"], \"file:/PATH\" or \"credential:NAME\""
        );
    }
    let secrets = entry
        .secrets
        .iter()
        .enumerate()
        .map(|(index, place)| {
            secret_place(place).with_context(|| format!("secrets, number {}", index + 1))
        })
        .collect::<Result<_>>()?;
    let events = entry
        .events
        .map(|names| wanted(&names, entry.feed))
        .transpose()?;
    let seconds = entry.timeout_seconds.unwrap_or(TIMEOUT_SECONDS);
    if !(1..=MAX_TIMEOUT_SECONDS).contains(&seconds) {
        bail!("timeout_seconds is 1 to {MAX_TIMEOUT_SECONDS}, not {seconds}");
    }
    Ok(Endpoint {
        name: entry.name,
        url,
        secrets,
        events,
        feed: entry.feed,
        allow_private: entry.allow_private,
        allow_http: entry.allow_http,
        timeout: Duration::from_secs(seconds),
    })
}

fn wanted(names: &[String], feed: Feed) -> Result<BTreeSet<&'static str>> {
    if feed == Feed::Public {
        bail!("events: a public endpoint gets {PUBLIC_TYPE} and nothing else; take the line out");
    }
    if names.is_empty() {
        bail!("events is empty; take the line out for all types");
    }
    names
        .iter()
        .map(|name| {
            let known = EventType::ALL.into_iter().map(EventType::name);
            known.clone().find(|known| known == name).ok_or_else(|| {
                let all: Vec<_> = known.collect();
                anyhow!(
                    "events: {name:?} is no type; write some of {}",
                    all.join(", ")
                )
            })
        })
        .collect()
}

fn secret_place(text: &str) -> Result<SecretPlace> {
    let place = match text.split_once(':') {
        Some(("env", name)) if !name.is_empty() => SecretPlace::Environment(name.to_owned()),
        Some(("file", path)) if Path::new(path).is_absolute() => SecretPlace::File(path.into()),
        Some(("file", _)) => bail!("write the whole path, file:/PATH"),
        Some(("credential", name))
            if !name.is_empty() && !name.contains('/') && !name.starts_with('.') =>
        {
            SecretPlace::Credential(name.to_owned())
        }
        // What stands here may be a secret, and is not repeated.
        _ => bail!(
            "a secret does not stand in this file, but where it is: write env:NAME (environment), file:/PATH, or \
             credential:NAME (systemd, LoadCredential=NAME:/PATH)"
        ),
    };
    Ok(place)
}

impl SecretPlace {
    fn read(&self) -> Result<String> {
        match self {
            Self::Environment(name) => std::env::var(name)
                .map_err(|_| anyhow!("the environment has no {name}, or it is no text")),
            Self::File(path) => std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display())),
            Self::Credential(name) => {
                let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                    anyhow!(
                        "no $CREDENTIALS_DIRECTORY, which systemd sets for a unit with LoadCredential={name}:/PATH"
                    )
                })?;
                let path = Path::new(&folder).join(name);
                std::fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))
            }
        }
    }
}

impl fmt::Display for SecretPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(formatter, "env:{name}"),
            Self::File(path) => write!(formatter, "file:{}", path.display()),
            Self::Credential(name) => write!(formatter, "credential:{name}"),
        }
    }
}

impl Endpoint {
    /// Where the endpoint may be asked: at its own host, and nowhere it might redirect to.
    pub(crate) fn access(&self) -> Access {
        let host = self.url.host_str().unwrap_or_default();
        Access {
            hosts: vec![match self.url.port() {
                Some(port) => format!("{host}:{port}"),
                None => host.to_owned(),
            }],
            allow_private: self.allow_private,
            allow_http: self.allow_http,
        }
    }

    /// True if the endpoint gets events of a type.
    pub(crate) fn wants(&self, event_type: &str) -> bool {
        match self.feed {
            Feed::Public => event_type == EventType::RunCompleted.name(),
            Feed::Group => self
                .events
                .as_ref()
                .is_none_or(|events| events.contains(event_type)),
        }
    }

    /// Reads the secrets.
    ///
    /// # Errors
    ///
    /// A configuration problem, if one is not there or is no secret.
    pub(crate) fn signer(&self) -> Result<Signer> {
        let hooks = self.secrets.iter().map(|place| {
            place
                .read()
                .and_then(|text| hook(&text))
                .with_context(|| format!("endpoint {}: secret {place}", self.name))
                .context(Problem::Configuration)
        });
        Ok(Signer(hooks.collect::<Result<_>>()?))
    }
}

fn hook(secret: &str) -> Result<Webhook> {
    const WHAT: &str = "write whsec_ and 24 to 64 random bytes in base64, such as `echo whsec_$(openssl rand -base64 32)` \
                        prints";
    let secret = secret.trim();
    let base64 = secret.strip_prefix(SECRET_PREFIX).unwrap_or(secret);
    let n_bytes = base64.trim_end_matches('=').len() * 3 / 4;
    if !SECRET_BYTES.contains(&n_bytes) {
        bail!("has {n_bytes} bytes; {WHAT}");
    }
    Webhook::new(secret).map_err(|_| anyhow!("is not base64; {WHAT}"))
}

impl Signer {
    /// The header fields of a push; `timestamp` is the time of the attempt in seconds since 1970.
    ///
    /// # Errors
    ///
    /// If the body is no UTF-8, which no event comes to.
    pub(crate) fn headers(
        &self,
        id: &str,
        timestamp: i64,
        body: &[u8],
    ) -> Result<[(&'static str, String); 3]> {
        let signatures = self
            .0
            .iter()
            .map(|hook| Ok(hook.sign(id, timestamp, body)?))
            .collect::<Result<Vec<_>>>()?;
        Ok([
            (standardwebhooks::HEADER_WEBHOOK_ID, id.to_owned()),
            (
                standardwebhooks::HEADER_WEBHOOK_TIMESTAMP,
                timestamp.to_string(),
            ),
            (
                standardwebhooks::HEADER_WEBHOOK_SIGNATURE,
                signatures.join(" "),
            ),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [[endpoint]]
        name = "group"
        url = "https://hooks.example.org:8443/pitwatch?token=hidden"
        secrets = ["env:PITWATCH_SECRET", "file:/etc/pitwatch/old"]
        feed = "group"
    "#;
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn said(text: &str) -> String {
        format!("{:#}", parse(text).unwrap_err())
    }

    #[test]
    fn an_endpoint_is_asked_at_its_own_host_and_port_alone() {
        let endpoints = parse(GOOD).unwrap();
        assert_eq!(
            endpoints[0].access(),
            Access {
                hosts: vec!["hooks.example.org:8443".into()],
                allow_private: false,
                allow_http: false,
            }
        );
        assert_eq!(endpoints[0].timeout, Duration::from_secs(15));
        assert!(endpoints[0].wants("pitwatch.alert.created.v1"));
    }

    #[test]
    fn a_literal_secret_is_refused_and_not_repeated() {
        let places = [
            ("\"env:PITWATCH_SECRET\"", format!("\"{SECRET}\"")),
            (
                "secrets = [\"env:PITWATCH_SECRET\"",
                format!("secret = \"{SECRET}\"\nsecrets = [\"env:A\""),
            ),
            (
                "[\"env:PITWATCH_SECRET\", \"file:/etc/pitwatch/old\"]",
                format!("\"{SECRET}\""),
            ),
        ];
        for (from, to) in places {
            let text = GOOD.replace(from, &to);
            assert_ne!(text, GOOD);
            let said = said(&text);
            assert!(!said.contains(SECRET), "{said}");
            assert!(
                said.contains("env:NAME")
                    || said.contains("unknown field")
                    || said.contains("expected"),
                "{said}"
            );
        }
    }

    #[test]
    fn what_is_unclear_is_refused_with_what_to_write() {
        for (from, to, what) in [
            ("feed = \"group\"", "", "feed"),
            (
                "feed = \"group\"",
                "feed = \"group\"\nretries = 3",
                "unknown field",
            ),
            ("https://", "http://", "allow_http"),
            ("https://", "ftp://", "https://HOST/PATH"),
            ("https://", "https://me:word@", "take them out"),
            ("file:/etc", "file:etc", "whole path"),
            (
                "feed = \"group\"",
                "feed = \"group\"\nevents = [\"alert.created\"]",
                "pitwatch.alert.created.v1",
            ),
            (
                "feed = \"group\"",
                "feed = \"public\"\nevents = [\"pitwatch.alert.created.v1\"]",
                "nothing else",
            ),
            (
                "feed = \"group\"",
                "feed = \"group\"\ntimeout_seconds = 0",
                "1 to 120",
            ),
            ("\"group\"\n        url", "\"a b\"\n        url", "letters"),
        ] {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD, "{from}");
            let said = said(&text);
            assert!(said.contains(what), "{what} is not in {said}");
            assert!(!said.contains("hidden"), "{said}");
        }
        assert!(said(&format!("{GOOD}{GOOD}")).contains("two have this name"));
        assert!(said("").contains("[[endpoint]]"));
    }

    /// Test vector of the specification: "Signature scheme", example.
    #[test]
    fn a_push_is_signed_with_each_secret() {
        let signer = Signer(vec![
            hook(SECRET).unwrap(),
            hook(&format!(" {SECRET}\n")).unwrap(),
        ]);
        let [id, timestamp, signature] = signer
            .headers(
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                b"{\"test\": 2432232314}",
            )
            .unwrap();
        assert_eq!(id, ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek".into()));
        assert_eq!(timestamp, ("webhook-timestamp", "1614265330".into()));
        let one = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signature, ("webhook-signature", format!("{one} {one}")));
    }

    #[test]
    fn a_secret_has_24_to_64_bytes() {
        for (secret, is_good) in [
            (SECRET, true),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", true),
            ("whsec_c2hvcnQ=", false),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa!!", false),
        ] {
            assert_eq!(hook(secret).is_ok(), is_good, "{secret}");
        }
        assert!(hook(&"A".repeat(88)).is_err());
    }

    #[test]
    fn a_public_endpoint_wants_the_end_of_runs_alone() {
        let public = parse(&GOOD.replace("feed = \"group\"", "feed = \"public\"")).unwrap();
        for event_type in EventType::ALL {
            assert_eq!(
                public[0].wants(event_type.name()),
                event_type == EventType::RunCompleted
            );
        }
    }
}
