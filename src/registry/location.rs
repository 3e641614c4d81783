//! Where a registry sends an upload or a next page.

use url::Url;

use super::client::odd;
use super::{Error, Result};
use crate::net::{Response, is_internal, same_origin};

/// The `Location` of an answer: relative or absolute, to any public host, but never from https to http, and never
/// from a public registry into a private network.
pub(super) fn location(response: &Response) -> Result<Option<Url>> {
    let Some(text) = response.header("location") else { return Ok(None) };
    let base = &response.url;
    let mut url = base.join(text).map_err(|_| odd(base, "its Location is not a URL"))?;
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    match (base.scheme(), url.scheme()) {
        (_, "https") | ("http", "http") => {}
        _ => return Err(odd(base, "its Location leaves https")),
    }
    if is_internal(&url) && !is_internal(base) && url.host() != base.host() {
        return Err(odd(base, "its Location leads into a private network"));
    }
    Ok(Some(url))
}

/// The next page of a list, by `Link: <...>; rel="next"`: at the same origin.
pub(super) fn next_page(response: &Response) -> Result<Option<Url>, Error> {
    let base = &response.url;
    for link in response.all("link") {
        for part in link.split(',') {
            let Some((target, parameters)) = part.trim().strip_prefix('<').and_then(|rest| rest.split_once('>')) else {
                continue;
            };
            let parameters = parameters.to_ascii_lowercase().replace(['"', ' '], "");
            if !parameters.split(';').any(|parameter| parameter == "rel=next") {
                continue;
            }
            let url = base.join(target).map_err(|_| odd(base, "its Link is not a URL"))?;
            if !same_origin(&url, base) {
                return Err(odd(base, "its next page is on another server"));
            }
            return Ok(Some(url));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(base: &str, name: &str, value: &str) -> Response {
        let headers = vec![(name.to_string(), value.to_string())];
        Response { status: 202, url: Url::parse(base).unwrap(), headers, body: Vec::new() }
    }

    #[test]
    fn locations() {
        let at = |base: &str, to: &str| location(&response(base, "Location", to));
        let base = "https://r.example/v2/a/blobs/uploads/";
        for (to, expected) in [
            ("/v2/a/blobs/uploads/1?_state=x", "https://r.example/v2/a/blobs/uploads/1?_state=x"),
            ("1", "https://r.example/v2/a/blobs/uploads/1"),
            ("https://s.example:443/up?sig=1#f", "https://s.example/up?sig=1"),
            ("https://u:p@r.example/x", "https://r.example/x"),
            ("//s.example/x", "https://s.example/x"),
        ] {
            assert_eq!(at(base, to).unwrap().unwrap().as_str(), expected);
        }
        for bad in ["http://r.example/x", "file:///x", "https://[x", "https://169.254.169.254/x", "https://10.1.1.1/x"]
        {
            assert!(matches!(at(base, bad), Err(Error::Protocol { .. })), "{bad}");
        }
        assert!(at("http://127.0.0.1:5000/v2/", "http://127.0.0.1:6000/x").unwrap().is_some());
        assert!(location(&response(base, "X", "y")).unwrap().is_none());
    }

    #[test]
    fn next_pages_stay_at_home() {
        let at = |to: &str| next_page(&response("https://r.example/v2/a/tags/list", "Link", to));
        let next = "https://r.example/v2/a/tags/list?last=x&n=2";
        assert_eq!(at("</v2/a/tags/list?last=x&n=2>; rel=\"next\"").unwrap().unwrap().as_str(), next);
        assert_eq!(at("</p>; rel=prev, <list?last=x&n=2>;rel=next").unwrap().unwrap().as_str(), next);
        assert!(at("</p>; rel=\"prev\"").unwrap().is_none() && at("garbage").unwrap().is_none());
        assert!(at("<https://evil.example/x>; rel=next").is_err());
    }
}
