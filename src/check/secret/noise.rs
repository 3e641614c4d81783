//! What looks like a secret, and what only has its form: placeholders, words, names, digests, examples.

use base64::Engine as _;

use super::form::{Filter, Form};

/// What makers of examples write into any secret.
const PLACEHOLDERS: [&str; 16] = [
    "example",
    "sample",
    "changeme",
    "change-me",
    "change_me",
    "placeholder",
    "xxxxx",
    "*****",
    "dummy",
    "redacted",
    "replace",
    "insert",
    "notreal",
    "1234567",
    "abcdefg",
    "0000000",
];
/// What they write into passwords.
const LOOSE_PLACEHOLDERS: [&str; 21] = [
    "your",
    "my-",
    "my_",
    "test",
    "fake",
    "todo",
    "secret",
    "password",
    "passwd",
    "token",
    "foobar",
    "hunter",
    "none",
    "null",
    "default",
    "insecure",
    "local",
    "undefined",
    "user",
    "admin",
    "string",
];
/// What stands in for a value that is filled in later.
const OPENERS: [&str; 9] = ["${", "{{", "$(", "%(", "<", "...", "#{", "{%", "env:"];
/// Hosts that are nobody's, or this machine.
const NOBODY: [&str; 12] = [
    "localhost",
    "127.",
    "0.0.0.0",
    "[::1]",
    "example.",
    ".example",
    ".test",
    ".invalid",
    ".localhost",
    "host",
    "hostname",
    "server",
];

/// What begins like this says where the value is.
const ELSEWHERE: [&str; 19] = [
    "env:",
    "env.",
    "env[",
    "file:",
    "vault:",
    "process.env",
    "os.environ",
    "os.getenv",
    "self.",
    "this.",
    "req.",
    "request.",
    "settings.",
    "config.",
    "system.getenv",
    "arn:",
    "var.",
    "local.",
    "data.",
];
/// How options begin that have nothing behind them.
const SWITCHES: [&str; 8] = ["no-", "skip-", "random-", "generate-", "prompt-", "ask-", "disable-", "enable-"];
/// What answers a question about a secret, or says what kind of value it is.
const ANSWERS: [&str; 32] = [
    "true",
    "false",
    "yes",
    "no",
    "on",
    "off",
    "none",
    "null",
    "nil",
    "undefined",
    "required",
    "optional",
    "disable",
    "disabled",
    "enable",
    "enabled",
    "prompt",
    "ask",
    "string",
    "str",
    "text",
    "bool",
    "boolean",
    "stdin",
    "bearer",
    "basic",
    "token",
    "include",
    "same-origin",
    "omit",
    "always",
    "never",
];

/// Whether a match is a secret.
pub(super) fn is_secret(form: &Form, secret: &[u8], whole: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(secret) else { return false };
    // Where the place says it, a weak one is one, too.
    match form.filter {
        Filter::Password => return is_open(text, whole),
        Filter::Key => return is_open(text, whole) && !is_amount(text) && !text.contains("://"),
        Filter::Authority => return is_open(text, whole) && !is_port(text),
        Filter::Basic => return login(text).is_some(),
        Filter::Any => return true,
        _ => {}
    }
    if entropy(secret) < form.entropy || is_placeholder(text) {
        return false;
    }
    match form.filter {
        Filter::Loose => is_random(text),
        Filter::Env => !is_reference(text) && !text.contains("://") && !has_word(text),
        Filter::Github => has_checksum(text),
        Filter::DockerAuth => is_login(text),
        Filter::Url => is_password_of_somebody(text, whole),
        _ => true,
    }
}

/// Bits per character.
fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    for byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let total = bytes.len().max(1) as f64;
    counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / total).map(|p| -p * p.log2()).sum()
}

fn is_placeholder(text: &str) -> bool {
    PLACEHOLDERS.iter().any(|word| is_written(word, text))
}

fn has_word(text: &str) -> bool {
    LOOSE_PLACEHOLDERS.iter().any(|word| is_written(word, text))
}

