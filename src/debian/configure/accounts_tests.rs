//! Tests of `accounts`: what base-passwd, shadowconfig, adduser and useradd were seen to write.

use super::*;

fn file(text: &str) -> File {
    File { bytes: Some(text.as_bytes().to_vec()), changed: false }
}

fn accounts() -> Accounts {
    Accounts {
        passwd: file("root:*:0:0:root:/root:/bin/bash\nnobody:*:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"),
        group: file("root:*:0:\nusers:*:100:\nnogroup:*:65534:\n"),
        ..Accounts::default()
    }
}

fn text(file: &File) -> String {
    String::from_utf8(file.bytes.clone().unwrap()).unwrap()
}

fn user(name: &str, uid: Option<u32>, gid: u32) -> NewUser {
    let shell = "/usr/sbin/nologin".into();
    NewUser { name: name.into(), uid, gid, gecos: String::new(), home: "/nonexistent".into(), shell }
}

#[test]
fn shadowconfig_moves_passwords() {
    let mut accounts = accounts();
    accounts.shadow();
    let passwd = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
    assert_eq!(text(&accounts.passwd), passwd);
    assert_eq!(text(&accounts.group), "root:x:0:\nusers:x:100:\nnogroup:x:65534:\n");
    assert_eq!(text(&accounts.shadow), "root:*:3652:0:99999:7:::\nnobody:*:3652:0:99999:7:::\n");
    assert_eq!(text(&accounts.gshadow), "root:*::\nusers:*::\nnogroup:*::\n");
    let before = accounts.clone();
    accounts.shadow();
    assert_eq!(accounts, before, "twice is once");
}

#[test]
fn numbers_are_those_that_the_tools_choose() {
    let mut accounts = accounts();
    accounts.shadow();
    // 100 is `users`.
    assert_eq!(accounts.add_group("foo", None, Style::Adduser), Some(101));
    assert_eq!(accounts.add_user(&user("foo", None, 101), Style::Adduser), Some(100));
    assert_eq!(accounts.add_user(&user("bar", None, 65534), Style::Adduser), Some(101));
    assert_eq!(accounts.add_user(&user("one", None, 999), Style::Useradd), Some(999));
    assert_eq!(accounts.add_group("one", None, Style::Useradd), Some(999));
    assert_eq!(accounts.add_group("gone", None, Style::Useradd), Some(998));
    let both = accounts.free_for_both();
    assert_eq!(both, Some(997));
    assert_eq!(accounts.add_group("both", both, Style::Sysusers), Some(997));
    assert_eq!(accounts.add_user(&user("both", both, 997), Style::Sysusers), Some(997));
    assert!(text(&accounts.passwd).ends_with("\nboth:x:997:997::/nonexistent:/usr/sbin/nologin\n"));
    assert!(
        text(&accounts.shadow).contains("\nfoo:!:3652::::::\n") && text(&accounts.shadow).contains("both:!*:3652:")
    );
    assert!(text(&accounts.gshadow).contains("\nfoo:!::\n") && text(&accounts.gshadow).contains("both:!*::"));
    assert!(
        accounts.add_member("bar", "users")
            && accounts.add_member("foo", "users")
            && accounts.add_member("foo", "users")
    );
    assert!(
        text(&accounts.group).contains("users:x:100:bar,foo\n") && text(&accounts.gshadow).contains("users:*::bar,foo")
    );
}

#[test]
fn what_is_there_stays_and_what_does_not_fit_is_not_made() {
    let odd = "# a comment\n+::::::\n:::\nroot:x:0:0:root:/root:/bin/sh";
    let mut accounts = Accounts { passwd: file(odd), group: file("root:x:0:"), ..Accounts::default() };
    assert_eq!(accounts.add_user(&user("root", Some(5), 0), Style::Adduser), Some(0));
    assert_eq!(text(&accounts.passwd), odd);
    assert_eq!(accounts.add_user(&user("a:b", None, 0), Style::Adduser), None);
    assert_eq!(accounts.add_user(&NewUser { home: "/x\n".into(), ..user("a", None, 0) }, Style::Adduser), None);
    assert_eq!(accounts.add_user(&user("a", Some(0), 0), Style::Adduser), None);
    assert_eq!(accounts.add_group("-a", None, Style::Adduser), None);
    assert_eq!(accounts.add_user(&user("a", None, 0), Style::Adduser), Some(100));
    assert_eq!(text(&accounts.passwd), format!("{odd}\na:x:100:0::/nonexistent:/usr/sbin/nologin\n"));
    assert_eq!(accounts.shadow, File::default(), "no shadow file is made where there is none");
    assert!(!accounts.add_member("a", "nothing"));
    assert_eq!(Accounts::default().add_user(&user("a", None, 0), Style::Adduser), None);
}
