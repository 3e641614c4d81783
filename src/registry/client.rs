//! One client for all registries: API addresses, plain http, and the two rounds of every authorized request.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use url::Url;

use super::challenge::{self, Challenge};
use super::token::{self, Ask, Authorization, Tokens};
use super::{AuthFiles, Error, Result, Secret};
use crate::net::{self, Call, Http, Response, redacted, same_origin};
use crate::oci::{Digest, Reference};

/// What a user can say about registries.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Registries (`host:port`) that are spoken to over plain http. Loopback ones always are.
    pub plain_http: Vec<String>,
    /// The only credentials file, instead of those of podman and docker.
    pub auth_file: Option<PathBuf>,
}

/// A client for all registries. Cheap to clone; clones share tokens and connections.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    http: Http,
    plain_http: Vec<String>,
    auth: AuthFiles,
    tokens: Tokens,
    turns: Mutex<BTreeMap<(String, Digest), Arc<Mutex<()>>>>,
}

/// What a token must allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    push: bool,
    /// A repository of the same registry that blobs are mounted from.
    mount_from: Option<String>,
}

impl Scope {
    pub(super) const PULL: Scope = Scope { push: false, mount_from: None };
    pub(super) const PUSH: Scope = Scope { push: true, mount_from: None };

    pub(super) fn mount(from: &Reference) -> Self {
        Scope { push: true, mount_from: Some(from.repository().to_string()) }
    }

    /// What it is for, in messages: whoever pushes also asks what is there.
    pub(super) fn verb(&self) -> &'static str {
        if self.push { "push" } else { "pull" }
    }

    fn texts(&self, at: &Reference) -> Vec<String> {
        let actions = if self.push { "pull,push" } else { "pull" };
        let mut scopes = vec![format!("repository:{}:{actions}", at.repository())];
        scopes.extend(self.mount_from.as_ref().map(|from| format!("repository:{from}:pull")));
        scopes
    }
}

impl Registry {
    /// A client that finds its credentials where podman and docker keep them.
    pub fn new(http: Http, options: Options) -> Result<Self> {
        let auth = match &options.auth_file {
            Some(path) => AuthFiles::only(path),
            None => AuthFiles::from_environment(),
        };
        let (tokens, turns) = Default::default();
        let inner = Inner { http, plain_http: options.plain_http, auth, tokens, turns };
        Ok(Registry { inner: Arc::new(inner) })
    }

    /// Held while a blob is sent to a repository: images of one build share layers, each is sent once. The registries
    /// on file systems also mix up two uploads of one blob that end at the same time.
    pub(super) fn turn(&self, to: &Reference, blob: &Digest) -> Arc<Mutex<()>> {
        let mut turns = self.inner.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.entry((to.name(), *blob)).or_default().clone()
    }

    pub(super) fn http(&self) -> &Http {
        &self.inner.http
    }

    /// The URL of `rest` below the repository: "manifests/latest". Never https in one place and http in another:
    /// there is no falling back.
    pub(super) fn url(&self, at: &Reference, rest: &str) -> Result<Url> {
        let plain = at.is_loopback() || self.inner.plain_http.iter().any(|named| named == at.registry());
        let scheme = if plain { "http" } else { "https" };
        let host = api_host(at);
        let text = format!("{scheme}://{host}/v2/{}/{rest}", at.repository());
        Url::parse(&text).map_err(|_| Error::Protocol { url: host, reason: "its name makes no URL".into() })
    }

    /// Sends a call to the registry, with authorization if it wants some. Any status but 401 is the caller's.
    pub(super) fn send(&self, at: &Reference, scope: &Scope, call: &Call, limit: u64) -> Result<Response> {
        self.authorized(at, scope, &call.request.url, |header| {
            let mut call = call.clone();
            call.request.headers.extend(header.map(authorization));
            self.inner.http.exchange(&call, limit)
        })
    }

