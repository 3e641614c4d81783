//! Tests of `scripts` and of what it stands on: scripts are read over a small root, and the root is looked at.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::super::files::shown;
use super::*;
use crate::debian::Root;
use crate::debian::configure::NotRun;
use crate::image::Rootfs;
use crate::layer::Entry;

fn root() -> Root {
    let mut root = Root::new(Arc::new(Rootfs::empty()));
    let input: Arc<str> = "test".into();
    for (path, entry) in [
        ("etc/passwd", Entry::file("root:x:0:0:root:/root:/bin/bash\n", 0o644, &input)),
        ("etc/group", Entry::file("root:x:0:\nnogroup:x:65534:\nusers:x:100:\n", 0o644, &input)),
        ("usr/bin/tool", Entry::file("", 0o755, &input)),
        ("usr/share/app/default.conf", Entry::file("a = 1\n", 0o644, &input)),
        ("usr/share/app/more.conf", Entry::file("", 0o644, &input)),
        ("var/lib/app", Entry::directory(&input)),
        ("etc/os-release", Entry::file("ID=debian\n", 0o644, &input)),
    ] {
        root.insert(&TreePath::new(path).unwrap(), entry).unwrap();
    }
    root
}

/// Reads a postinst; what is left of it, and the root.
fn run_as(script: &str, upgraded_from: Option<&str>) -> (Option<String>, Root) {
    let mut root = root();
    let scripts: BTreeMap<String, String> = [("postinst".to_string(), script.to_string())].into();
    let package = Scripts { package: "app", version: "2", scripts: &scripts, triggers: None, upgraded_from };
    let mut site = Site::new(&mut root, "test");
    let mut accounts = Accounts::read(&site).unwrap();
    let left = read(&mut site, &mut accounts, &[package], "amd64").unwrap();
    accounts.write(&mut site).unwrap();
    (left.into_iter().next().and_then(|left| left.matters), root)
}

fn run(script: &str) -> (Option<String>, Root) {
    run_as(script, None)
}

#[track_caller]
fn leaves(script: &str, expected: Option<&str>, paths: &[(&str, &str)]) {
    let (left, mut root) = run(script);
    assert_eq!(left.as_deref(), expected, "{script}");
    let site = Site::new(&mut root, "test");
    for (path, expected) in paths {
        assert_eq!(shown(&site, path), *expected, "{path}: {script}");
    }
}

#[test]
fn a_usual_script_is_done_and_nothing_is_left() {
    let script = r#"#!/bin/sh
set -e
# A comment with `quotes' and "others
make_dir() {
    [ -d "$1" ] || mkdir -p -m 0750 "$1"
    chown "$2:$2" "$1"
}
case "$1" in
    configure|reconfigure)
        if ! getent passwd app >/dev/null; then
            adduser --system --group --home /var/lib/app --no-create-home --gecos "The App" \
                --quiet app
        fi
        for d in log cache; do
            make_dir "/var/$d/app" app
        done
        if [ -z "$2" ] && [ ! -e /etc/app.conf ]; then
            cp -p /usr/share/app/default.conf /etc/app.conf
            chmod g+w,o-r /etc/app.conf
        fi
        cat > /etc/app.list <<-EOF
	name: ${DPKG_MAINTSCRIPT_PACKAGE}
	EOF
        ln -sf ../app.conf /etc/link.conf
        dpkg-statoverride --list /usr/bin/tool >/dev/null || dpkg-statoverride --update --add root app 4750 /usr/bin/tool
    ;;
    abort-*) exit 0 ;;
    *) echo "unknown: $1" >&2; exit 1 ;;
esac
# Automatically added by dh_installsystemd/13.11.4
if [ "$1" = "configure" ] || [ "$1" = "abort-upgrade" ]; then
    if deb-systemd-helper --quiet was-enabled 'app.service'; then
        deb-systemd-helper enable 'app.service' >/dev/null || true
    fi
    if [ -d /run/systemd/system ]; then systemctl --system daemon-reload >/dev/null || true; fi
