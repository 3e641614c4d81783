//! Limits of a stack that an engine does not enforce are told.

use crate::support::*;

#[test]
fn an_ordinary_user_is_told_which_limits_are_not_in_force() {
    let place = Sandboxes::rootless();
    let images = place.ask(["images", "--format", "{{.Repository}}:{{.Tag}}"]).ok().stdout;
    let image = images.lines().next().unwrap_or_else(|| panic!("`ingot sandbox check` leaves its image"));
    let folder = Scratch::new();
    let text = format!(
        "name: limited
services:
  web: {{image: '{image}', entrypoint: [sleep, '60'], mem_limit: 64m, pids_limit: 50, network_mode: none}}
  free: {{image: '{image}', entrypoint: [sleep, '60'], network_mode: none}}
"
    );
    std::fs::write(folder.join("compose.yaml"), text).unwrap();
    let file = folder.join("compose.yaml").display().to_string();
    let stack = |words: &[&str]| {
        let mut command = place.ingot.command([&["stack", "--file", &file], words].concat());
        command.env("PATH", path_with_providers());
        Ran::of(command).ok()
    };
    let up = stack(&["up", "--no-check"]);
    let limits = "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}";
    let found = place.ask(["inspect", "--format", limits, "limited_web_1"]).ok().stdout;
    let warning = "warning: podman does not enforce limits of the file: memory, pids of `web`";
    match found.trim() {
        "67108864 50" => assert!(!up.stderr.contains("warning: podman"), "{}", up.stderr),
        "0 0" => assert!(up.stderr.contains(warning), "{}", up.stderr),
        other => panic!("{other}: {}", up.stderr),
    }
    stack(&["down"]);
}