    /// Runs `attempt` with what is known, and once more after a 401 with what its challenge led to.
    ///
    /// A `url` outside the registry's origin (an upload location, a mirror of blobs) gets no authorization, and its
    /// 401 is no challenge.
    pub(super) fn authorized(
        &self,
        at: &Reference,
        scope: &Scope,
        url: &Url,
        mut attempt: impl FnMut(Option<&str>) -> Result<Response, net::Error>,
    ) -> Result<Response> {
        let api = self.url(at, "")?;
        if !same_origin(url, &api) {
            return Ok(attempt(None)?);
        }
        let scopes = scope.texts(at);
        let slot = self.inner.tokens.slot(at.registry(), &scopes);
        let known = token::current(&slot);
        let response = attempt(known.as_ref().map(|known| known.header.as_str()))?;
        if response.status != 401 || !same_origin(&response.url, &api) {
            return Ok(response);
        }
        let renewed = token::renew(&slot, known.as_ref(), || self.authorize(at, &api, &scopes, &response))?;
        let Some(renewed) = renewed else { return Err(unauthorized(at, scope, false, &response)) };
        let response = attempt(Some(&renewed.header))?;
        if response.status == 401 && same_origin(&response.url, &api) {
            let known = self.inner.auth.find(at)?.is_some();
            return Err(unauthorized(at, scope, known, &response));
        }
        Ok(response)
    }

    /// The header for further requests of this scope, if one is known.
    pub(super) fn known(&self, at: &Reference, scope: &Scope) -> Option<(String, String)> {
        let slot = self.inner.tokens.slot(at.registry(), &scope.texts(at));
        token::current(&slot).map(|known| authorization(&known.header))
    }

    /// Answers a challenge; `None` if it takes credentials and there are none.
    fn authorize(
        &self,
        at: &Reference,
        api: &Url,
        scopes: &[String],
        response: &Response,
    ) -> Result<Option<Authorization>> {
        let challenge = challenge::choose(&response.all("www-authenticate"))
            .map_err(|reason| Error::Challenge { registry: at.registry().into(), reason })?;
        let secret = self.inner.auth.find(at)?;
        match (challenge, &secret) {
            (_, Some(Secret::Registry(token))) => Ok(Some(Authorization::lasting(format!("Bearer {token}")))),
            (Challenge::Basic, Some(Secret::Basic(credentials))) => {
                Ok(Some(Authorization::lasting(credentials.basic())))
            }
            (Challenge::Basic, _) => Ok(None),
            (Challenge::Bearer { realm, service }, secret) => Ask {
                http: &self.inner.http,
                registry: at.registry(),
                api,
                realm: &realm,
                service: service.as_deref(),
                scopes,
                secret: secret.as_ref(),
            }
            .send()
            .map(Some),
        }
    }
}

fn authorization(header: &str) -> (String, String) {
    ("Authorization".into(), header.into())
}

/// The host that serves a registry's API: Docker Hub's is not the one in its references.
fn api_host(at: &Reference) -> String {
    oci_client::Reference::with_tag(at.registry().into(), at.repository().into(), "latest".into())
        .resolve_registry()
        .to_string()
}

fn unauthorized(at: &Reference, scope: &Scope, known: bool, response: &Response) -> Error {
    Error::Unauthorized {
        registry: at.registry().into(),
        what: format!("{} `{}`", scope.verb(), at.repository()),
        known,
        message: super::error::envelope(response).1,
    }
}

