//! What the name of a variable says: whether it holds a secret, and whose.

/// Last words of names that hold a secret.
const LAST: [&str; 12] = [
    "APIKEY",
    "PASS",
    "PASSKEY",
    "PASSPHRASE",
    "PASSWD",
    "PASSWORD",
    "PRESHAREDKEY",
    "PW",
    "PWD",
    "SALT",
    "SECRET",
    "TOKEN",
];
/// Ends of last words of them: `DBPASS`, `WEBPASSWORD`, `JWTSECRET`.
const GLUED: [&str; 6] = ["APIKEY", "PASS", "PASSWD", "PASSWORD", "SECRET", "TOKEN"];
/// Words that end so and are none.
const OTHERS: [&str; 8] = ["BYPASS", "COMPASS", "GATEPASS", "OVERPASS", "SURPASS", "TRESPASS", "TOPASS", "UNDERPASS"];
/// Last words of them, in a row.
const ENDS: [&str; 16] = [
    "ACCESS_KEY",
    "API_KEY",
    "APP_KEY",
    "AUTH_KEY",
    "COOKIE_KEY",
    "FERNET_KEY",
    "HASH_KEY",
    "KEY_BASE",
    "MASTER_KEY",
    "PRESHARED_KEY",
    "PRIVATE_KEY",
    "SECRET_KEY",
    "SESSION_KEY",
    "SHARED_KEY",
    "SIGNING_KEY",
    "SECRET_KEY_BASE",
];
/// Who calls the public half of a pair of keys an access key.
const PAIRS: [&str; 3] = ["AWS", "MINIO", "S3"];
/// Ends of those that are a key to somebody else's service: without one, that is not used.
const KEYS: [&str; 4] = ["ACCESS_KEY", "API_KEY", "APIKEY", "TOKEN"];
/// Words of names that are about somebody else's service.
const ELSEWHERE: [&str; 30] = [
    "AD",
    "AWS",
    "AZURE",
    "CLIENT",
    "CLIENTSECRET",
    "CLOUDFLARE",
    "EMAIL",
    "GCP",
    "GITHUB",
    "GITLAB",
    "GOOGLE",
    "IMAP",
    "LDAP",
    "MAIL",
    "MAILER",
    "MAILGUN",
    "OAUTH",
    "OAUTH2",
    "OIDC",
    "PAYPAL",
    "PROXY",
    "S3",
    "SAML",
    "SENTRY",
    "SLACK",
    "SMTP",
    "SSO",
    "STRIPE",
    "TELEGRAM",
    "TWILIO",
];
/// Ends of names without whose secret a store is open, or a session can be forged by everybody.
const NEEDED: [&str; 29] = [
    "ADMIN_PASS",
    "ADMIN_PASSWORD",
    "ADMIN_SECRET",
    "APP_KEY",
    "AUTH_SECRET",
    "COOKIE_SECRET",
    "DATABASE_PASSWORD",
    "DBPASS",
    "DB_PASS",
    "DB_PASSWORD",
    "DEFAULT_PASSWORD",
    "ELASTIC_PASSWORD",
    "ENCRYPTION_KEY",
    "FERNET_KEY",
    "JWTSECRET",
    "JWT_SECRET",
    "KEY_BASE",
    "MARIADB_PASSWORD",
    "MASTER_KEY",
    "MYSQL_PASSWORD",
    "NEXTAUTH_SECRET",
    "POSTGRES_PASSWORD",
    "RCON_PASSWORD",
    "REDIS_PASSWORD",
    "ROOT_PASSWORD",
    "SECRET_KEY",
    "SESSION_SECRET",
    "SIGNING_KEY",
    "VNC_PASSWORD",
];
/// Keys to the service itself, and not to somebody else's.
const DOORS: [&str; 1] = ["JUPYTER_TOKEN"];
/// Words that say whether there is one at all.
const SWITCHES: [&str; 16] = [
    "ALLOW", "CHANGE", "CHECK", "DISABLE", "ENABLE", "FORCE", "HAS", "IS", "NO", "RANDOM", "REQUIRE", "RESET", "SHOW",
    "SKIP", "USE", "WITH",
];
/// Words whose number says how much of something there is.
const AMOUNTS: [&str; 24] = [
    "AGE", "BUDGET", "BYTES", "COST", "COUNT", "DAYS", "EXPIRES", "EXPIRY", "HOURS", "LEN", "LENGTH", "LIFETIME",
    "LIMIT", "MAX", "MIN", "MINUTES", "NUM", "NUMBER", "PER", "PRICE", "SECONDS", "SIZE", "TIMEOUT", "TTL",
];
/// How names begin whose values a bundler writes into what every browser gets.
const PUBLISHED: [&str; 9] = [
    "EXPO_PUBLIC_",
    "GATSBY_",
    "NEXT_PUBLIC_",
    "NUXT_PUBLIC_",
    "PUBLIC_",
    "REACT_APP_",
    "SNOWPACK_PUBLIC_",
    "VITE_",
    "VUE_APP_",
];

/// A name in upper case, with `_` between its words: `apiKey`, `db.password`.
fn plain(variable: &str) -> String {
    let mut out = String::new();
    let mut was_lower = false;
    for c in variable.chars() {
        if was_lower && c.is_ascii_uppercase() {
            out.push('_');
        }
        was_lower = c.is_ascii_lowercase();
        out.push(if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    }
    out
}

fn ends(upper: &str, with: &[&str]) -> bool {
    with.iter().any(|end| upper.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('_')))
}

fn has(upper: &str, words: &[&str]) -> bool {
    upper.split('_').any(|word| words.contains(&word))
}

