//! Every rule of the resolver, on hand-made archives.

use std::sync::Arc;

use super::*;
use crate::debian::{Package, Paragraph, Upgrade, paragraphs};
use crate::error::Explain;

/// An archive from text. `Pin` is the priority, `Security: yes` says that it is a security update.
#[derive(Default)]
pub(super) struct Archive {
    all: Vec<Candidate>,
}

impl Archive {
    pub fn new(text: &str) -> Archive {
        let candidate = |text: &str| {
            let mut paragraph = Paragraph::parse(text);
            if paragraph.get("Architecture").is_none() {
                paragraph.set("Architecture", "amd64");
            }
            let package = Arc::new(Package::parse(&paragraph).unwrap());
            let priority = paragraph.get("Pin").map_or(500, |pin| pin.parse().unwrap());
            Candidate { package, priority, security: paragraph.get("Security") == Some("yes") }
        };
        let mut all: Vec<Candidate> = paragraphs(text).map(candidate).collect();
        all.sort_by(|a, b| {
            let (x, y) = (&a.package, &b.package);
            x.name.cmp(&y.name).then(b.priority.cmp(&a.priority)).then(y.version.cmp(&x.version))
        });
        Archive { all }
    }

    pub fn all(&self) -> &[Candidate] {
        &self.all
    }
}

impl Universe for Archive {
    fn versions(&self, name: &str) -> Result<Vec<Candidate>, Error> {
        Ok(self.all.iter().filter(|one| one.package.name == name).cloned().collect())
    }

    fn providers(&self, name: &str) -> Result<Vec<Candidate>, Error> {
        let provides = |one: &&Candidate| {
            one.package.name != name && one.package.provides.iter().any(|provided| provided.name == name)
        };
        Ok(self.all.iter().filter(provides).cloned().collect())
    }

    fn similar(&self, name: &str) -> Vec<String> {
        let mut names: Vec<String> = self.all.iter().map(|one| one.package.name.clone()).collect();
        names.dedup();
        names.retain(|known| known.starts_with(name.split_at(1).0));
        names
    }
}

/// "aa 1; Depends: bb; Provides: cc" for each line.
pub(super) fn text(lines: &str) -> String {
    let mut text = String::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut parts = line.split(';').map(str::trim);
        let (name, version) = parts.next().unwrap().split_once(' ').unwrap();
        text.push_str(&format!("Package: {name}\nVersion: {version}\n"));
        parts.for_each(|field| text.push_str(&format!("{field}\n")));
        text.push('\n');
    }
    text
}

pub(super) fn archive(lines: &str) -> Archive {
    Archive::new(&text(lines))
}

pub(super) fn base(lines: &str) -> Installed {
    let text = text(lines).replace("\n\n", "\nArchitecture: amd64\n\n");
    Installed::parse([text.as_str()]).unwrap()
}

pub(super) fn request(packages: &str) -> Request {
    let wanted = |(index, text)| Wanted::parse(text, index).unwrap();
    Request {
        packages: packages.split_whitespace().enumerate().map(wanted).collect(),
        architecture: "amd64".into(),
        ..Request::default()
    }
}

pub(super) fn shown(solution: &Solution) -> String {
    let change = |change: &Change| {
        let old = change.old.as_ref().map(|old| format!("{old}->")).unwrap_or_default();
        format!("{}={old}{}", change.candidate.package.name, change.candidate.package.version)
    };
    solution.changes.iter().map(change).collect::<Vec<_>>().join(" ")
}

fn answer(lines: &str, wanted: &str) -> String {
    shown(&solve(&archive(lines), &Installed::empty(), &request(wanted)).unwrap())
}

fn refusal(lines: &str, installed: &str, wanted: &str) -> (String, String) {
    let error = solve(&archive(lines), &base(installed), &request(wanted)).unwrap_err();
    assert_eq!(error.class().code(), 2);
    (error.to_string(), error.details().unwrap_or_default())
}

