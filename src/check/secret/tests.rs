use super::*;

/// Characters that look random, and are the same in every run.
struct Maker(u64);

impl Maker {
    fn next(&mut self, below: usize) -> usize {
        // Knuth's MMIX generator; the high bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }

    /// `length` characters of `alphabet`, no one more often than needed: entropy is as high as it gets.
    fn text(&mut self, alphabet: &str, length: usize) -> String {
        let alphabet: Vec<char> = alphabet.chars().collect();
        let mut bag: Vec<char> = Vec::new();
        (0..length)
            .map(|_| {
                if bag.is_empty() {
                    bag = alphabet.clone();
                }
                let at = self.next(bag.len());
                bag.swap_remove(at)
            })
            .collect()
    }

    fn kind(&mut self, kind: &str, length: usize) -> Option<String> {
        let (up, lo, digits) = ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "0123456789");
        Some(match kind {
            "an" => self.text(&format!("{digits}{up}{lo}"), length),
            "up" => self.text(&format!("{digits}{up}"), length),
            "lo" => self.text(lo, length),
            "al" => self.text(&format!("{up}{lo}"), length),
            "d" => self.text(digits, length),
            "hex" => self.text("0123456789abcdef", length),
            "b32" => self.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", length),
            "b64" => self.text(&format!("{digits}{up}{lo}+/"), length),
            "url" => self.text(&format!("{digits}{up}{lo}-_"), length),
            "github" => {
                let random = self.text(&format!("{digits}{up}{lo}"), length);
                let mut rest = crc32fast::hash(random.as_bytes()) as usize;
                let order: Vec<char> = format!("{digits}{up}{lo}").chars().collect();
                let mut checksum = String::new();
                for _ in 0..6 {
                    checksum.insert(0, order[rest % 62]);
                    rest /= 62;
                }
                random + &checksum
            }
            "auth" => {
                use base64::Engine as _;
                let login = format!("robot:{}", self.text(&format!("{digits}{up}{lo}"), length));
                base64::engine::general_purpose::STANDARD.encode(login)
            }
            _ => return None,
        })
    }

    /// Replaces `{an:36}` and the like.
    fn fill(&mut self, template: &str) -> String {
        let mut out = String::new();
        let mut rest = template;
        while let Some((head, tail)) = rest.split_once('{') {
            out += head;
            let made = tail.split_once('}').and_then(|(inner, after)| {
                let (kind, length) = inner.split_once(':')?;
                Some((self.kind(kind, length.parse().ok()?)?, after))
            });
            match made {
                Some((text, after)) => {
                    out += &text;
                    rest = after;
                }
                None => {
                    out.push('{');
                    rest = tail;
                }
            }
        }
        out + rest
    }
}

fn kind_of(form: &Form) -> Files {
    if form.files == Files::All { Files::Source } else { form.files }
}

/// Shows each form with its samples, as texts of many kinds: `hit` those that it has to find, `miss` the others.
fn samples(forms: &[Form], hit: impl Fn(&Form, &str, &str), miss: impl Fn(&Form, &str, &str)) {
    for (index, form) in forms.iter().enumerate() {
        assert!(form.expression().is_some(), "{}: the pattern does not compile", form.rule());
        assert!(!form.hit.is_empty() && !form.miss.is_empty(), "{} has no samples", form.rule());
        for round in 0..20 {
            let mut maker = Maker(index as u64 * 1000 + round);
            for template in &form.hit {
                let text = maker.fill(template);
                hit(form, &text, &format!("{}: {template} in round {round}: {text}", form.rule()));
            }
            for template in &form.miss {
                let text = maker.fill(template);
                miss(form, &text, &format!("{}: {template} in round {round}: {text}", form.rule()));
            }
        }
    }
}

#[test]
fn every_form_has_what_matches_and_what_does_not() {
    assert!(forms().len() > 45);
    let hit = |form: &Form, text: &str, which: &str| {
        let found = scan(text.as_bytes(), kind_of(form));
        assert_eq!(found.iter().map(|hit| hit.rule.as_str()).collect::<Vec<_>>(), [form.rule()], "{which}");
        assert!(!found[0].allowed && !text.contains(&found[0].evidence.to_string()), "{which}");
    };
    samples(forms(), hit, |form, text, which| {
        let found = scan(text.as_bytes(), kind_of(form));
        assert!(found.iter().all(|hit| hit.rule != form.rule()), "{which}");
    });
}