/// `POSTGRES_PASSWORD`, `DBPASS`, `JWT_SECRET`; not `PASSWORD_FILE`, which names a file, and not `PWD`, where a shell is.
pub fn is_secret(variable: &str) -> bool {
    let upper = plain(variable);
    let last = upper.rsplit('_').next().unwrap_or_default();
    let is_word = LAST.contains(&last) && upper != "PWD"
        || GLUED.iter().any(|end| last.ends_with(end)) && !OTHERS.contains(&last)
        || ends(&upper, &ENDS)
        || last == "KEY" && has(&upper, &["ENCRYPTION"]);
    is_word && !is_half(variable)
}

/// `AWS_ACCESS_KEY`, which is a name beside `AWS_SECRET_ACCESS_KEY`.
pub fn is_half(variable: &str) -> bool {
    let upper = plain(variable);
    ends(&upper, &["ACCESS_KEY"]) && has(&upper, &PAIRS) && !has(&upper, &["SECRET"])
}

/// `MYSQL_ALLOW_EMPTY_PASSWORD=yes`, `SEND_TOKEN=true`.
pub fn is_switch(variable: &str, value: &str) -> bool {
    let upper = plain(variable);
    let is_word = matches!(value.to_ascii_lowercase().as_str(), "yes" | "no" | "true" | "false" | "on" | "off");
    is_word && ends(&upper, &KEYS) || (is_word || matches!(value, "0" | "1")) && has(&upper, &SWITCHES)
}

/// `MAX_TOKEN=100`, `COST_PER_TOKEN=0.002`, `SECONDS_TO_RESET_PASSWORD=3600`, `TTL_OF_TOKEN=15m`.
pub fn is_number(variable: &str, value: &str) -> bool {
    let number = value.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    number.parse::<f64>().is_ok() && value.len() - number.len() <= 2 && has(&plain(variable), &AMOUNTS)
}

/// `NEXT_PUBLIC_API_KEY`: every browser gets it. A password is none of those all the same.
pub fn is_published(variable: &str) -> bool {
    PUBLISHED.iter().any(|begin| variable.starts_with(begin)) && ends(&plain(variable), &KEYS)
}

/// Whether nothing may be there: a key to somebody else's service, or what its author left empty on purpose and no store and
/// no session depends on.
pub fn may_be_empty(variable: &str, on_purpose: bool) -> bool {
    let upper = plain(variable);
    let is_own = ends(&upper, &["ADMIN_PASSWORD", "ROOT_PASSWORD"]) || LAST.contains(&upper.as_str());
    !ends(&upper, &DOORS)
        && (ends(&upper, &KEYS) || !is_own && (has(&upper, &ELSEWHERE) || on_purpose && !ends(&upper, &NEEDED)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_a_secret() {
        for name in [
            "POSTGRES_PASSWORD",
            "DBPASS",
            "REDISPASS",
            "WEBPASSWORD",
            "CAM_PW",
            "DB_PWD",
            "MYSQL_PWD",
            "VIKUNJA_SERVICE_JWTSECRET",
            "OIDC_CLIENTSECRET",
            "ENCRYPTION_PRIMARY_KEY",
            "GITLAB_SECRETS_DB_KEY_BASE",
            "AIRFLOW__CORE__FERNET_KEY",
            "PASSKEY",
            "SALT",
            "apiKey",
            "db.password",
            "SECRET_KEY_BASE",
            "AWS_SECRET_ACCESS_KEY",
            "SWDD_HASH_KEY",
            "WIREGUARD_PRESHARED_KEY",
            "token",
            "LDAP_BIND_PW",
            "AZURE_STORAGE_ACCESS_KEY",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "PASSWORD_FILE",
            "MAIL_PASS_SCHEME",
            "DISABLE_PASSWORD_LOGIN",
            "TOKEN_EXPIRY",
            "SECRET_NAME",
            "API_KEY_PATH",
            "COMPASS",
            "BYPASS",
            "PROXY_BYPASS",
            "PWD",
            "TOKENS",
            "KEYBOARD",
            "PRIMARY_KEY",
            "PUBLIC_KEY",
            "AWS_ACCESS_KEY",
            "MINIO_ACCESS_KEY",
            "OVERPASS",
            "MONKEY",
            "PASSWORD_RESET_URL",
            "GF_SECURITY_ADMIN_PASSWORD__FILE",
            "PASSENGER",
            "SECRETARY",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn some_may_be_empty() {
        for name in [
            "OPENAI_API_KEY",
            "OAUTH_GITHUB_APP_SECRET",
            "SMTP_PASSWORD",
            "GITHUB_TOKEN",
            "OIDC_CLIENTSECRET",
            "AWS_SECRET",
        ] {
            assert!(may_be_empty(name, false) && may_be_empty(name, true), "{name}");
        }
        for name in ["DOVECOT_MASTER_PASS", "REDISMASTERPASS", "GAUSSDB_PASSWORD", "JIBRI_XMPP_PASSWORD"] {
            assert!(!may_be_empty(name, false) && may_be_empty(name, true), "{name}");
        }
        for name in [
            "JWT_SECRET",
            "GITLAB_ROOT_PASSWORD",
            "DB_PASSWORD",
            "MYSQL_ROOT_PASSWORD",
            "SECRET_KEY",
            "DJANGO_SECRET_KEY",
            "FERNET_KEY",
            "PASSWORD",
            "DBPASS",
            "ELASTIC_PASSWORD",
            "MEILI_MASTER_KEY",
            "NEXTAUTH_SECRET",
            "ADMIN_PASS",
            "JUPYTER_TOKEN",
            "HASURA_GRAPHQL_ADMIN_SECRET",
            "PGADMIN_DEFAULT_PASSWORD",
        ] {
            assert!(!may_be_empty(name, false) && !may_be_empty(name, true), "{name}");
        }
    }
}