#[test]
fn what_is_needed_comes_along_and_nothing_else() {
    let lines = "aa 1; Depends: bb (>= 2), cc; Pre-Depends: dd; Recommends: rr; Suggests: rr
                 bb 1
                 bb 2
                 cc 1; Depends: aa
                 dd 1; Depends: dd
                 rr 1";
    assert_eq!(answer(lines, "aa"), "aa=1 bb=2 cc=1 dd=1");
    assert_eq!(answer(lines, ""), "");
    let solution = solve(&archive(lines), &Installed::empty(), &request("aa dd")).unwrap();
    let reasons: Vec<&Reason> = solution.changes.iter().map(|change| &change.reason).collect();
    let by_aa = Reason::Needed("aa".into());
    assert_eq!(reasons, [&Reason::Requested, &by_aa, &by_aa, &Reason::Requested]);
}

#[test]
fn the_highest_priority_then_the_latest_version_is_the_candidate() {
    let lines = "aa 3; Pin: 100
                 aa 2
                 aa 1
                 bb 1; Pin: 990
                 bb 2
                 cc 1; Pin: -1
                 dd 1; Depends: aa (>= 3)";
    assert_eq!(answer(lines, "aa bb"), "aa=2 bb=1");
    assert_eq!(answer(lines, "aa=3 bb=2 cc=1 dd"), "aa=3 bb=2 cc=1 dd=1");
    assert_eq!(refusal(lines, "", "cc").0, "a pin of the base's apt forbids package `cc`");
    assert_eq!(
        refusal(lines, "", "aa dd"),
        (
            "package `dd` cannot be installed".into(),
            "`dd` needs `aa (>= 3)`, and the archive has `3`, but apt's pins or what the base has forbid it".into()
        )
    );
}

#[test]
fn the_first_alternative_is_taken_unless_another_one_is_there() {
    let lines = "aa 1; Depends: bb | cc
                 bb 1
                 cc 1
                 dd 1; Depends: xx | cc
                 ee 1; Depends: bb (>= 2) | cc
                 ff 1; Depends: gg | cc
                 gg 1; Depends: missing
                 hh 1; Depends: jj | cc
                 jj 1; Depends: kk
                 kk 1; Depends: missing";
    assert_eq!(answer(lines, "aa"), "aa=1 bb=1");
    assert_eq!(answer(lines, "aa cc"), "aa=1 cc=1");
    assert_eq!(answer(lines, "dd"), "cc=1 dd=1");
    assert_eq!(answer(lines, "ee"), "cc=1 ee=1");
    assert_eq!(answer(lines, "ff"), "cc=1 ff=1");
    assert_eq!(answer(lines, "hh"), "cc=1 hh=1");
    let installed = solve(&archive(lines), &base("cc 0"), &request("aa")).unwrap();
    assert_eq!(shown(&installed), "aa=1");
}

#[test]
fn providers_are_ranked() {
    let lines = "aa 1; Depends: virtual
                 bb 1; Provides: virtual; Priority: extra
                 cc 1; Provides: virtual; Priority: optional
                 dd 1; Provides: virtual; Priority: important
                 ee 1; Provides: virtual; Priority: important
                 real 1; Depends: mix
                 mix 1
                 mixer 1; Provides: mix; Priority: required
                 v2 1; Depends: versioned (>= 2)
                 p1 1; Provides: versioned (= 1)
                 p2 1; Provides: versioned
                 p3 1; Provides: versioned (= 3)";
    assert_eq!(answer(lines, "aa"), "aa=1 dd=1");
    assert_eq!(answer(lines, "aa bb"), "aa=1 bb=1");
    assert_eq!(answer(lines, "real"), "mix=1 real=1");
    assert_eq!(answer(lines, "v2"), "p3=1 v2=1");
    let installed = solve(&archive(lines), &base("old 1; Provides: virtual"), &request("aa")).unwrap();
    assert_eq!(shown(&installed), "aa=1");
}

#[test]
fn a_virtual_package_is_wanted_by_name() {
    let lines = "aa 1; Provides: one, two
                 bb 1; Provides: two";
    assert_eq!(answer(lines, "one"), "aa=1");
    assert_eq!(answer(lines, "two bb"), "bb=1");
    let error = solve(&archive(lines), &Installed::empty(), &request("two")).unwrap_err();
    assert_eq!(error.to_string(), "`two` is no package, but what several packages provide");
    assert_eq!(error.hint().unwrap(), "choose one of `aa`, `bb`");
}

