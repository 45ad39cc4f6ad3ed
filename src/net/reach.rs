//! The way to a server: through which proxy, and by which certificates it is trusted.

use ureq::Proxy;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::{NetError, Secret};
use crate::context::Context;

/// What the environment says about the way to a server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reach {
    /// The proxy, where there is one for this server.
    pub proxy: Option<Proxy>,
    /// The variable that names the proxy, for messages.
    pub variable: Option<&'static str>,
    /// The proxy's password.
    pub secret: Option<Secret>,
    /// Certificates other than Mozilla's.
    pub tls: Option<TlsConfig>,
    /// The variable that names them.
    pub trusted: Option<&'static str>,
}

impl Reach {
    /// The way to `url` by what the environment says.
    ///
    /// # Errors
    /// [`NetError::Refused`] for a proxy or certificates that cannot be used; the message names the variable.
    pub fn of(url: &str, context: &Context) -> Result<Self, NetError> {
        Self::new(url, &|name| context.variable(name).map(str::to_owned))
    }

    fn new(url: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, NetError> {
        let mut reach = Self::default();
        let (scheme, host) = scheme_and_host(url);
        reach.find_proxy(&scheme, &host, variable)?;
        if scheme == "https" {
            reach.find_certificates(variable)?;
        }
        Ok(reach)
    }

    fn find_proxy(
        &mut self,
        scheme: &str,
        host: &str,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), NetError> {
        // A server on this machine is never behind a proxy: it would look for it on its own.
        if is_local(host) {
            return Ok(());
        }
        let excepted = variable("NO_PROXY").or_else(|| variable("no_proxy")).unwrap_or_default();
        if excepted.split(',').any(|pattern| excepts(pattern, host)) {
            return Ok(());
        }
        let names: &[&'static str] = match scheme {
            "https" => &["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
            _ => &["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"],
        };
        let Some((name, value)) = names.iter().find_map(|name| Some((*name, variable(name)?))) else {
            return Ok(());
        };
        let proxy = Proxy::new(value.trim()).map_err(|_| NetError::Refused {
            message: format!("the proxy that `{name}` names cannot be used: it is no address"),
            hint: "such as `http://proxy:3128`; `NO_PROXY` lists servers that need none",
        })?;
        self.secret = proxy.password().map(Secret::new).filter(|secret| !secret.is_empty());
        (self.proxy, self.variable) = (Some(proxy), Some(name));
        Ok(())
    }

    fn find_certificates(&mut self, variable: &dyn Fn(&str) -> Option<String>) -> Result<(), NetError> {
        let names = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"];
        let Some((name, path)) = names.into_iter().find_map(|name| Some((name, variable(name)?))) else {
            return Ok(());
        };
        let fail = |what: String| NetError::Refused {
            message: format!("the certificates in `{path}`, which `{name}` names, cannot be used: {what}"),
            hint: "name a file of certificates in PEM form, or unset the variable",
        };
        let bytes = crate::limits::read_file(std::path::Path::new(&path), crate::limits::CERTIFICATES)
            .map_err(|error| fail(error.to_string()))?;
        let mut certificates: Vec<Certificate<'static>> = Vec::new();
        for item in parse_pem(&bytes) {
            match item {
                Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
                Ok(_) => {}
                Err(_) => return Err(fail("the file is damaged".into())),
            }
        }
        if certificates.is_empty() {
            return Err(fail("there is none in it".into()));
        }
        self.tls = Some(TlsConfig::builder().root_certs(RootCerts::new_with_certs(&certificates)).build());
        self.trusted = Some(name);
        Ok(())
    }

    /// What a message about a server that does not answer has to say of the way.
    pub fn in_words(&self) -> String {
        match (&self.proxy, self.variable) {
            (Some(proxy), Some(name)) => {
                format!(" (through the proxy `{}:{}`, which `{name}` names)", proxy.host(), proxy.port())
            }
            _ => String::new(),
        }
    }
}

fn scheme_and_host(url: &str) -> (String, String) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let place = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let place = place.rsplit_once('@').map_or(place, |(_, host)| host);
    let host = match place.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => place.split(':').next().unwrap_or_default(),
    };
    (scheme.to_ascii_lowercase(), host.to_ascii_lowercase())
}