fi
# End automatically added section
dpkg-maintscript-helper rm_conffile /etc/app.old 1.0~ -- "$@"
exit 0
"#;
    leaves(
        script,
        None,
        &[
            ("/var/log/app", "d 750 100:101"),
            ("/var/cache/app", "d 750 100:101"),
            ("/etc/app.conf", "f 660 0:0"),
            ("/etc/link.conf", "-> ../app.conf"),
            ("/usr/bin/tool", "f 4750 0:101"),
        ],
    );
    let (_, root) = run(script);
    let text = |path: &str| root.read_text(path, 1000).unwrap().unwrap();
    assert!(text("/etc/passwd").ends_with("\napp:x:100:101:The App,,,:/var/lib/app:/usr/sbin/nologin\n"));
    assert_eq!(text("/etc/app.list"), "name: app\n");
    assert_eq!(text("/var/lib/dpkg/statoverride"), "root app 4750 /usr/bin/tool\n");
}

#[test]
fn what_is_not_known_is_told_and_nothing_else_is_guessed() {
    for (script, expected) in [
        ("frobnicate --all\n", "`frobnicate --all` was not run"),
        ("a one\nb\nc", "`a one` was not run, nor 2 other commands"),
        ("true && frobnicate \"$1\" \\\n  more", "`frobnicate \"$1\" more` was not run"),
        (
            "X=1 /usr/sbin/setcap cap_net_raw+ep /usr/bin/tool",
            "its program has no file capabilities and needs more rights than it would have",
        ),
        ("#!/usr/bin/perl\nprint 1;", "it is written for `perl`"),
        ("#!/usr/bin/env python3\n", "it is written for `python3`"),
        ("if true; then", "it is written in more of the shell's language than Ingot reads"),
        ("db_get app/x\nif [ \"$RET\" = true ]; then adduser --system x; fi", "`adduser --system x` was not run"),
        ("mkdir /srv/$(hostname)", "`mkdir /srv/$(hostname)` was not run"),
        ("sed -i s/a/b/ /etc/passwd", "`sed -i s/a/b/ /etc/passwd` was not run"),
        ("awk 1 /etc/passwd > /etc/x", "`what writes /etc/x` was not run"),
        ("chown nobody-knows /etc/passwd", "`chown nobody-knows /etc/passwd` was not run"),
        ("rm -rf /var/lib/../../etc", "`rm -rf /var/lib/../../etc` was not run"),
        ("rm -rf /usr/share/app", "`rm -rf /usr/share/app` was not run"),
        ("f() { f; }; f", "`f` was not run"),
        ("while :; do :; done", "a script that does not end"),
        ("$UNKNOWN_$(date) x", "`$UNKNOWN_$(date) x` was not run"),
        ("bad\u{1b}[2J", "`bad\\u{1b}[2J` was not run"),
    ] {
        let (left, root) = run(script);
        match left {
            Some(left) => assert!(left.contains(expected.trim_matches('`')), "{script}: {left}"),
            None => assert_eq!(script, "while :; do :; done"),
        }
        assert!(root.exists("/usr/share/app/default.conf") && root.exists("/etc/passwd"), "{script}");
        assert_eq!(root.read_text("/etc/passwd", 99).unwrap().unwrap().lines().count(), 1, "{script}");
    }
}

