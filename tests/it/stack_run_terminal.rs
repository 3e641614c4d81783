//! `ingot stack up` in front of somebody: the table that is drawn over itself.

use crate::support::*;

/// `web` waits for `db`, which takes its time, and says what a terminal would act on, in a line that is too long for any.
const STACK: &str = r#"name: table
services:
  db:
    CAST
    environment: {NAME: "\e[2J\e[31mdb LONG", DELAY: '2'}
    healthcheck: {test: [CMD, python, -c, CHECK], interval: 1s, timeout: 10s, retries: 60}
  web: {CAST, environment: {NAME: web}, depends_on: {db: {condition: service_healthy}}}
"#;

/// The stack, with a line so long, and as slow.
fn stack(name: &str, long: &str, delay: &str) -> String {
    let check = "\"import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health', timeout=5)\"";
    let text = STACK.replace("name: table", &format!("name: {name}")).replace("CHECK", check);
    text.replace("LONG", long).replace("'2'", &format!("'{delay}'"))
}

#[test]
fn a_terminal_sees_a_table() {
    let stacks = Stacks::podman();
    // Long enough for a busy machine to see what it says meanwhile.
    stacks.compose(&stack("table", &"long ".repeat(60), "7"));
    for (columns, rows) in [(100, 30), (60, 15)] {
        let terminal = Terminal::start(&stacks.command(&["up"]), columns, rows);
        let (code, screen, before) = terminal.end();
        let shown = screen.text();
        assert_eq!(code, 0, "{shown}");
        assert_eq!(screen.strange, [] as [String; 0], "what services say does nothing to a terminal");
        assert!(screen.is_in_order(), "{shown}");
        // Each column, while they come up.
        let saw = |words: &[&str]| {
            let has = |line: &str| words.iter().all(|word| line.contains(word));
            assert!(before.iter().any(|screen| screen.lines().any(has)), "{words:?}\n{}", before.join("\n---\n"));
        };
        saw(&["SERVICE", "STATE", "HEALTH", "SINCE", "LAST LINE"]);
        saw(&["  db ", " running ", " starting ", " s ", "begin \\u{1b}[2J"]);
        saw(&["  db ", " running ", " healthy "]);
        saw(&["  web ", " waits for db"]);
        saw(&["  web ", " running ", " healthy "]);
        for screen in &before {
            let count =
                |service: &str| screen.lines().filter(|line| line.starts_with(&format!("  {service}  "))).count();
            assert!(count("db") <= 1 && count("web") <= 1, "something was left half-drawn:\n{screen}");
        }
        // The last table stays, and the list is below it.
        let lines = screen.lines();
        let at = |words: &[&str]| lines.iter().position(|line| words.iter().all(|word| line.contains(word)));
        let table = at(&["  web ", " running ", " healthy "]).unwrap_or_else(|| panic!("{shown}"));
        assert!(lines[table + 1].starts_with("SERVICE  STATE    HEALTH"), "{shown}");
        stacks.run(&["down"]).ok();
    }
}

#[test]
fn a_terminal_is_left_in_order_by_ctrl_c_and_by_a_failure() {
    let stacks = Stacks::podman();
    stacks.compose(&stack("cut", "", "600"));
    let mut terminal = Terminal::start(&stacks.command(&["up"]), 80, 20);
    terminal.wait_for(|screen| screen.text().contains(" running ") && screen.text().contains(" starting "));
    terminal.press(b"\x03");
    let (code, screen, _) = terminal.end();
    let shown = screen.text();
    assert_eq!(code, 130, "{shown}");
    assert!(screen.is_in_order() && screen.strange.is_empty(), "{shown}");
    let told = format!("interrupted: of the stack `{}` there is db (running, starting)", stacks.named("cut"));
    assert!(shown.contains(&told), "{shown}");
    assert!(shown.contains("hint: `ingot stack up` goes on from here"), "{shown}");
    let lines = screen.lines();
    let said = lines.iter().position(|line| line.starts_with("interrupted: ")).unwrap();
    assert_eq!(lines.iter().filter(|line| line.starts_with("  db  ")).count(), 1, "{shown}");
    assert!(lines[..said].iter().any(|line| line.starts_with("  web ")), "the table is whole, and above:\n{shown}");

    let mut command = stacks.command(&["up"]);
    command.args(["--timeout", "1s"]);
    let (code, screen, _) = Terminal::start(&command, 80, 20).end();
    let shown = screen.text();
    assert_eq!(code, 7, "{shown}");
    assert!(screen.lines().iter().any(|line| line.starts_with("error: `db` is not healthy after 1 s")), "{shown}");
    assert!(screen.is_in_order(), "{shown}");
    stacks.run(&["down"]).ok();
}