/// A protocol error at `url`.
pub(super) fn odd(url: &Url, reason: impl Into<String>) -> Error {
    Error::Protocol { url: redacted(url), reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Class, Explain};
    use crate::oci::Descriptor;
    use crate::registry::testing::{Act, Server, at, client, quick};

    const NOBODY: &str = "{}";
    const MANIFEST: &[u8] = b"{}";

    fn somebody(server: &Server) -> String {
        format!(r#"{{"{}":{{"username":"u","password":"canary"}}}}"#, server.authority())
    }

    fn basic() -> String {
        net::Credentials { username: "u".into(), password: "canary".into() }.basic()
    }

    /// A registry that gives manifests to whoever has the token that its `/token` gives.
    fn bearer() -> Server {
        Server::start(|seen| {
            let host = seen.header("host").unwrap();
            match (seen.path(), seen.header("authorization")) {
                ("/token", _) => Act::body(200, br#"{"access_token":"t0","expires_in":0}"#),
                (_, Some("Bearer t0")) => Act::body(200, MANIFEST),
                _ => Act::status(401)
                    .with("WWW-Authenticate", format!(r#"Bearer realm="http://{host}/token?x=y",service="s&t""#)),
            }
        })
    }

    #[test]
    fn a_token_is_got_once_with_the_smallest_scope() {
        let server = bearer();
        let (registry, _file) = client(&somebody(&server));
        for _ in 0..3 {
            registry.manifest(&at(&server, "team/app:1")).unwrap();
        }
        registry.push_manifest(&at(&server, "team/app:1"), MANIFEST, "x/y").unwrap();
        let seen = server.seen();
        let tokens: Vec<_> = seen.iter().filter(|seen| seen.path() == "/token").collect();
        let targets: Vec<_> = tokens.iter().map(|seen| seen.target.as_str()).collect();
        assert_eq!(
            targets,
            [
                "/token?x=y&service=s%26t&scope=repository%3Ateam%2Fapp%3Apull",
                "/token?x=y&service=s%26t&scope=repository%3Ateam%2Fapp%3Apull%2Cpush"
            ]
        );
        assert!(tokens.iter().all(|seen| seen.header("authorization") == Some(&basic())));
        assert_eq!(seen.len(), 1 + 1 + 3 + 1 + 1 + 1);
    }

    #[test]
    fn anonymous_tokens_carry_nobodys_credentials() {
        let server = bearer();
        let (registry, _file) = client(r#"{"other.example":{"username":"u","password":"canary"}}"#);
        registry.manifest(&at(&server, "team/app:1")).unwrap();
        assert!(server.seen().iter().all(|seen| seen.header("authorization") != Some(&basic())));
    }

    #[test]
    fn threads_share_one_token() {
        let server = bearer();
        let (registry, _file) = client(NOBODY);
        let app = at(&server, "team/app:1");
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| registry.manifest(&app).unwrap());
            }
        });
        assert_eq!(server.lines().iter().filter(|line| *line == "GET /token").count(), 1);
    }

    #[test]
    fn an_identity_token_is_posted_and_a_registry_token_is_used_as_it_is() {
        let server = Server::start(|seen| match (seen.path(), seen.header("authorization")) {
            ("/token", _) => Act::body(200, br#"{"token":"t0"}"#),
            (_, Some("Bearer t0")) => Act::body(200, MANIFEST),
            _ => {
                let host = seen.header("host").unwrap();
                Act::status(401).with("WWW-Authenticate", format!(r#"Bearer realm="http://{host}/token""#))
            }
        });
        let (registry, _file) = client(&format!(r#"{{"{}":{{"identitytoken":"id&1"}}}}"#, server.authority()));
        registry.manifest(&at(&server, "a:1")).unwrap();
        let asked = &server.seen()[1];
        let form = String::from_utf8(asked.body.clone()).unwrap();
        assert_eq!((asked.method.as_str(), asked.header("authorization")), ("POST", None));
        assert!(form.contains("grant_type=refresh_token") && form.contains("refresh_token=id%261"), "{form}");
        assert!(form.contains("scope=repository%3Aa%3Apull&"), "{form}");
        let (registry, _file) = client(&format!(r#"{{"{}":{{"registrytoken":"t0"}}}}"#, server.authority()));
        registry.manifest(&at(&server, "a:1")).unwrap();
        assert_eq!(server.lines().iter().filter(|line| line.contains("/token")).count(), 1);
    }

    #[test]
    fn a_realm_elsewhere_on_plain_http_gets_nothing() {
        let thief = Server::start_at("127.0.0.2", |_| Act::body(200, br#"{"token":"t"}"#), |_| None);
        let realm = thief.url("/token");
        let server =
            Server::start(move |_| Act::status(401).with("WWW-Authenticate", format!(r#"Bearer realm="{realm}""#)));
        let (registry, _file) = client(&somebody(&server));
        let error = registry.manifest(&at(&server, "a:1")).unwrap_err();
        assert!(matches!(&error, Error::Realm { reason: "it is not https", .. }), "{error}");
        assert!(error.hint().unwrap().contains("no credentials were sent"));
        assert_eq!((thief.seen().len(), server.seen().len()), (0, 1));
    }

    #[test]
    fn a_token_server_that_redirects_is_not_followed() {
        let thief = Server::start(|_| Act::body(200, br#"{"token":"t"}"#));
        let away = thief.url("/token");
        let server = Server::start(move |seen| match seen.path() {
            "/token" => Act::status(307).with("Location", away.as_str()),
            _ => {
                let host = seen.header("host").unwrap();
                Act::status(401).with("WWW-Authenticate", format!(r#"Bearer realm="http://{host}/token""#))
            }
        });
        let (registry, _file) = client(&somebody(&server));
        let error = registry.manifest(&at(&server, "a:1")).unwrap_err();
        assert!(matches!(error, Error::Token { .. }), "{error}");
        assert_eq!(thief.seen().len(), 0);
    }

    #[test]
    fn token_servers_that_talk_nonsense() {
        for (status, body, reason) in [
            (200, "{}", "neither `token` nor `access_token`"),
            (200, "[", "malformed JSON"),
            (200, r#"{"token":"a\nb"}"#, "odd characters"),
            (418, "tea", "status 418 tea"),
        ] {
            let server = Server::start(move |seen| match seen.path() {
                "/token" => Act::body(status, body.as_bytes()),
                _ => {
                    let host = seen.header("host").unwrap();
                    Act::status(401).with("WWW-Authenticate", format!(r#"Bearer realm="http://{host}/token""#))
                }
            });
            let (registry, _file) = client(NOBODY);
            let error = registry.manifest(&at(&server, "a:1")).unwrap_err();
            assert!(matches!(error, Error::Token { .. }) && error.to_string().ends_with(reason), "{error}");
        }
    }

    #[test]
    fn refusals_end_after_two_rounds_and_say_who_was_refused() {
        let server = Server::start(|seen| match seen.path() {
            path if path.starts_with("/v2/forbidden/") => {
                Act::body(403, br#"{"errors":[{"code":"DENIED","message":"not you"}]}"#)
            }
            "/v2/odd/manifests/1" => Act::status(401).with("WWW-Authenticate", "Negotiate"),
            _ => Act::body(401, br#"{"errors":[{"code":"UNAUTHORIZED","message":"who?"}]}"#)
                .with("WWW-Authenticate", "Basic realm=x"),
        });
        let (registry, _file) = client(NOBODY);
        let error = registry.manifest(&at(&server, "a:1")).unwrap_err();
        assert!(matches!(error, Error::Unauthorized { known: false, .. }), "{error}");
        assert_eq!(
            error.to_string(),
            format!("registry `{}` does not let anonymous users pull `a`: UNAUTHORIZED who?", server.authority())
        );
        assert!(error.hint().unwrap().contains("podman login"));
        // A push begins with a question; that is no pull.
        let blob = Descriptor::of("x/y", b"x");
        for (repository, text) in [("a", "users push `a`"), ("forbidden", "denies to push `forbidden`")] {
            let at = at(&server, &format!("{repository}:1"));
            let error = registry.exists(&at, &blob, &Scope::PUSH).unwrap_err();
            assert!(error.to_string().contains(text) && error.refusal().is_some(), "{error}");
        }
        let (registry, _file) = client(&somebody(&server));
        let error = registry.manifest(&at(&server, "b:1")).unwrap_err();
        assert!(matches!(error, Error::Unauthorized { known: true, .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("canary"));
        assert_eq!(server.lines().iter().filter(|line| line.contains("/b/")).count(), 2);
        assert_eq!(server.seen().last().unwrap().header("authorization"), Some(basic().as_str()));
        let error = registry.manifest(&at(&server, "forbidden:1")).unwrap_err();
        assert!(matches!(&error, Error::Denied { .. }) && error.to_string().ends_with(": DENIED not you"), "{error}");
        let error = registry.manifest(&at(&server, "odd:1")).unwrap_err();
        assert!(matches!(error, Error::Challenge { .. }) && error.class() == Class::Network, "{error}");
    }

    #[test]
    fn only_loopback_and_named_registries_are_plain() {
        let options = Options { plain_http: vec!["r.example:5000".into()], auth_file: None };
        let registry = Registry::new(quick(), options).unwrap();
        let url = |name: &str| registry.url(&name.parse().unwrap(), "manifests/1").unwrap().to_string();
        assert_eq!(url("127.0.0.1:5000/a"), "http://127.0.0.1:5000/v2/a/manifests/1");
        assert_eq!(url("r.example:5000/a"), "http://r.example:5000/v2/a/manifests/1");
        assert_eq!(url("r.example/a"), "https://r.example/v2/a/manifests/1");
        assert_eq!(url("localhost.evil.example/a"), "https://localhost.evil.example/v2/a/manifests/1");
        assert_eq!(url("ubuntu"), "https://index.docker.io/v2/library/ubuntu/manifests/1");
    }

    #[test]
    fn missing_helpers_and_files_stop_before_anything_is_sent() {
        let server = Server::start(|_| Act::status(401).with("WWW-Authenticate", "Basic realm=x"));
        let (registry, file) = client(NOBODY);
        std::fs::write(file.path().join("auth.json"), r#"{"credsStore":"surely-missing"}"#).unwrap();
        let error = registry.manifest(&at(&server, "a:1")).unwrap_err();
        assert!(matches!(error, Error::HelperProcess { .. }), "{error}");
        assert!(error.hint().unwrap().contains("install"));
        assert_eq!(server.seen().len(), 1);
    }
}