#[test]
fn conditions_are_answered_from_the_root() {
    for (condition, holds) in [
        ("[ -f /usr/bin/tool -a -x /usr/bin/tool ]", true),
        ("test -d /var/lib/app && ! test -e /nothing", true),
        ("command -v tool >/dev/null 2>&1", true),
        ("which no-such-tool", false),
        ("[ -x \"`command -v update-menus`\" ]", false),
        ("[ \"$1\" = configure ] && [ -z \"$2\" ]", true),
        ("dpkg --compare-versions \"$2\" lt 1.0", true),
        ("dpkg --compare-versions \"$2\" lt-nl 1.0", false),
        ("dpkg --compare-versions 1:2.0~rc1 lt 1:2.0", true),
        ("[ \"$(uname -s)\" = Linux ] && [ $(dpkg --print-architecture) != arm64 ]", true),
        ("getent group nogroup | sed s/a/b/", true),
        ("getent group nogroup", true),
        ("id -u nobody-there", false),
        ("dpkg-vendor --derives-from Ubuntu", false),
        ("[ -d /run/systemd/system ]", false),
        ("[ \"${1#conf}\" = igure ] && [ \"${x:-y}\" = y ] && [ \"${DPKG_ROOT:+x}\" = '' ]", true),
        ("x=/a/b.c; [ \"${x##*/}${x%.*}\" = b.c/a/b ] && [ ${#x} -eq 6 ]", true),
        ("case /usr/lib/x in /lib/*|/usr/l[!a]b/?) true;; *) false;; esac", true),
        ("( exit 1 )", false),
        ("! { false || false; }", true),
        ("[ 10 -gt 9 ] && [ a != b ]", true),
        ("[ -L /usr/bin/tool ]", false),
        ("getent group users | grep -q '^users:x:100'", true),
        ("grep -qs ^nobody-there: /etc/passwd", false),
        ("[ \"$(getent passwd root | cut -d: -f6)\" = /root ]", true),
        ("[ -n \"$(ls -A /var/lib/app)\" ]", false),
        ("echo a | grep -qvx b", true),
        ("setcap cap_net_raw+ep /usr/bin/tool", false),
    ] {
        let (left, root) = run(&format!("if {condition}; then touch /etc/yes; else touch /etc/no; fi"));
        if condition.contains("| sed") {
            assert!(left.is_some() && !root.exists("/etc/yes") && !root.exists("/etc/no"), "{condition}: {left:?}");
            continue;
        }
        let left = left.filter(|_| !condition.starts_with("setcap"));
        assert_eq!((left, root.exists("/etc/yes"), root.exists("/etc/no")), (None, holds, !holds), "{condition}");
    }
}

#[test]
fn words_functions_and_loops() {
    leaves(
        "set -- one two\nfor x; do touch /etc/$x; done\nshift\ntouch \"/etc/left-$#-$1\"",
        None,
        &[("/etc/one", "f 644 0:0"), ("/etc/two", "f 644 0:0"), ("/etc/left-1-two", "f 644 0:0")],
    );
    leaves(
        "for f in /usr/share/app/*.conf /nothing/*; do n=$(basename $f .conf); touch \"/etc/seen-$n\"; done",
        None,
        &[("/etc/seen-default", "f 644 0:0"), ("/etc/seen-default.conf", "nothing")],
    );
    leaves(
        "for f in /usr/share/app/*.conf; do touch \"/etc/seen-${f##*/}\"; done",
        None,
        &[("/etc/seen-default.conf", "f 644 0:0"), ("/etc/seen-more.conf", "f 644 0:0")],
    );
    leaves(
        "f() { return 1; touch /etc/never; }\nf || touch /etc/yes",
        None,
        &[("/etc/yes", "f 644 0:0"), ("/etc/never", "nothing")],
    );
    leaves("umask 077; echo \"a  b\" > /etc/a\n(umask 022)\n", None, &[("/etc/a", "f 600 0:0")]);
    leaves(
        "x='a b'; for y in $x; do touch /etc/$y; done; echo done >&2",
        None,
        &[("/etc/a", "f 644 0:0"), ("/etc/b", "f 644 0:0")],
    );
    leaves("while [ $# -gt 0 ]; do [ \"$1\" ] && touch /etc/$1; shift; done", None, &[("/etc/configure", "f 644 0:0")]);
    leaves(
        "t=$(mktemp); echo x > $t; mv $t /tmp/y; rm -f $t; exit 0; touch /etc/never",
        None,
        &[("/etc/never", "nothing")],
    );
    leaves("x=1 true; [ \"$x\" ] || eval 'touch /etc/ev'", None, &[("/etc/ev", "f 644 0:0")]);
}

#[test]
fn upgrades_are_told_from_first_installations() {
    let script = "if [ -n \"$2\" ] && dpkg --compare-versions \"$2\" lt 1.5; then rm -f /usr/share/app/more.conf; fi";
    assert!(run(script).1.exists("/usr/share/app/more.conf"));
    assert!(!run_as(script, Some("1.0")).1.exists("/usr/share/app/more.conf"));
    assert!(run_as(script, Some("1.5")).1.exists("/usr/share/app/more.conf"));
}

