//! One client for all registries: API addresses, plain http, and the two rounds of every authorized request.

use std::path::PathBuf;
use std::sync::Arc;

use url::Url;

use super::challenge::{self, Challenge};
use super::error::verb;
use super::token::{self, Ask, Authorization, Tokens};
use super::{AuthFiles, Error, Result, Secret};
use crate::net::{self, Call, Http, Method, Response, redacted, same_origin};
use crate::oci::Reference;

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
        let inner = Inner { http, plain_http: options.plain_http, auth, tokens: Tokens::default() };
        Ok(Registry { inner: Arc::new(inner) })
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
        self.authorized(at, scope, &call.request.url, &call.method, |header| {
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
        method: &Method,
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
        let Some(renewed) = renewed else { return Err(unauthorized(at, method, false, &response)) };
        let response = attempt(Some(&renewed.header))?;
        if response.status == 401 && same_origin(&response.url, &api) {
            let known = self.inner.auth.find(at)?.is_some();
            return Err(unauthorized(at, method, known, &response));
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

fn unauthorized(at: &Reference, method: &Method, known: bool, response: &Response) -> Error {
    Error::Unauthorized {
        registry: at.registry().into(),
        what: format!("{} `{}`", verb(method), at.repository()),
        known,
        message: super::error::envelope(response).1,
    }
}

/// A protocol error at `url`.
pub(super) fn odd(url: &Url, reason: impl Into<String>) -> Error {
    Error::Protocol { url: redacted(url), reason: reason.into() }
}