/// Whether a host is this machine.
pub(crate) fn is_local(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| {
            let mapped = match address {
                std::net::IpAddr::V6(six) => six.to_ipv4_mapped().map(std::net::IpAddr::V4),
                std::net::IpAddr::V4(_) => None,
            };
            let address = mapped.unwrap_or(address);
            address.is_loopback() || address.is_unspecified()
        })
}

/// Whether an entry of `NO_PROXY` means this host: a name with all below it, as curl and Python have it.
fn excepts(pattern: &str, host: &str) -> bool {
    let pattern = pattern.trim().to_ascii_lowercase();
    let pattern = pattern.split(':').next().unwrap_or_default();
    let name = pattern.trim_start_matches('*').trim_start_matches('.');
    match pattern {
        "" => false,
        "*" => true,
        _ => host == name || host.strip_suffix(name).is_some_and(|before| before.ends_with('.')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(url: &str, set: &[(&str, &str)]) -> Result<Reach, NetError> {
        Reach::new(url, &|name| {
            set.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).into())
        })
    }

    #[test]
    fn a_server_on_this_machine_is_never_behind_a_proxy() {
        let set = [("ALL_PROXY", "http://proxy:3128"), ("http_proxy", "http://proxy:3128")];
        for url in [
            "http://localhost:8000/v1",
            "http://127.0.0.1:1/v1",
            "http://127.8.9.1/v1",
            "http://[::1]:80/v1",
            "http://0.0.0.0:80",
            "http://LOCALHOST/v1",
            "http://[::ffff:127.0.0.1]/v1",
        ] {
            assert!(reach(url, &set).unwrap().proxy.is_none(), "{url}");
        }
        assert!(reach("http://localhost.example.org/v1", &set).unwrap().proxy.is_some());
    }

    #[test]
    fn the_variable_is_named_and_its_password_is_not() {
        let set = [("HTTPS_PROXY", "http://me:hunter22@proxy:3128"), ("http_proxy", "http://other:1")];
        let found = reach("https://api.example.org/v1", &set).unwrap();
        let words = found.in_words();
        assert_eq!(words, " (through the proxy `proxy:3128`, which `HTTPS_PROXY` names)");
        assert!(!format!("{found:?}").contains("hunter22"));
        assert_eq!(found.secret.unwrap().scrub("a hunter22 b"), "a *** b");
        assert_eq!(reach("http://x.org/v1", &set).unwrap().variable, Some("http_proxy"));
        let error = reach("https://x.org", &[("HTTPS_PROXY", "http://")]).unwrap_err().to_string();
        assert!(error.contains("HTTPS_PROXY") && error.contains("hint:"), "{error}");
    }

    #[test]
    fn exceptions_hold_for_a_name_and_all_below_it() {
        for (pattern, host, expected) in [
            ("example.org", "example.org", true),
            (".example.org", "api.example.org", true),
            ("*.example.org", "api.example.org", true),
            ("example.org", "api.example.org", true),
            ("example.org", "badexample.org", false),
            ("example.org:8080", "example.org", true),
            ("*", "anything", true),
            ("", "anything", false),
            ("10.0.0.1", "10.0.0.1", true),
        ] {
            assert_eq!(excepts(pattern, host), expected, "{pattern} {host}");
        }
        let set = [("ALL_PROXY", "http://proxy:1"), ("NO_PROXY", "a.org, b.org")];
        assert!(reach("http://x.b.org", &set).unwrap().proxy.is_none());
        assert!(reach("http://c.org", &set).unwrap().proxy.is_some());
    }

    #[test]
    fn certificates_that_cannot_be_used_name_file_and_variable() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "no certificate").unwrap();
        let missing = folder.path().join("missing.pem");
        for path in [&empty, &missing] {
            let path = path.to_str().unwrap();
            let error = reach("https://x.org", &[("SSL_CERT_FILE", path)]).unwrap_err().to_string();
            assert!(error.contains(path) && error.contains("SSL_CERT_FILE"), "{error}");
            // Plain HTTP needs none.
            assert!(reach("http://x.org", &[("SSL_CERT_FILE", path)]).is_ok());
        }
    }
}