#[test]
fn triggers_matter_if_there_is_something_for_them() {
    let mut root = root();
    let none = BTreeMap::new();
    let package = |package, triggers| Scripts { package, version: "1", scripts: &none, triggers, upgraded_from: None };
    let packages = [
        package("a", Some("# comment\ninterest-noawait /usr/share/app\ninterest /usr/share/nothing\ninterest named\n")),
        package("b", Some("activate-noawait ldconfig\n")),
        package("c", Some("interest-noawait ldconfig\ninterest other\n")),
        package("d", Some("activate other\n")),
    ];
    let mut site = Site::new(&mut root, "test");
    let mut accounts = Accounts::read(&site).unwrap();
    let left = read(&mut site, &mut accounts, &packages, "amd64").unwrap();
    let expected =
        [("a", "the trigger `/usr/share/app` was not processed"), ("c", "the trigger `other` was not processed")];
    let expected: Vec<NotRun> = expected
        .into_iter()
        .map(|(package, matters)| NotRun {
            package: package.into(),
            script: "triggers".into(),
            matters: Some(matters.into()),
        })
        .collect();
    assert_eq!(left, expected);
}

#[test]
fn declared_users_are_made_where_the_script_asks_for_them() {
    let script = "systemd-sysusers ${DPKG_ROOT:+--root=\"$DPKG_ROOT\"} app.conf\nmkdir /srv/app\nchown app: /srv/app";
    let mut root = root();
    let input: Arc<str> = "test".into();
    root.insert(&TreePath::new("usr/lib/sysusers.d/app.conf").unwrap(), Entry::file("u app -\n", 0o644, &input))
        .unwrap();
    let scripts: BTreeMap<String, String> = [("postinst".to_string(), script.to_string())].into();
    let package = Scripts { package: "app", version: "2", scripts: &scripts, triggers: None, upgraded_from: None };
    let mut site = Site::new(&mut root, "test");
    let mut accounts = Accounts::read(&site).unwrap();
    assert_eq!(read(&mut site, &mut accounts, &[package], "amd64").unwrap(), []);
    assert_eq!(shown(&site, "/srv/app"), "d 755 999:0");
}

#[test]
fn scripts_make_no_whiteouts() {
    for script in [
        "touch /etc/.wh.os-release",
        "mkdir -p /etc/.wh..wh..opq",
        "mkdir -p /etc/.wh.x/y",
        "echo x > /etc/.wh.os-release",
        "ln -s /x/.wh.os-release /etc",
        "ln -s /nothing /etc/.wh.os-release",
        "ln -s .wh.x /etc/way; mkdir /etc/way/y",
        "ln -s .wh.x /etc/way; touch /etc/way/y",
        "ln -s .wh.x /etc/way; echo > /etc/way/y",
        "cp /usr/bin/tool /etc/.wh.os-release",
        "mv /usr/bin/tool /etc/.wh.os-release",
        "install -m 644 /usr/bin/tool /etc/.wh.os-release",
        "install /dev/null /etc/.wh.os-release",
        "ucf /usr/bin/tool /etc/.wh.os-release",
        "update-alternatives --install /etc/.wh.os-release x /usr/bin/tool 5",
        "update-alternatives --install /usr/bin/x .wh.x /usr/bin/tool 5",
        "dpkg-statoverride --update --add root root 755 /etc/.wh.os-release",
        "adduser --system --home /etc/.wh.os-release app",
    ] {
        let (left, root) = run(script);
        assert!(left.is_some_and(|left| left.ends_with("was not run")), "{script}");
        let tree = root.finish().unwrap();
        assert!(tree.iter().all(|(path, _)| !path.as_str().contains(".wh.")), "{script}");
    }
}

#[test]
fn tests_are_answered_up_to_a_length() {
    for (turns, expected) in [(1, "no"), (2, "yes"), (60, "yes"), (61, "no")] {
        let (left, root) =
            run(&format!("if [ {} a ]; then touch /etc/yes; else touch /etc/no; fi", "! ".repeat(turns)));
        assert!(left.is_none() && root.exists(&format!("/etc/{expected}")), "{turns}: {left:?}");
    }
    let (left, root) = run(&format!("if [ {} a ]; then touch /etc/yes; else touch /etc/no; fi", "! ".repeat(64)));
    assert!(left.is_some() && !root.exists("/etc/yes") && !root.exists("/etc/no"));
}

