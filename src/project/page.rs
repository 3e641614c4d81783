//! Pages of `docs/` with a part that comes from the code.

/// Holds that `docs/NAME` has `fresh` between its two marks; `UPDATE=1 cargo test` writes it there. `from` is what the
/// first mark names.
pub(crate) fn holds(name: &str, from: &str, fresh: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    let page = crate::fs::read_text(&path, 1 << 20).unwrap();
    let (begin, end) = (format!("<!-- begin: from {from} -->\n\n"), "<!-- end -->");
    let (head, rest) = page.split_once(&begin).expect("the page has its first mark");
    let (_, tail) = rest.split_once(end).expect("the page has its second mark");
    let fresh = format!("{head}{begin}{fresh}{end}{tail}");
    if std::env::var_os("UPDATE").is_some() {
        crate::fs::write_atomic(&path, fresh.as_bytes()).unwrap();
    } else {
        assert!(page == fresh, "docs/{name} is out of date: run UPDATE=1 cargo test the_page_of");
    }
}
