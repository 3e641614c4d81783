use super::*;

#[test]
fn versions_are_cut_out_of_what_distributions_write() {
    for (text, expected) in [
        ("18.20.4", Some(Version::new(18, 20, 4))),
        ("v20.11.0", Some(Version::new(20, 11, 0))),
        ("18.20.4+dfsg-1~deb12u3", Some(Version::new(18, 20, 4))),
        ("20.20.2-1nodesource1", Some(Version::new(20, 20, 2))),
        ("18", None),
        ("", None),
    ] {
        assert_eq!(Version::of_release(text), expected, "{text}");
    }
    assert_eq!(Version::new(18, 20, 4).to_string(), "18.20.4");
}

/// The order of node-semver's own tests.
#[test]
fn versions_have_an_order() {
    let ordered = [
        "0.0.0-foo",
        "0.0.0",
        "0.0.1",
        "1.2.3-4",
        "1.2.3-4-foo",
        "1.2.3-5-foo",
        "1.2.3-a.5",
        "1.2.3-a.10",
        "1.2.3-a.b",
        "1.2.3",
        "1.2.4-0",
        "2.7.2+asdf",
        "3.0.0",
    ];
    let parsed: Vec<Version> = ordered.iter().map(|text| Version::parse(text).unwrap()).collect();
    for pair in parsed.windows(2) {
        assert!(pair[0] < pair[1], "{} {}", pair[0], pair[1]);
    }
    assert_eq!(Version::parse("1.2.3-a.10").unwrap().to_string(), "1.2.3-a.10");
    for none in ["", "1", "1.2", "1.2.x", "1.2.3.4", "a.b.c", "1.2.3-", "1.2.3-ä", "1..2"] {
        assert_eq!(Version::parse(none), None, "{none}");
    }
}

fn of(range: &str, version: &str) -> Option<bool> {
    Some(Range::parse(range)?.contains(&Version::parse(version).unwrap()))
}

/// The answers are node-semver's, `satisfies(version, range)`.
#[test]
fn ranges_are_read_as_npm_reads_them() {
    for (range, inside, outside) in [
        ("", "0.0.0 99.0.0", "1.0.0-rc.1"),
        ("*", "0.0.0 99.0.0", "1.0.0-rc.1"),
        ("x", "18.0.0", ""),
        ("18", "18.0.0 18.99.0", "17.9.9 19.0.0"),
        ("18.x", "18.0.0 18.99.0", "17.9.9 19.0.0 19.0.0-0"),
        ("18.2", "18.2.0 18.2.9", "18.1.0 18.3.0"),
        ("=18.2.1", "18.2.1", "18.2.0 18.2.2 18.2.1-rc.1"),
        ("v18.2.1", "18.2.1", "18.2.2"),
        (">=18", "18.0.0 20.0.0", "17.9.9 20.0.0-rc.1"),
        (">= 18", "18.0.0 20.0.0", "17.9.9"),
        (">=18.0.0-0", "18.0.0 18.0.0-alpha", "17.9.9 18.0.1-alpha"),
        (">18", "19.0.0", "18.99.0"),
        (">18.2", "18.3.0", "18.2.9"),
        (">18.2.1", "18.2.2", "18.2.1"),
        (">*", "", "18.0.0"),
        ("<18", "17.9.9", "18.0.0 18.0.0-rc.1"),
        ("<18.2.1-rc.2", "17.9.9 18.2.1-rc.1", "18.2.1-rc.2 18.2.0-rc.1"),
        ("<=18", "18.99.0", "19.0.0"),
        ("<=18.2.1", "18.2.1", "18.2.2"),
        ("~18.2.1", "18.2.1 18.2.9", "18.2.0 18.3.0"),
        ("~18.2.1-beta.2", "18.2.1 18.2.1-beta.2 18.2.1-beta.10", "18.2.1-beta.1 18.2.2-beta.3"),
        ("~> 18", "18.0.0 18.9.0", "19.0.0"),
        ("^18.2.1", "18.2.1 18.9.0", "18.2.0 19.0.0"),
        ("^2.0.0-rc.1", "2.0.0-rc.1 2.0.0 2.1.0", "1.0.0 2.1.0-rc.1 2.0.0-rc.0 3.0.0"),
        ("^2", "2.1.0", "2.1.0-beta.1"),
        ("^0.2.1", "0.2.1 0.2.9", "0.3.0 0.2.0"),
        ("^0.0.3", "0.0.3", "0.0.4 0.0.2"),
        ("^0.0", "0.0.9", "0.1.0"),
        ("^0", "0.9.0", "1.0.0"),
        ("^16.14.0 || >=18.0.0", "16.14.0 16.99.0 18.0.0 22.0.0", "16.13.0 17.0.0"),
        (">=10 <12 || 14", "10.0.0 11.9.0 14.1.0", "12.0.0 13.0.0"),
        ("10 - 12", "10.0.0 12.9.9", "9.0.0 13.0.0"),
        ("10.1.2 - 12.0.1", "10.1.2 12.0.1", "10.1.1 12.0.2"),
        ("1.0.0 - x", "1.0.0 99.0.0", "0.9.0"),
    ] {
        inside
            .split_whitespace()
            .for_each(|version| assert_eq!(of(range, version), Some(true), "{version} in {range}"));
        outside
            .split_whitespace()
            .for_each(|version| assert_eq!(of(range, version), Some(false), "{version} not in {range}"));
    }
    for nonsense in ["latest", ">=node", "1.2.3.4", "=>18", "99999999999999999999", "git+ssh://x/y.git#1", "./x", "a/b"]
    {
        assert!(Range::parse(nonsense).is_none(), "{nonsense}");
    }
}

#[test]
fn ranges_meet_where_npm_says_so() {
    for (one, other, expected) in [
        ("^1.0.0", "1.2.3", true),
        ("^1.0.0", "^2.0.0", false),
        ("<2", ">=2", false),
        ("<=2.0.0", ">=2.0.0", true),
        ("1 || 3", "2 || 3.1", true),
        ("*", "9", true),
        (">1.0.0", "1.0.0", false),
        ("1.2.3-rc.1", "^1", false),
        ("1.2.3-rc.1", ">=1.2.3-rc.0", true),
        ("<0.0.0", "<=2", false),
    ] {
        let (one, other) = (Range::parse(one).unwrap(), Range::parse(other).unwrap());
        assert_eq!((one.meets(&other), other.meets(&one)), (expected, expected), "{one:?} {other:?}");
    }
}
