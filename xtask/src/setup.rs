//! System packages that the build and the tests need: installed where that can be done without
//! asking, named with the command to type where not.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::bail;

use crate::postgres;
use crate::process;
use crate::report;

const INSTALL_LIMIT: Duration = Duration::from_secs(15 * 60);

/// Something that must be there.
#[derive(Clone, Copy)]
struct Need {
    /// What for.
    purpose: &'static str,
    /// How its presence shows.
    probe: Probe,
    apt: &'static str,
    dnf: &'static str,
    brew: &'static str,
    /// Only tests need it.
    for_tests: bool,
}

#[derive(Clone, Copy)]
enum Probe {
    /// A program in `PATH`.
    Program(&'static str),
    /// libclang, in one of the places where systems put it.
    Libclang,
    /// A server and its tools, in one of the places where systems put it.
    Postgres,
}

const NEEDS: &[Need] = &[
    Need {
        purpose: "compiles RocksDB",
        probe: Probe::Program("clang"),
        apt: "clang",
        dnf: "clang",
        brew: "llvm",
        for_tests: false,
    },
    Need {
        purpose: "generates the bindings to RocksDB",
        probe: Probe::Libclang,
        apt: "libclang-dev",
        dnf: "clang-devel",
        brew: "llvm",
        for_tests: false,
    },
    Need {
        purpose: "builds libjpeg-turbo",
        probe: Probe::Program("cmake"),
        apt: "cmake",
        dnf: "cmake",
        brew: "cmake",
        for_tests: false,
    },
    Need {
        purpose: "assembles the SIMD code of libjpeg-turbo",
        probe: Probe::Program("nasm"),
        apt: "nasm",
        dnf: "nasm",
        brew: "nasm",
        for_tests: false,
    },
    Need {
        purpose: "obtains models and photos (python3 -m pip)",
        probe: Probe::Program("python3"),
        apt: "python3 python3-pip python3-venv",
        dnf: "python3 python3-pip",
        brew: "python",
        for_tests: false,
    },
    Need {
        purpose: "shows the pages to the browser test",
        probe: Probe::Program("chromium"),
        apt: "chromium",
        dnf: "chromium",
        brew: "chromium",
        for_tests: true,
    },
    Need {
        purpose: "drives the browser",
        probe: Probe::Program("chromedriver"),
        apt: "chromium-driver",
        dnf: "chromedriver",
        brew: "chromedriver",
        for_tests: true,
    },
    POSTGRES,
];

const POSTGRES: Need = Need {
    purpose: "holds the tables of pins",
    probe: Probe::Postgres,
    apt: "postgresql",
    dnf: "postgresql-server",
    brew: "postgresql",
    for_tests: true,
};

/// Installs PostgreSQL if it is missing.
///
/// # Errors
/// As [`run`].
pub(crate) fn postgres() -> anyhow::Result<()> {
    provide(&[POSTGRES])
}

/// Installs what a build needs.
///
/// # Errors
/// If something is missing and cannot be installed from here; the error says what to type.
pub(crate) fn run() -> anyhow::Result<()> {
    provide_of(false)
}

/// Installs what a build and the tests need.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_for_tests() -> anyhow::Result<()> {
    provide_of(true)
}

fn provide_of(for_tests: bool) -> anyhow::Result<()> {
    let needs: Vec<Need> = NEEDS
        .iter()
        .filter(|need| for_tests || !need.for_tests)
        .copied()
        .collect();
    provide(&needs)
}

fn provide(needs: &[Need]) -> anyhow::Result<()> {
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    for need in &missing {
        report::note(&format!("missing: {} ({})", need.apt, need.purpose));
    }
    let Some(prefix) = apt_prefix() else {
        bail!("{}", advice(&missing));
    };
    let apt_get = |arguments: &[&str]| {
        let mut words = prefix.iter().copied().chain(["apt-get"]);
        let mut command = Command::new(words.next().unwrap_or("apt-get"));
        command
            .args(words)
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive");
        process::run(command, INSTALL_LIMIT)
    };
    let mut install = vec!["install", "-y", "-q", "--no-install-recommends"];
    install.extend(missing.iter().flat_map(|need| need.apt.split(' ')));
    // Fresh machines have no lists of packages; others save the time.
    if apt_get(&install).is_err() {
        apt_get(&["update", "-q"])?;
        apt_get(&install)?;
    }
    let still = self::missing(needs);
    if !still.is_empty() {
        bail!("{}", advice(&still));
    }
    Ok(())
}