#[test]
fn hostile_scripts_end() {
    let deep = "if true; then ".repeat(200) + &"fi; ".repeat(200);
    let subshells = "(".repeat(500);
    let substitutions = "$(".repeat(300);
    let quotes = "echo \"$(echo \"$(echo \"".repeat(100);
    let doubling = "x=a; ".to_string() + &"x=$x$x; ".repeat(60) + "touch /etc/$x";
    let long = "x=".to_string() + &"a".repeat(120_000);
    let many = long.clone() + "\necho " + &"$x".repeat(50_000) + "\necho " + &"$x ".repeat(50_000);
    let cuts = long + "\n" + &"y=${x##*b}\ncase $x in *b*c*d*) ;; esac\n".repeat(500);
    let calls = "f() { f; f; }; f";
    let turned = "[ ".to_string() + &"! ".repeat(100_000) + "a ]";
    let any = "[ a".to_string() + &" -o a".repeat(4_000) + " ]";
    let both = "[ a".to_string() + &" -a a".repeat(4_000) + " ]";
    let arguments = "set -- \"$@\" \"$@\"\n".repeat(45) + "for a in " + &"\"$@\" ".repeat(2000) + "; do :; done";
    let started = "exec ".repeat(200_000) + "true";
    let functions = "a() ".repeat(200_000) + "{ :; }";
    let groups = "{ ".repeat(100_000);
    let cases = "case a in a) ".repeat(50_000);
    let conditions = "if ".repeat(100_000);
    let arithmetic = "echo $((".to_string() + &"(".repeat(100_000) + "1" + &")".repeat(100_000) + "))";
    let defaults = "echo ".to_string() + &"${a:-".repeat(10_000) + &"}".repeat(10_000);
    let documents = "cat <<EOF\n".to_string() + &"${a:-".repeat(10_000) + &"}".repeat(10_000) + "\nEOF\n";
    let many_documents = "cat <<EOF; ".repeat(20_000) + "\n" + &"EOF\n".repeat(20_000);
    let evaluated = "eval ".repeat(100_000) + "true";
    let deep_calls = "f() { ".to_string() + &"{ ".repeat(40) + "f; " + &"}; ".repeat(40) + "}; f";
    let deep_words = "f() { echo ".to_string() + &"${a:-".repeat(40) + "$(f)" + &"}".repeat(40) + "; }; f";
    let kept =
        "x=".to_string() + &"a".repeat(100_000) + "\n" + &(0..20_000).map(|n| format!("y{n}=$x\n")).collect::<String>();
    let written = "x=".to_string()
        + &"a".repeat(100_000)
        + "\n"
        + &(0..20_000).map(|n| format!("echo $x>/f{n}\n")).collect::<String>();
    let parsed =
        "for a in 1 2 3 4 5 6 7 8 9; do ".repeat(4) + "$(: " + &"a".repeat(500_000) + "); " + &"done; ".repeat(4);
    let globs = "touch /usr".to_string() + &"/*/..".repeat(40);
    let patterns =
        "x=".to_string() + &"a".repeat(2000) + "\n" + &format!("y=${{x##*{}b}}\n", "a".repeat(900)).repeat(500);
    let loops = "for a in 1 2 3 4 5 6 7 8 9; do ".repeat(9) + ":; " + &"done; ".repeat(9);
    let all = [
        &deep,
        &subshells,
        &substitutions,
        &quotes,
        &doubling,
        &many,
        &cuts,
        calls,
        &loops,
        &turned,
        &any,
        &both,
        &arguments,
        &started,
        &functions,
        &groups,
        &cases,
        &conditions,
        &arithmetic,
        &defaults,
        &documents,
        &many_documents,
        &evaluated,
        &deep_calls,
        &deep_words,
        &kept,
        &written,
        &parsed,
        &globs,
        &patterns,
        "cat <<EOF\n",
        "a=${",
        "`",
        "'",
    ];
    all.into_par_iter().for_each(|script| drop(run(script)));
}
