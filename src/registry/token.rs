//! Tokens: where they may be asked for, how they are got, and how long they are kept.
//!
//! A challenge is written by the registry, so its realm is input like any other: credentials for a public registry
//! must not end at a metadata service, on plain http, or in another user's process on this machine.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde::Deserialize;
use url::Url;
use url::form_urlencoded::Serializer;

use super::{Error, Result, Secret};
use crate::net::{Call, Http, Method, is_internal, redacted};

/// The largest token answer that is read, in bytes.
const ANSWER_LIMIT: u64 = 1 << 20;
/// How long a token lasts if its server does not say, or says less (distribution-spec, "token" specification).
const MINIMUM_LIFETIME: Duration = Duration::from_secs(60);
/// No token is kept longer than this.
const MAXIMUM_LIFETIME: Duration = Duration::from_secs(3600);
/// A token that ends so soon is not used for a new request.
const MARGIN: Duration = Duration::from_secs(5);

/// The value of an `Authorization` header, and how long it is good for.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Authorization {
    pub(super) header: String,
    expires: Option<Instant>,
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization(redacted)")
    }
}

impl Authorization {
    /// One that does not end.
    pub(super) fn lasting(header: String) -> Self {
        Authorization { header, expires: None }
    }

    fn is_fresh(&self) -> bool {
        self.expires.is_none_or(|expires| expires > Instant::now() + MARGIN)
    }
}

/// The authorizations of all registries, by registry and scope.
#[derive(Clone, Default)]
pub(super) struct Tokens(Arc<Mutex<BTreeMap<String, Slot>>>);

/// The place of one authorization; whoever renews it lets the others wait and share.
pub(super) type Slot = Arc<Mutex<Option<Authorization>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Tokens {
    pub(super) fn slot(&self, registry: &str, scopes: &[String]) -> Slot {
        lock(&self.0).entry(format!("{registry} {}", scopes.join(" "))).or_default().clone()
    }
}

/// What is in the slot and will last for another request.
pub(super) fn current(slot: &Slot) -> Option<Authorization> {
    lock(slot).clone().filter(Authorization::is_fresh)
}

/// Replaces `refused`, unless another thread did so already.
pub(super) fn renew(
    slot: &Slot,
    refused: Option<&Authorization>,
    ask: impl FnOnce() -> Result<Option<Authorization>>,
) -> Result<Option<Authorization>> {
    let mut held = lock(slot);
    if let Some(newer) = held.as_ref().filter(|held| Some(*held) != refused && held.is_fresh()) {
        return Ok(Some(newer.clone()));
    }
    *held = ask()?;
    Ok(held.clone())
}

/// A request for a token.
pub(super) struct Ask<'a> {
    pub(super) http: &'a Http,
    /// The registry, for messages.
    pub(super) registry: &'a str,
    /// The registry's API.
    pub(super) api: &'a Url,
    pub(super) realm: &'a str,
    pub(super) service: Option<&'a str>,
    pub(super) scopes: &'a [String],
    pub(super) secret: Option<&'a Secret>,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Ask<'_> {
    /// Gets a token: GET with Basic or nobody's credentials, POST (OAuth 2) with an identity token.
    pub(super) fn send(&self) -> Result<Authorization> {
        let realm = check_realm(self.api, self.realm).map_err(|reason| Error::Realm {
            registry: self.registry.into(),
            realm: Url::parse(self.realm).map_or_else(|_| "an invalid URL".into(), |url| redacted(&url)),
            reason,
        })?;
        let shown = redacted(&realm);
        // No redirects: a token server has no reason to send credentials on.
        let response = self.http.exchange(&self.call(realm).stay(), ANSWER_LIMIT)?;
        let refuse = |reason: String| Error::Token { registry: self.registry.into(), realm: shown.clone(), reason };
        match response.status {
            200..=299 => {}
            401 | 403 => {
                return Err(Error::Unauthorized {
                    registry: self.registry.into(),
                    what: self.scopes.join(" "),
                    known: self.secret.is_some(),
                    message: super::error::envelope(&response).1,
                });
            }
            status => return Err(refuse(format!("status {status} {}", response.message()))),
        }
        let answer: Answer = serde_json::from_slice(&response.body).map_err(|_| refuse("malformed JSON".into()))?;
        let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| refuse("neither `token` nor `access_token`".into()))?;
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refuse("a token with odd characters".into()));
        }
        let lifetime = Duration::from_secs(answer.expires_in.unwrap_or(0)).clamp(MINIMUM_LIFETIME, MAXIMUM_LIFETIME);
        Ok(Authorization { header: format!("Bearer {token}"), expires: Some(Instant::now() + lifetime) })
    }

    fn call(&self, mut realm: Url) -> Call {
        if let Some(Secret::Identity(token)) = self.secret {
            let mut form = Serializer::new(String::new());
            form.append_pair("grant_type", "refresh_token").append_pair("client_id", "ingot");
            form.append_pair("service", self.service.unwrap_or_default());
            form.append_pair("scope", &self.scopes.join(" ")).append_pair("refresh_token", token);
            return Call::new(Method::POST, realm)
                .header("Content-Type", "application/x-www-form-urlencoded")
                .body(form.finish());
        }
        {
            let mut query = realm.query_pairs_mut();
            if let Some(service) = self.service {
                query.append_pair("service", service);
            }
            for scope in self.scopes {
                query.append_pair("scope", scope);
            }
        }
        let mut call = Call::new(Method::GET, realm);
        if let Some(Secret::Basic(credentials)) = self.secret {
            call.request.credentials = Some(credentials.clone());
        }
        call
    }
}