/// Whether a word stands in a text as people write it: `word`, `WORD`, `Word`. In `wOrD` chance has put it there.
fn is_written(word: &str, text: &str) -> bool {
    let capital =
        |first: char| first.to_ascii_uppercase().to_string() + word.get(first.len_utf8()..).unwrap_or_default();
    text.contains(word)
        || text.contains(word.to_ascii_uppercase().as_str())
        || word.chars().next().is_some_and(|first| text.contains(capital(first).as_str()))
}

/// A value that stands for another one.
fn is_reference(text: &str) -> bool {
    text.starts_with(['$', '%', '@', '&']) || OPENERS.iter().any(|opener| text.contains(opener))
}

/// Letters and digits that nobody reads: no words, paths, addresses, identifiers, or hashes of passwords.
fn is_random(text: &str) -> bool {
    let count = |test: fn(&char) -> bool| text.chars().filter(test).count();
    let (letters, digits) = (count(char::is_ascii_alphabetic), count(char::is_ascii_digit));
    // `algorithm$salt$hash`: how passwords are kept where they may be.
    let hashed = text.matches('$').count() >= 2;
    let named =
        hashed || text.contains("://") || text.starts_with(['/', '.', '~']) || text.contains([' ', '(', ')', '[', ']']);
    if letters == 0 || digits == 0 || named || is_reference(text) || has_word(text) || is_uuid(text) {
        return false;
    }
    // Words with something between them: `correct-horse-4`, `app.config.provider2`.
    let parts: Vec<&str> =
        text.split(['-', '_', '.', '/', ':', ',', ';', '+', '=']).filter(|p| !p.is_empty()).collect();
    let is_word = |part: &&str| {
        let stem = part.trim_end_matches(|c: char| c.is_ascii_digit());
        (stem.chars().all(|c| c.is_ascii_lowercase()) || stem.chars().all(|c| c.is_ascii_uppercase()))
            && part.len() - stem.len() <= 4
            && stem.len() <= 14
            || is_camel(part)
    };
    !parts.iter().all(is_word)
}

/// `someNameLikeThis2`: humps of three letters and more.
fn is_camel(text: &str) -> bool {
    let stem = text.trim_end_matches(|c: char| c.is_ascii_digit());
    let mut hump = 3;
    for character in stem.chars() {
        match character {
            'A'..='Z' if hump < 3 => return false,
            'A'..='Z' => hump = 1,
            'a'..='z' => hump += 1,
            _ => return false,
        }
    }
    !stem.is_empty() && text.len() - stem.len() <= 4
}

fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

/// A classic GitHub token ends with the CRC-32 of what is before, in base 62.
fn has_checksum(token: &str) -> bool {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let Some((_, body)) = token.split_once('_') else { return false };
    // Longer ones are of a later kind.
    if body.len() != 36 {
        return true;
    }
    let (random, checksum) = body.split_at(30);
    let mut rest = crc32fast::hash(random.as_bytes());
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS.get(rest as usize % DIGITS.len()).copied().unwrap_or(b'0');
        rest /= DIGITS.len() as u32;
    }
    checksum.as_bytes() == digits
}

/// `user:password` of base64.
fn login(text: &str) -> Option<(String, String)> {
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
    let decoded = STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()?;
    let login = String::from_utf8(decoded).ok().filter(|login| login.chars().all(|c| c.is_ascii_graphic()))?;
    let (user, password) = login.split_once(':')?;
    Some((user.to_string(), password.to_string()))
}

fn is_login(text: &str) -> bool {
    login(text).is_some_and(|(user, password)| {
        !user.is_empty()
            && password.len() >= 6
            && !is_reference(&password)
            && !is_placeholder(&password)
            && !has_word(&password)
    })
}