#[test]
fn every_form_of_a_stack_has_what_matches_and_what_does_not() {
    assert!(stack_forms().len() > 12);
    let hit = |form: &Form, text: &str, which: &str| {
        assert!(!scan_stack(text.as_bytes()).is_empty(), "{which}");
        // Another form may be first; alone, this one finds it.
        assert!(matches(form, text.as_bytes(), 0..text.len()).next().is_some(), "{which}");
        let lower = text.to_ascii_lowercase();
        let word = form.words.iter().any(|word| lower.contains(&word.to_ascii_lowercase()));
        assert!(word, "no word of it is in {which}");
    };
    samples(stack_forms(), hit, |form, text, which| {
        let found = scan_stack(text.as_bytes());
        assert!(found.iter().all(|(hit, ..)| hit.rule != form.rule()), "{which}");
    });
}

#[test]
fn what_stacks_usually_say_is_no_secret() {
    for text in include_str!("usual.txt").lines() {
        let found = scan_stack(text.as_bytes());
        assert!(found.is_empty(), "{}: {text}", found[0].0.rule);
    }
}

#[test]
fn what_is_no_secret_is_not_found() {
    let mut maker = Maker(7);
    for template in [
        "flask==3.1.3 \\\n    --hash=sha256:{hex:64} \\\n    --hash=sha256:{hex:64}\n",
        "<img src=\"data:image/png;base64,{b64:4000}\">",
        "\"integrity\": \"sha512-{b64:86}==\"",
        "id = \"{hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}\"",
        "commit {hex:40}\nMerge: {hex:7} {hex:7}",
        "def token(self, token=None): return self.token or token",
        "password = getpass.getpass('Password: ')",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{b64:43} me@host",
        "-----BEGIN CERTIFICATE-----\n{b64:64}\n{b64:64}\n-----END CERTIFICATE-----",
        "csrf_token = \"{{ csrf_token() }}\"",
        "sha256:{hex:64}",
        "SECRET_KEY = config('SECRET_KEY')",
        "\"token\": \"string\", \"password\": \"string\"",
        "https://user:pass@example.com:8080/p/a/t/h?query=string#hash",
    ] {
        let text = maker.fill(template);
        assert_eq!(scan(text.as_bytes(), Files::Source), [], "{text}");
    }
}

#[test]
fn a_finding_knows_its_line_and_what_answers_for_it() {
    let token = Maker(1).fill("ghp_{github:30}");
    let text = format!("a\nb\nx = '{token}'\n");
    let hits = scan(text.as_bytes(), Files::Source);
    assert_eq!((hits.len(), hits[0].line, hits[0].evidence.begins.as_str()), (1, 3, "ghp_"));
    // The line of a block is that of its first line, whatever stands before it.
    let block = Maker(3).fill("\n\n-----BEGIN PRIVATE KEY-----\n{b64:64}\n{b64:64}\n{b64:64}\n");
    let hits = scan(block.as_bytes(), Files::Source);
    assert_eq!((hits.len(), hits[0].line, hits[0].evidence.length), (1, 3, None));
    let hits = scan(format!("a\n\n{token}\n").as_bytes(), Files::Source);
    assert_eq!((hits.len(), hits[0].line), (1, 3));
    for (text, allowed) in [
        (format!("'{token}'  # ingot: allow secret-github-token it is revoked"), true),
        (format!("# ingot: allow secret-github-token it is revoked\n'{token}'"), true),
        (format!("# ingot: allow secret-github-token it is revoked\n\n'{token}'"), false),
        (format!("'{token}'  # ingot: allow secret-github-token"), false),
        (format!("'{token}'  # ingot: allow secret-jwt it is none"), false),
    ] {
        assert_eq!(scan(text.as_bytes(), Files::Source)[0].allowed, allowed, "{text}");
    }
}

#[test]
fn bytes_of_all_kinds_take_linear_time() {
    let token = Maker(2).fill("ghp_{github:30}");
    // One line of 8 MB with a word at every place, and one secret in it.
    let mut line = "secret=token=password=\"eyJ-----BEGIN PRIVATE KEY-----".repeat(150_000).into_bytes();
    line.extend(format!(" {token} ").into_bytes());
    line.extend(b"://a:".repeat(100_000));
    let hits = scan(&line, Files::Source);
    assert!(hits.iter().any(|hit| hit.rule == "secret-github-token"), "{hits:?}");
    // Neither binary garbage nor broken UTF-8 is in the way.
    let mut garbage: Vec<u8> = (0..100_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    garbage.extend(format!("\n{token}\n\u{fffd}").into_bytes());
    garbage.extend([0xff, 0xfe, 0x80]);
    assert_eq!(scan(&garbage, Files::All).len(), 1);
    assert_eq!(scan(b"", Files::All), []);
}
