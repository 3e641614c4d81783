//! Where a URL leads, and how it may be shown.

use std::net::IpAddr;

use url::{Host, Url};

/// Whether two URLs have the same scheme, host and port, so that credentials for one are credentials for the other.
pub fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme() && a.host() == b.host() && a.port_or_known_default() == b.port_or_known_default()
}

/// The URL without credentials, query and fragment: queries of presigned URLs are credentials, too.
pub fn redacted(url: &Url) -> String {
    let mut shown = url.clone();
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    shown.to_string()
}

/// Whether the host is this machine, so that no proxy can reach it.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Whether the host is written as something that only this machine or its network can reach: loopback, private,
/// link-local (where clouds keep their metadata service) or unspecified. A public server has no reason to name one.
pub fn is_internal(url: &Url) -> bool {
    let address: IpAddr = match url.host() {
        Some(Host::Ipv4(address)) => address.into(),
        Some(Host::Ipv6(address)) => address.to_canonical(),
        Some(Host::Domain(name)) => return name == "localhost" || name.ends_with(".localhost"),
        None => return true,
    };
    match address {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && (v4.octets()[1] & 0xc0) == 64;
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.octets()[0] == 0 || shared
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let base = url("https://a.example/x");
        for same in ["https://a.example:443/y?z", "https://A.example/"] {
            assert!(same_origin(&base, &url(same)), "{same}");
        }
        for other in ["http://a.example/x", "https://a.example:8443/x", "https://b.a.example/x", "https://a.example./"]
        {
            assert!(!same_origin(&base, &url(other)), "{other}");
        }
    }

    #[test]
    fn what_is_shown_holds_no_secret() {
        assert_eq!(redacted(&url("https://u:canary@a.example/x?sig=canary#f")), "https://a.example/x");
    }

    #[test]
    fn internal_hosts_are_seen_through_their_disguises() {
        for inside in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:169.254.169.254]/",
            "http://169.254.169.254/latest",
            "http://10.1.2.3/",
            "http://192.168.0.1/",
            "http://100.64.0.1/",
            "http://0.0.0.0/",
            "http://[fd00::1]/",
            "http://[fe80::1]/",
            "http://localhost/",
            "http://x.localhost/",
        ] {
            assert!(is_internal(&url(inside)), "{inside}");
        }
        for outside in
            ["https://a.example/", "https://localhost.evil.example/", "https://8.8.8.8/", "https://172.32.0.1/"]
        {
            assert!(!is_internal(&url(outside)), "{outside}");
        }
        assert!(is_loopback(&url("http://127.9.9.9/")) && is_loopback(&url("http://[::1]/")));
        assert!(!is_loopback(&url("http://localhost.evil.example/")));
    }
}