/// A value that stands there itself: no variable, file, piece of a program, answer, or what it was made unreadable with.
fn is_open(text: &str, whole: &[u8]) -> bool {
    let lower = text.to_ascii_lowercase();
    let path = ["/", "./", "../", "~/", "@/"].iter().any(|begin| text.starts_with(begin))
        && !text.contains(['+', '='])
        && !text.ends_with('/');
    let elsewhere = text.starts_with(['$', '-', '<', '{', '[', '=', '*', '`', '%', '\\'])
        || text.starts_with(char::is_whitespace)
        || ["${", "$(", "{{", "%("].iter().any(|opener| text.contains(opener))
        || ELSEWHERE.iter().any(|begin| lower.starts_with(begin));
    // `!vault`, `!secret`.
    let tag = text.strip_prefix('!').is_some_and(|tag| tag.chars().all(|c| c.is_ascii_alphabetic()));
    let called = text.find(['(', '[']).is_some_and(|end| {
        let name = text.get(..end).unwrap_or_default();
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphabetic() || c == '_' || c == '.')
    });
    let hidden = text.chars().all(|c| matches!(c, '*' | 'x' | 'X' | '.' | '#' | '_')) && text.len() > 1;
    let nothing = text.is_empty() || matches!(text, "." | "~" | "!" | "?" | ":") || ANSWERS.contains(&lower.as_str());
    let switch = text.len() == 1 && text.bytes().all(|byte| byte.is_ascii_digit());
    !(path || elsewhere || tag || called || hidden || nothing || switch || is_asked(text, whole))
}

/// `--no-password mydb`, `${PASSWORD:?is missing}`.
fn is_asked(text: &str, whole: &[u8]) -> bool {
    let whole = String::from_utf8_lossy(whole).to_ascii_lowercase();
    let option = whole.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let none = whole.contains("--") && SWITCHES.iter().any(|switch| option.starts_with(switch));
    none || whole.starts_with("${") && text.starts_with(['?', '+'])
}

/// `100`, `15m`, `0.5`.
fn is_amount(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '_' | ','));
    unit.len() < text.len() && unit.len() <= 3 && unit.chars().all(|c| c.is_ascii_lowercase())
}

/// `8080/path`: the `@` behind it is the path's.
fn is_port(text: &str) -> bool {
    let digits = text.split_once('/').map(|(port, _)| port).filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
    digits.is_some()
}

/// Not `user:password@example.com`, nor what is known to be a database on this machine.
fn is_password_of_somebody(password: &str, whole: &[u8]) -> bool {
    let whole = String::from_utf8_lossy(whole);
    let Some((before, host)) = whole.rsplit_once('@') else { return false };
    let user = before.rsplit_once(':').map_or("", |(head, _)| head.rsplit('/').next().unwrap_or_default());
    let host = host.to_ascii_lowercase();
    let name = host.split(':').next().unwrap_or_default();
    let nobody = NOBODY.iter().any(|known| match known.as_bytes() {
        [b'.', ..] => name.ends_with(known),
        [.., b'.'] => name.starts_with(known) || name.contains(&format!(".{known}")),
        _ => name == *known || host.starts_with("[::1]"),
    });
    let plain = password.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '-')
        || password.chars().all(|c| c.is_ascii_uppercase() || c == '_' || c == '-');
    !(nobody || plain || password == user || is_reference(password) || has_word(password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn randomness_is_told_from_names() {
        for (text, random) in [
            ("q8Zr4Tn1Lw9Xk3Vb", true),
            ("9f8e7d6c5b4a39281706", true),
            ("app.config.provider2", false),
            ("correct-horse-battery-4", false),
            ("someNameLikeThis2", false),
            ("/etc/ssl/q8Zr4Tn1Lw", false),
            ("1b4e28ba-2fa1-11d2-883f-0016d3cca427", false),
            ("%(q8Zr4Tn1Lw9Xk3Vb)s", false),
        ] {
            assert_eq!(is_random(text), random, "{text}");
        }
        assert!(entropy(b"aaaa") < 0.01 && (entropy(b"abcd") - 2.0).abs() < 0.01 && entropy(b"") < 0.01);
    }
}