fn missing(needs: &[Need]) -> Vec<&Need> {
    needs.iter().filter(|need| !is_there(need.probe)).collect()
}

fn is_there(probe: Probe) -> bool {
    match probe {
        Probe::Program(name) => in_path(name),
        Probe::Postgres => postgres::programs().is_some(),
        Probe::Libclang => {
            std::env::var_os("LIBCLANG_PATH").is_some()
                || cfg!(target_os = "macos") && in_path("clang")
                || [
                    "/usr/lib",
                    "/usr/lib64",
                    "/usr/local/lib",
                    "/usr/lib/x86_64-linux-gnu",
                    "/usr/lib/aarch64-linux-gnu",
                ]
                .iter()
                .any(|folder| has_libclang(Path::new(folder), 2))
        }
    }
}

/// Looks for `libclang*.so*` in a folder and, as distributions nest it, in `llvm*/lib` below.
fn has_libclang(folder: &Path, depth: usize) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // The dynamic library that bindgen loads; `libclang-cpp` is another one.
        (name.starts_with("libclang.so") || name.starts_with("libclang-1") && name.contains(".so"))
            || depth > 0
                && (name.starts_with("llvm") || name == "lib")
                && has_libclang(&entry.path(), depth - 1)
    })
}

/// Installs the nightly toolchain where there is none: sanitizers need it.
///
/// # Errors
/// If it cannot be had.
pub(crate) fn nightly() -> anyhow::Result<()> {
    const LIMIT: Duration = Duration::from_secs(20 * 60);
    let mut version = Command::new("rustup");
    version.args(["run", "nightly", "rustc", "--version"]);
    if process::output(version, LIMIT)?.success {
        return Ok(());
    }
    let mut install = Command::new("rustup");
    install.args(["toolchain", "install", "nightly", "--profile", "minimal"]);
    process::run(install, LIMIT)
}

/// Returns whether a program of that name is in `PATH`.
pub(crate) fn in_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// Returns the words that go before `apt-get`, or nothing where it cannot be used without asking.
fn apt_prefix() -> Option<Vec<&'static str>> {
    if !in_path("apt-get") {
        return None;
    }
    if succeeds("sh", &["-c", "test \"$(id -u)\" = 0"]) {
        return Some(Vec::new());
    }
    succeeds("sudo", &["-n", "true"]).then(|| vec!["sudo", "-n"])
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments);
    process::output(command, Duration::from_secs(10)).is_ok_and(|output| output.success)
}

fn advice(missing: &[&Need]) -> String {
    let list = |pick: fn(&Need) -> &'static str| {
        let names: Vec<&str> = missing.iter().map(|need| pick(need)).collect();
        names.join(" ")
    };
    format!(
        "some packages are missing; install them and try again:\n  \
         Debian, Ubuntu: sudo apt-get install {}\n  \
         Fedora:         sudo dnf install {}\n  \
         macOS:          brew install {}",
        list(|need| need.apt),
        list(|need| need.dnf),
        list(|need| need.brew)
    )
}

#[cfg(test)]
mod tests {
    use super::{NEEDS, advice, in_path};

    #[test]
    fn the_advice_names_every_package_for_every_system() {
        let all: Vec<_> = NEEDS.iter().collect();
        let text = advice(&all);
        for word in [
            "apt-get install",
            "nasm",
            "clang-devel",
            "brew install llvm",
        ] {
            assert!(text.contains(word), "{word}: {text}");
        }
    }

    #[test]
    fn programs_are_found_in_the_path() {
        assert!(in_path("sh"));
        assert!(!in_path("no-such-program-anywhere"));
    }
}