#[test]
fn conflicts_hold_against_packages_and_provides() {
    let lines = "aa 1; Depends: mta
                 exim 1; Provides: mta; Conflicts: mta; Replaces: mta
                 postfix 1; Provides: mta; Conflicts: mta; Replaces: mta
                 hates 1; Conflicts: exim
                 broken 1; Breaks: lib (<< 2)
                 lib 1
                 lib 2
                 old 1; Depends: lib (<< 2)
                 self 1; Conflicts: self; Provides: self";
    assert_eq!(answer(lines, "aa"), "aa=1 exim=1");
    assert_eq!(answer(lines, "aa hates"), "aa=1 hates=1 postfix=1");
    assert_eq!(answer(lines, "broken lib"), "broken=1 lib=2");
    assert_eq!(answer(lines, "self"), "self=1");
    assert_eq!(
        refusal(lines, "", "exim postfix"),
        ("packages `exim` and `postfix` cannot be installed together".into(), "`exim` conflicts with `postfix`".into())
    );
    assert_eq!(
        refusal(lines, "", "broken old"),
        (
            "packages `broken` and `old` cannot be installed together".into(),
            "`old` needs `lib (<< 2)`\n`broken` conflicts with `lib`".into()
        )
    );
}

#[test]
fn architectures_are_told_apart() {
    let lines = "aa 1; Depends: bb:any
                 bb 1; Multi-Arch: allowed
                 cc 1; Depends: dd:any
                 dd 1
                 ee 1; Depends: dd:amd64, bb:native
                 ff 1; Depends: dd:i386
                 gg 1; Architecture: all
                 hh 1; Depends: gg";
    assert_eq!(answer(lines, "aa"), "aa=1 bb=1");
    assert_eq!(answer(lines, "ee:amd64"), "bb=1 dd=1 ee=1");
    assert_eq!(answer(lines, "hh gg:all"), "gg=1 hh=1");
    assert_eq!(refusal(lines, "", "cc").0, "package `cc` cannot be installed");
    assert_eq!(refusal(lines, "", "ff").0, "package `ff` cannot be installed");
    assert_eq!(refusal(lines, "", "aa:i386").0, "package `aa` is wanted for `i386`, but the image is for `amd64`");
}

#[test]
fn what_the_base_has_stays_as_it_is_unless_it_is_needed_otherwise() {
    let lines = "aa 1; Depends: bb
                 bb 2
                 cc 1; Depends: bb (>= 2)
                 dd 1; Breaks: bb (<< 2)
                 ee 1; Depends: bb (<< 1)
                 ff 1; Conflicts: gone";
    let on =
        |installed: &str, wanted: &str| shown(&solve(&archive(lines), &base(installed), &request(wanted)).unwrap());
    assert_eq!(on("bb 1", "aa"), "aa=1");
    assert_eq!(on("bb 1", "bb"), "");
    assert_eq!(on("bb 1", "cc"), "bb=1->2 cc=1");
    assert_eq!(on("bb 1", "dd"), "bb=1->2 dd=1");
    assert_eq!(on("bb 1\n user 1; Depends: bb (= 1)", "aa"), "aa=1");
    assert_eq!(
        refusal(lines, "bb 1", "ee"),
        ("package `ee` cannot be installed".into(), "`ee` needs `bb (<< 1)`, but the archive has only `2`".into())
    );
    assert_eq!(
        refusal(lines, "gone 1", "ff"),
        ("package `ff` cannot be installed".into(), "`ff` conflicts with `gone`, which the base has".into())
    );
    assert_eq!(refusal(lines, "bb 1\n user 1; Depends: bb (= 1)", "cc").0, "package `cc` cannot be installed");
    // A base that is broken as it comes does not stand in the way.
    assert_eq!(on("user 1; Depends: missing; Conflicts: other\n other 1", "aa"), "aa=1 bb=2");
}

