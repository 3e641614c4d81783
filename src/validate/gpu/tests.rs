use serde_json::json;

use super::RULES;
use crate::project::GpuSpec;
use crate::validate::elf::testing::{Made, library, program};
use crate::validate::fixture::{Case, Recipe, hold};

const SITE: &str = "opt/venv/lib/python3.11/site-packages";

fn python(recipe: &mut Recipe) {
    recipe.file(0, "usr/bin/python3.11", 0o755, program());
    recipe.file(1, "opt/venv/pyvenv.cfg", 0o644, "home = /usr/bin\nversion = 3.11.2\n");
    recipe.symlink(1, "opt/venv/bin/python", "/usr/bin/python3.11");
    recipe.folder(1, SITE, 0o755);
}

fn distribution(recipe: &mut Recipe, name: &str, version: &str) {
    python(recipe);
    let text = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n");
    recipe.file(1, &format!("{SITE}/{name}-{version}.dist-info/METADATA"), 0o644, text);
}

fn code(recipe: &mut Recipe, path: &str, cuda: &[(u16, u32)]) {
    let made = Made { cuda: cuda.to_vec(), ..library(&[]) };
    recipe.file(1, &format!("{SITE}/{path}"), 0o644, made.bytes());
}

fn gpu(recipe: &mut Recipe, arch: &[u32], driver: Option<(u32, u32)>) {
    recipe.declared.gpu = Some(GpuSpec { arch: arch.to_vec(), driver });
}

const CASES: &[Case] = &[
    Case {
        rule: "gpu-twice",
        breaks: |recipe| {
            distribution(recipe, "nvidia-cublas-cu12", "12.4.5.8");
            code(recipe, "nvidia/cublas/lib/libcublas.so.12", &[(2, 80)]);
            recipe.file(0, "usr/local/cuda/lib64/libcublas.so.12", 0o755, library(&[]).bytes());
        },
        passes: |recipe| {
            distribution(recipe, "nvidia-cublas-cu12", "12.4.5.8");
            code(recipe, "nvidia/cublas/lib/libcublas.so.12", &[(2, 80)]);
            recipe.file(0, "usr/local/cuda/lib64/stubs/libcublas.so.12", 0o755, library(&[]).bytes());
        },
    },
    Case {
        rule: "gpu-unneeded",
        breaks: |recipe| distribution(recipe, "nvidia-cublas-cu12", "12.4.5.8"),
        passes: |recipe| {
            distribution(recipe, "nvidia-cublas-cu12", "12.4.5.8");
            recipe.config["Env"] = json!(["PATH=/usr/bin:/bin", "NVIDIA_VISIBLE_DEVICES=all"]);
        },
    },
    Case {
        rule: "gpu-driver",
        breaks: |recipe| {
            distribution(recipe, "nvidia-cuda-runtime", "13.0.48");
            gpu(recipe, &[], Some((535, 0)));
        },
        passes: |recipe| {
            distribution(recipe, "nvidia-cuda-runtime-cu12", "12.4.127");
            gpu(recipe, &[], Some((535, 0)));
        },
    },
    Case {
        rule: "gpu-architecture",
        breaks: |recipe| {
            python(recipe);
            code(recipe, "kernels/lib.so", &[(2, 80)]);
            gpu(recipe, &[90], None);
        },
        passes: |recipe| {
            python(recipe);
            code(recipe, "kernels/lib.so", &[(2, 80), (1, 80)]);
            gpu(recipe, &[90], None);
        },
    },
];

#[test]
fn every_rule_of_this_group_holds() {
    hold(RULES, CASES);
}

#[test]
fn a_package_may_have_one_library_for_each_gpu() {
    let mut recipe = Recipe::good();
    python(&mut recipe);
    code(&mut recipe, "kernels/sm80.so", &[(2, 80)]);
    code(&mut recipe, "kernels/sm90.so", &[(2, 90)]);
    gpu(&mut recipe, &[80, 86, 90], None);
    assert_eq!(recipe.findings("gpu-architecture"), []);
    gpu(&mut recipe, &[75, 100], None);
    let findings = recipe.findings("gpu-architecture");
    assert_eq!(findings[0].message, "nothing in it runs on sm_75, sm_100: it has sm_80, sm_90");
    assert_eq!(findings[0].path, format!("/{SITE}/kernels"));
}

#[test]
fn what_says_which_cuda() {
    let driver = |name: &str, version: &str, driver: u32| {
        let mut recipe = Recipe::good();
        distribution(&mut recipe, name, version);
        gpu(&mut recipe, &[], Some((driver, 0)));
        recipe.findings("gpu-driver").into_iter().map(|finding| finding.message).collect::<Vec<_>>()
    };
    let message = "torch 2.1.0+cu121 is for CUDA 12.1, which needs driver 525.0 or later; the hosts have 470";
    assert_eq!(driver("torch", "2.1.0+cu121", 470), [message]);
    assert_eq!(driver("torch", "2.1.0+cu118", 470), [""; 0]);
    assert_eq!(driver("torch", "2.1.0+cpu", 300), [""; 0]);
    assert_eq!(driver("cupy-cuda12x", "13.0", 470).len(), 1);
    // A version that means nothing.
    assert_eq!(driver("torch", "2.1.0+cu99999999999999999999", 470), [""; 0]);
}

#[test]
fn wheels_for_cpus_are_no_finding() {
    let mut recipe = Recipe::good();
    distribution(&mut recipe, "torch", "2.1.0+cpu");
    distribution(&mut recipe, "nvidia-ml-py", "12.535.1");
    assert!(!recipe.fired().iter().any(|rule| rule.starts_with("gpu-")));
}
