//! Which addresses may be asked. Addresses come from strangers' catalogs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Where a source may be asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// `example.org`, `*.example.org` (any host below it), or either with a port (`example.org:8080`). Without a port only
    /// that of the scheme is allowed.
    pub hosts: Vec<String>,
    /// True if hosts may lie in private networks, on this machine or on the local link.
    pub allow_private: bool,
    /// True if `http://` is allowed beside `https://`.
    pub allow_http: bool,
}

impl Access {
    /// Refuses an address that the rules do not allow. Host names are checked again once they are resolved.
    pub(super) fn check(&self, url: &Url) -> Result<(), String> {
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            "http" => return Err("http is not allowed for this source, only https".into()),
            scheme => return Err(format!("{scheme} addresses are not fetched")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("an address with a user name or password is not fetched".into());
        }
        let host = url.host().ok_or("the address has no host")?;
        let literal = match &host {
            Host::Ipv4(address) => Some(IpAddr::V4(*address)),
            Host::Ipv6(address) => Some(IpAddr::V6(*address)),
            Host::Domain(_) => None,
        };
        if let Some(address) = literal
            && !self.allow_private
            && !is_public(address)
        {
            return Err(format!("{address} is a private or local address"));
        }
        let name = host.to_string().to_ascii_lowercase();
        if self
            .hosts
            .iter()
            .any(|rule| allows(rule, &name, url.port()))
        {
            Ok(())
        } else {
            Err(format!(
                "host {name}{} is not among those allowed for this source",
                url.port()
                    .map_or_else(String::new, |port| format!(":{port}"))
            ))
        }
    }
}

/// True if a rule names a host and its port; `port` is `None` for the scheme's own.
fn allows(rule: &str, name: &str, port: Option<u16>) -> bool {
    let rule = rule.to_ascii_lowercase();
    let is_port = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (host, rule_port) = match rule.rsplit_once(':') {
        Some((host, text)) if is_port(text) => (host, text.parse::<u16>().ok()),
        _ => (rule.as_str(), None),
    };
    let is_host = match host.strip_prefix("*.") {
        Some(parent) => name
            .strip_suffix(parent)
            .is_some_and(|head| head.ends_with('.') && head.len() > 1),
        None => host == name,
    };
    is_host && rule_port == port
}

/// True for an address of the public internet.
///
/// Source: IANA special-purpose address registries for IPv4 and IPv6 (RFC 6890 and its updates).
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b));
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    // Addresses that carry an IPv4 address: NAT64 (64:ff9b::/96), 6to4 (2002::/16), Teredo (2001::/32).
    let is_carrier = (a == 0x64 && b == 0xff9b) || a == 0x2002 || (a == 0x2001 && b == 0);
    // Only 2000::/3 is in use for the public internet; 2001:db8::/32 is for documents.
    (a & 0xe000) == 0x2000 && !is_carrier && !(a == 0x2001 && b == 0x0db8)
}

/// Resolves names as the system does, and keeps public addresses only.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resolver {
    pub(super) allow_private: bool,
}

/// What the resolver says when a name leads to private addresses alone. The client finds it in the error's text.
pub(super) const PRIVATE: &str = "the name resolves to a private or local address";

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let n_found = found.len();
            let allowed: Vec<SocketAddr> = found
                .into_iter()
                .filter(|address| allow_private || is_public(address.ip()))
                .collect();
            if allowed.is_empty() && n_found > 0 {
                return Err(PRIVATE.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(hosts: &[&str]) -> Access {
        Access {
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            ..Access::default()
        }
    }

    #[test]
    fn hosts_that_are_named_are_allowed_and_no_others() {
        let rules = access(&["example.org", "*.windows.net", "box.example.org:8443"]);
        let check = |text: &str| rules.check(&text.parse().unwrap()).is_ok();
        for allowed in [
            "https://example.org/a",
            "https://EXAMPLE.org:443/a",
            "https://sentinel.blob.core.windows.net/x?sig=1",
            "https://box.example.org:8443/",
        ] {
            assert!(check(allowed), "{allowed}");
        }
        for refused in [
            "http://example.org/a",
            "https://example.org:8080/a",
            "https://example.org.evil.net/a",
            "https://evilwindows.net/a",
            "https://windows.net/a",
            "https://user@example.org/a",
            "https://user:pw@example.org/a",
            "ftp://example.org/a",
            "file:///etc/passwd",
            "https://box.example.org/",
        ] {
            assert!(!check(refused), "{refused}");
        }
    }

    #[test]
    fn private_addresses_are_refused_in_every_form() {
        let rules = Access {
            allow_http: true,
            ..access(&[
                "127.0.0.1",
                "10.0.0.1",
                "169.254.169.254",
                "[::1]",
                "[::ffff:10.0.0.1]",
                "0.0.0.0",
                "[fe80::1]",
                "[fd00::1]",
                "2130706433",
                "0x7f.1",
                "[64:ff9b::a00:1]",
            ])
        };
        for text in [
            "http://127.0.0.1/",
            "http://10.0.0.1/",
            "http://169.254.169.254/latest/meta-data",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://0.0.0.0/",
            "http://[fe80::1]/",
            "http://[fd00::1]/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://[64:ff9b::a00:1]/",
        ] {
            assert!(rules.check(&text.parse().unwrap()).is_err(), "{text}");
        }
        assert!(is_public("52.218.1.1".parse().unwrap()));
        assert!(is_public("2a05:d050::1".parse().unwrap()));
        assert!(!is_public("100.64.0.1".parse().unwrap()));
    }
}