#[test]
fn a_version_is_wanted_exactly() {
    let lines = "aa 1
                 aa 2
                 aa 3; Pin: 100
                 bb 1; Depends: aa (= 1)
                 pinned 1; Pin: 1001";
    assert_eq!(answer(lines, "aa=1 bb"), "aa=1 bb=1");
    assert_eq!(answer(lines, "bb"), "aa=1 bb=1");
    let error = solve(&archive(lines), &Installed::empty(), &request("bb aa=4")).unwrap_err();
    assert_eq!(error.to_string(), "there is no version `4` of package `aa`");
    assert_eq!((error.hint().unwrap().as_str(), error.wanted_index()), ("there is `3`, `2`, `1`", Some(1)));
    let (message, _) = refusal(lines, "", "aa=1 aa=2");
    assert_eq!(message, "package `aa` is wanted in two versions: `1` and `2`");
    let (message, _) = refusal(lines, "aa 2", "aa=1");
    assert_eq!(message, "package `aa` is wanted in version `1`, but the base has `2`");
    let down = solve(&archive(lines), &base("pinned 2"), &request("pinned=1")).unwrap();
    assert_eq!(shown(&down), "pinned=2->1");
    let same = solve(&archive(lines), &base("aa 2"), &request("aa=2")).unwrap();
    assert_eq!(shown(&same), "");
    let (message, details) = refusal(lines, "", "bb aa=2");
    assert_eq!(message, "packages `bb` and `aa` cannot be installed together");
    assert_eq!(details, "`bb` needs `aa (= 1)`\n`aa` is there in version `2`");
}

#[test]
fn what_is_omitted_counts_as_there() {
    let lines = "aa 1; Depends: dpkg (>= 9), debconf-2.0 | cdebconf, libc
                 libc 1; Depends: dpkg
                 dpkg 1; Depends: libc
                 debconf 1; Provides: debconf-2.0
                 cdebconf 1; Provides: debconf-2.0";
    let with = |wanted: &str, installed: &str| {
        let mut request = request(wanted);
        request.omit = ["dpkg", "debconf"].map(String::from).into();
        solve(&archive(lines), &base(installed), &request).unwrap()
    };
    let solution = with("aa", "");
    assert_eq!(shown(&solution), "aa=1 libc=1");
    let aa = vec!["aa".to_string()];
    assert_eq!(solution.omitted, [("debconf".into(), aa), ("dpkg".into(), vec!["aa".into(), "libc".into()])]);
    let solution = with("libc dpkg", "");
    assert_eq!((shown(&solution).as_str(), solution.omitted.len()), ("dpkg=1 libc=1", 0));
    assert_eq!(with("libc", "dpkg 1").omitted, []);
}

#[test]
fn what_is_omitted_for_one_package_is_there_for_others() {
    let lines = "files 1; Depends: awk
                 tool 1; Depends: mawk
                 mawk 1; Provides: awk";
    let with = |wanted: &str| {
        let mut request = request(wanted);
        let names = ["awk", "mawk"].map(String::from).into();
        request.omit_of.insert("files".into(), names);
        solve(&archive(lines), &base(""), &request).unwrap()
    };
    let solution = with("files");
    assert_eq!(shown(&solution), "files=1");
    assert_eq!(solution.omitted, [("mawk".into(), vec!["files".into()])]);
    let solution = with("files tool");
    assert_eq!((shown(&solution).as_str(), solution.omitted.len()), ("files=1 mawk=1 tool=1", 0));
    assert_eq!(shown(&with("files mawk")), "files=1 mawk=1");
}

#[test]
fn recommendations_are_followed_on_request_and_never_fail() {
    let lines = "aa 1; Recommends: bb | cc, missing, bad, deep
                 bb 1; Recommends: dd
                 cc 1
                 dd 1
                 bad 1; Conflicts: aa
                 deep 1; Depends: missing";
    assert_eq!(answer(lines, "aa"), "aa=1");
    let mut request = request("aa");
    request.recommends = true;
    let solution = solve(&archive(lines), &Installed::empty(), &request).unwrap();
    assert_eq!(shown(&solution), "aa=1 bb=1 dd=1");
    assert_eq!(solution.changes[2].reason, Reason::Recommended("bb".into()));
}