/// The realm, if it may be asked. The same host always may (private registries have private addresses); another one
/// only over https, and not if it is written as an address inside a network.
fn check_realm(api: &Url, realm: &str) -> Result<Url, &'static str> {
    let url = Url::parse(realm).map_err(|_| "it is not a URL")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("its URL has a user name or a password");
    }
    if url.fragment().is_some() {
        return Err("its URL has a fragment");
    }
    let same_host = url.host().is_some() && url.host() == api.host();
    match url.scheme() {
        "https" if same_host || !is_internal(&url) => Ok(url),
        "https" => Err("a public registry has no token server inside a network"),
        "http" if same_host && api.scheme() == "http" => Ok(url),
        "http" => Err("it is not https"),
        _ => Err("its scheme is neither http nor https"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realms_that_may_and_may_not_be_asked() {
        let check = |api: &str, realm: &str| check_realm(&Url::parse(api).unwrap(), realm);
        let public = "https://r.example/v2/";
        for (api, realm) in [
            (public, "https://r.example/token"),
            (public, "https://r.example:8443/token?x=y"),
            (public, "https://auth.other.example/token"),
            ("https://10.0.0.5:5000/v2/", "https://10.0.0.5/token"),
            ("http://10.0.0.5:5000/v2/", "http://10.0.0.5:5001/token"),
            ("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5001/token"),
            ("http://localhost:5000/v2/", "https://auth.example/token"),
        ] {
            assert!(check(api, realm).is_ok(), "{api} {realm}");
        }
        for (api, realm) in [
            (public, "http://r.example/token"),
            (public, "http://auth.other.example/token"),
            (public, "https://169.254.169.254/latest"),
            (public, "https://[::ffff:127.0.0.1]/token"),
            (public, "https://10.0.0.5/token"),
            (public, "https://localhost/token"),
            (public, "https://u:p@r.example/token"),
            (public, "https://r.example/token#x"),
            (public, "file:///etc/passwd"),
            (public, "/token"),
            (public, "https://"),
            ("http://127.0.0.1:5000/v2/", "http://127.0.0.2:5000/token"),
            ("http://localhost:5000/v2/", "http://evil.example/token"),
        ] {
            assert!(check(api, realm).is_err(), "{api} {realm}");
        }
    }

    #[test]
    fn a_renewed_token_is_shared_and_an_old_one_is_not_used() {
        let tokens = Tokens::default();
        let slot = tokens.slot("r.example", &["a".into()]);
        let first = renew(&slot, None, || Ok(Some(Authorization::lasting("1".into())))).unwrap();
        let shared = renew(&slot, None, || panic!("another thread has it")).unwrap();
        assert_eq!((&first, current(&tokens.slot("r.example", &["a".into()]))), (&shared, first.clone()));
        assert_eq!(current(&tokens.slot("r.example", &["b".into()])), None);
        let ending = Authorization { header: "2".into(), expires: Some(Instant::now() + Duration::from_secs(1)) };
        renew(&slot, first.as_ref(), || Ok(Some(ending))).unwrap();
        assert_eq!(current(&slot), None);
        assert!(!format!("{first:?}").contains('1'));
    }
}
