//! `cargo xtask kernels`: the index's kernels where `cargo test` does not run them: NEON under emulation; this
//! machine's own with AddressSanitizer, which sees what a vector load reads beyond its slice; AVX2 under Miri, which
//! sees every undefined behaviour (of AVX-512 it does not know the comparison into a mask).

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::{process, report, setup, workspace};

const INSTALL_LIMIT: Duration = Duration::from_secs(10 * 60);
const TEST_LIMIT: Duration = Duration::from_secs(40 * 60);

const ARM: &str = "aarch64-unknown-linux-gnu";
/// What the emulation needs, and the Debian packages that bring it.
const ARM_TOOLS: [&str; 2] = ["aarch64-linux-gnu-gcc", "qemu-aarch64"];
const ARM_PACKAGES: &str = "gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user";
/// Tests of everything that has a loop of its own for an instruction set.
const TESTS: [&str; 3] = ["kernels", "rabitq", "rotation"];

/// What Miri runs: what holds unsafe code. The others take hours there.
const MIRI_TESTS: &str = "kernels::tests";

/// Which of them; all if none is named.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// NEON
    #[arg(long)]
    neon: bool,
    /// This machine's kernels with AddressSanitizer
    #[arg(long)]
    sanitized: bool,
    /// AVX2 and portable kernels under Miri
    #[arg(long)]
    miri: bool,
}

/// Runs the tests and returns how many passed.
///
/// # Errors
/// If one fails, or a tool is missing and cannot be obtained.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Value> {
    let all = !(arguments.neon || arguments.sanitized || arguments.miri);
    let neon = (all || arguments.neon).then(neon).transpose()?;
    let sanitized = (all || arguments.sanitized).then(sanitized).transpose()?;
    let miri = (all || arguments.miri).then(miri).transpose()?;
    Ok(json!({"neon_tests": neon, "sanitized_tests": sanitized, "miri_tests": miri, "failed": 0}))
}

fn neon() -> anyhow::Result<u64> {
    if let Some(missing) = ARM_TOOLS.into_iter().find(|tool| !setup::in_path(tool)) {
        bail!("`{missing}` is missing; install {ARM_PACKAGES}");
    }
    let mut target = Command::new("rustup");
    target.args(["target", "add", ARM]);
    process::run(target, INSTALL_LIMIT)?;
    report::line("NEON under emulation");
    let mut command = workspace::cargo(&["test", "--package", "likeness-index", "--lib"])?;
    command
        .args(["--target", ARM, "--"])
        .args(TESTS)
        .env("CARGO_TARGET_DIR", target_folder()?)
        .env(
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER",
            ARM_TOOLS[0],
        )
        .env(
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER",
            format!("{} -L /usr/aarch64-linux-gnu", ARM_TOOLS[1]),
        );
    passed(command)
}

fn sanitized() -> anyhow::Result<u64> {
    setup::nightly()?;
    report::line("this machine's kernels with AddressSanitizer");
    let mut command = Command::new("rustup");
    command
        .args(["run", "nightly", "cargo", "test"])
        .args(["--package", "likeness-index", "--lib"])
        // Named, so that build scripts are not sanitized.
        .args(["--target", &format!("{}-unknown-linux-gnu", std::env::consts::ARCH)])
        .arg("--")
        .args(TESTS)
        .current_dir(workspace::root())
        .env("CARGO_TARGET_DIR", target_folder()?.join("sanitized"))
        .env("RUSTFLAGS", "-Zsanitizer=address")
        .env_remove("RUSTUP_TOOLCHAIN");
    passed(command)
}

fn miri() -> anyhow::Result<u64> {
    setup::nightly()?;
    let mut component = Command::new("rustup");
    component.args([
        "component",
        "add",
        "--toolchain",
        "nightly",
        "miri",
        "rust-src",
    ]);
    process::run(component, INSTALL_LIMIT)?;
    report::line("AVX2 and portable kernels under Miri");
    let mut command = Command::new("rustup");
    command
        .args(["run", "nightly", "cargo", "miri", "test"])
        .args(["--package", "likeness-index", "--lib", "--", MIRI_TESTS])
        .current_dir(workspace::root())
        .env("CARGO_TARGET_DIR", target_folder()?.join("miri"))
        .env("RUSTFLAGS", "-Ctarget-feature=+avx2,+popcnt")
        // Property tests ask for the time, and keep what fails in a file.
        .env("MIRIFLAGS", "-Zmiri-disable-isolation")
        .env_remove("RUSTUP_TOOLCHAIN");
    passed(command)
}

/// Other flags and other targets must not rebuild what other commands share.
fn target_folder() -> anyhow::Result<PathBuf> {
    Ok(workspace::target()?.join("kernels"))
}

/// Runs tests and returns how many passed.
fn passed(command: Command) -> anyhow::Result<u64> {
    let output = process::output(command, TEST_LIMIT)?;
    if !output.success {
        bail!("{}\n{}", output.stdout, output.stderr);
    }
    let count = output
        .stdout
        .lines()
        .find_map(|line| {
            line.strip_prefix("test result: ok. ")?
                .split_once(" passed")
        })
        .and_then(|(count, _)| count.parse().ok())
        .context("the tests said no result")?;
    if count == 0 {
        bail!("no test ran");
    }
    Ok(count)
}