#[test]
fn upgrades_are_for_security_or_all() {
    let lines = "ssl 2; Security: yes
                 ssl 3; Pin: 100
                 ssl 1
                 other 2
                 back 9; Pin: 1
                 held 2; Security: yes
                 app 2; Depends: new; Security: yes
                 new 1
                 stuck 2; Security: yes; Conflicts: other";
    let installed = base("ssl 1\n other 1\n back 1\n held 1; Status: hold ok installed\n app 1\n stuck 1");
    let with = |upgrade| solve(&archive(lines), &installed, &Request { upgrade, ..request("") }).unwrap();
    assert_eq!(shown(&with(Upgrade::None)), "");
    let security = with(Upgrade::Security);
    assert_eq!(shown(&security), "app=1->2 new=1 ssl=1->2");
    assert_eq!(security.changes[0].reason, Reason::Upgrade { security: true });
    assert_eq!(security.changes[1].reason, Reason::Needed("app".into()));
    let left: Vec<_> = security.left.iter().map(|left| (left.name.as_str(), left.held)).collect();
    assert_eq!(left, [("held", true), ("stuck", false)]);
    let all = with(Upgrade::All);
    assert_eq!(shown(&all), "app=1->2 new=1 other=1->2 ssl=1->2");
    assert_eq!(all.changes[2].reason, Reason::Upgrade { security: false });
}

#[test]
fn an_unknown_package_is_told_with_its_likes() {
    let error = solve(&archive("python3 1\n perl 1\n zsh 1"), &Installed::empty(), &request("zsh pyton")).unwrap_err();
    assert_eq!(error.to_string(), "there is no package `pyton`");
    assert_eq!(error.hint().unwrap(), "did you mean `perl`, `python3`");
    assert_eq!(error.wanted_index(), Some(1));
}

#[test]
fn what_is_missing_is_told_with_the_way_to_it() {
    let lines = "aa 1; Depends: bb
                 bb 1; Depends: libfoo (>= 2) | libbar (>= 2)
                 libfoo 1.0
                 cc 1; Depends: dd
                 dd 1; Depends: ee
                 ee 1; Depends: missing";
    assert_eq!(
        refusal(lines, "", "cc").1,
        "`cc` needs `dd`\n`dd` needs `ee`\n`ee` needs `missing`, but the archive has no such package"
    );
    assert_eq!(
        refusal(lines, "", "aa").1,
        "`aa` needs `bb`\n`bb` needs one of `libfoo (>= 2)`, `libbar (>= 2)`, but the archive has only `1.0`"
    );
}

#[test]
fn a_chain_of_ten_thousand_packages_is_followed() {
    let mut lines = String::new();
    for n in 0..10_000 {
        lines.push_str(&format!("p{n:05} 1; Depends: p{:05}\n", n + 1));
    }
    // The archive of these tests looks through all of its packages: here it has them by name.
    struct Fast(BTreeMap<String, Candidate>);
    impl Universe for Fast {
        fn versions(&self, name: &str) -> Result<Vec<Candidate>, Error> {
            Ok(self.0.get(name).cloned().into_iter().collect())
        }
        fn providers(&self, _: &str) -> Result<Vec<Candidate>, Error> {
            Ok(Vec::new())
        }
        fn similar(&self, _: &str) -> Vec<String> {
            Vec::new()
        }
    }
    let fast = |archive: Archive| Fast(archive.all.into_iter().map(|one| (one.package.name.clone(), one)).collect());
    let whole = fast(archive(&format!("{lines}p10000 1\n")));
    assert_eq!(solve(&whole, &Installed::empty(), &request("p00000")).unwrap().changes.len(), 10_001);
    let error = solve(&fast(archive(&lines)), &Installed::empty(), &request("p00000")).unwrap_err();
    let details = error.details().unwrap();
    assert_eq!(details.lines().count(), 5);
    assert!(details.ends_with("`p09999` needs `p10000`, but the archive has no such package"), "{details}");
}
