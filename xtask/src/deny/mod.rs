//! `cargo xtask deny`: licences and duplicate dependencies, by the rules of `deny.toml`.
//!
//! Works on `cargo metadata` alone, so it needs no network and no further tool. An allowance that
//! nothing uses any more is a failure as well: the list stays the truth.

mod spdx;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::report::{self, Checks};
use crate::workspace;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bans {
    /// Crates that must not be in the tree.
    deny: Vec<Named>,
    /// Older versions that may be there beside the newest.
    duplicates: Vec<Named>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
    /// Exact version, for duplicates.
    version: Option<String>,
    reason: String,
}

/// A crate of the tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    is_ours: bool,
}

/// Checks the tree of all features on this system.
///
/// # Errors
/// If a rule is broken.
pub(crate) fn run() -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(workspace::root().join("deny.toml"))
        .context("reading deny.toml")?;
    let rules: Rules = toml::from_str(&text).context("reading deny.toml")?;
    let metadata = workspace::metadata(&["--all-features", "--filter-platform", &host()?])?;
    let packages = packages(&metadata)?;
    let mut checks = Checks::default();
    check_licenses(&rules.licenses, &packages, &mut checks);
    let num_duplicates = check_bans(&rules.bans, &packages, &mut checks);
    check_bootstrap(&bootstrap()?, &mut checks);
    report::line(&format!(
        "{} crates, {num_duplicates} allowed duplicates",
        packages.len()
    ));
    checks.verdict("deny")?;
    Ok(json!({
        "crates": packages.len(),
        "allowed_duplicates": num_duplicates,
        "checks_passed": checks.passed(),
    }))
}

/// Crates that compile C or look for what it needs.
const COMPILERS: [&str; 4] = ["bindgen", "cc", "cmake", "pkg-config"];

/// Returns the names of the crates that `cargo xtask` is built of, which must build where there is no C compiler
/// yet: it is what installs one.
fn bootstrap() -> anyhow::Result<BTreeSet<String>> {
    let mut command = workspace::cargo(&["tree", "--package", "xtask"])?;
    command.args([
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]);
    let output = crate::process::output(command, std::time::Duration::from_secs(60))?;
    anyhow::ensure!(output.success, "cargo tree: {}", output.stderr.trim());
    let names = output
        .stdout
        .lines()
        .filter_map(|line| line.split(' ').next());
    Ok(names.map(str::to_owned).collect())
}

fn check_bootstrap(crates: &BTreeSet<String>, checks: &mut Checks) {
    checks.that(crates.contains("xtask"), || {
        format!("cargo tree does not name xtask itself: {crates:?}")
    });
    for name in COMPILERS {
        checks.that(!crates.contains(name), || {
            format!("cargo xtask needs `{name}` to be built, and is what installs the compiler; see `cargo tree -p xtask -i {name}`")
        });
    }
}

fn host() -> anyhow::Result<String> {
    let mut command = std::process::Command::new("rustc");
    command.arg("-vV");
    let output = crate::process::output(command, std::time::Duration::from_secs(60))?;
    output
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("rustc -vV names no host")
}

/// Returns the crates that the resolver chose for this system.
fn packages(metadata: &Value) -> anyhow::Result<BTreeSet<Package>> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let resolved: BTreeSet<String> = list(&metadata["resolve"]["nodes"])
        .iter()
        .filter_map(|node| node["id"].as_str().map(str::to_owned))
        .collect();
    let ours: BTreeSet<String> = list(&metadata["workspace_members"])
        .iter()
        .filter_map(|id| id.as_str().map(str::to_owned))
        .collect();
    list(&metadata["packages"])
        .iter()
        .filter_map(|package| {
            package["id"]
                .as_str()
                .map(|id| (id.to_owned(), package.clone()))
        })
        .filter(|(id, _)| resolved.contains(id))
        .map(|(id, package)| {
            let text = |key: &str| package[key].as_str().map(str::to_owned);
            Ok(Package {
                name: text("name").context("a package has no name")?,
                version: text("version").context("a package has no version")?,
                license: text("license"),
                is_ours: ours.contains(&id),
            })
        })
        .collect()
}

fn check_licenses(rules: &Licenses, packages: &BTreeSet<Package>, checks: &mut Checks) {
    let mut used = BTreeSet::new();
    for package in packages {
        let Some(license) = &package.license else {
            checks.fail(format!(
                "{} {} states no licence",
                package.name, package.version
            ));
            continue;
        };
        match spdx::satisfied(license, &rules.allow) {
            Ok(Some(chosen)) => used.extend(chosen),
            Ok(None) => checks.fail(format!(
                "{} {} is licensed as `{license}`, which deny.toml does not allow",
                package.name, package.version
            )),
            Err(error) => checks.fail(format!("{}: `{license}`: {error}", package.name)),
        }
    }
    for license in &rules.allow {
        checks.that(used.contains(license), || {
            format!("deny.toml allows `{license}`, which nothing needs any more")
        });
    }
}

/// Returns the number of duplicates that are allowed and there.
fn check_bans(rules: &Bans, packages: &BTreeSet<Package>, checks: &mut Checks) -> usize {
    for ban in &rules.deny {
        checks.that(
            packages.iter().all(|package| package.name != ban.name),
            || format!("`{}` is in the tree: {}", ban.name, ban.reason),
        );
    }
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages.iter().filter(|package| !package.is_ours) {
        versions
            .entry(&package.name)
            .or_default()
            .push(&package.version);
    }
    let mut used = BTreeSet::new();
    for (name, mut found) in versions {
        found.sort_by_key(|version| order(version));
        // The newest needs no excuse.
        found.pop();
        for version in found {
            let allowed = rules
                .duplicates
                .iter()
                .any(|named| named.name == name && named.version.as_deref() == Some(version));
            checks.that(allowed, || {
                format!("`{name} {version}` is there beside a newer one; see `cargo tree -i {name}@{version}`")
            });
            if allowed {
                used.insert((name, version));
            }
        }
    }
    for named in &rules.duplicates {
        let version = named.version.as_deref().unwrap_or_default();
        checks.that(used.contains(&(named.name.as_str(), version)), || {
            format!(
                "deny.toml allows `{} {version}` ({}), which is no duplicate any more",
                named.name, named.reason
            )
        });
        checks.that(!named.reason.trim().is_empty(), || {
            format!("deny.toml gives no reason for `{} {version}`", named.name)
        });
    }
    used.len()
}

/// Numbers of a version; what follows them (pre-releases) orders by text.
fn order(version: &str) -> (Vec<u64>, String) {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers = core
        .split('.')
        .map(|part| part.parse().unwrap_or(0))
        .collect();
    (numbers, version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str, license: Option<&str>) -> Package {
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            license: license.map(str::to_owned),
            is_ours: false,
        }
    }

    #[track_caller]
    fn check(duplicates: &str, packages: &[Package], num_failed: usize) {
        let text = format!(
            "[licenses]\nallow = [\"MIT\"]\n[bans]\ndeny = [{{ name = \"evil\", reason = \"because\" }}]\nduplicates = [{duplicates}]"
        );
        let rules: Rules = toml::from_str(&text).unwrap();
        let packages: BTreeSet<Package> = packages.iter().cloned().collect();
        let mut checks = Checks::default();
        check_licenses(&rules.licenses, &packages, &mut checks);
        check_bans(&rules.bans, &packages, &mut checks);
        assert_eq!(checks.failed(), num_failed);
    }

    #[test]
    fn unlisted_duplicates_licences_and_banned_crates_fail() {
        let mit = Some("MIT");
        check("", &[package("a", "1.0.0", mit)], 0);
        check(
            "",
            &[package("a", "1.0.0", mit), package("a", "10.0.0", mit)],
            1,
        );
        check(
            "",
            &[package("a", "1.0.0", mit), package("evil", "1.0.0", mit)],
            1,
        );
        check(
            "",
            &[
                package("a", "1.0.0", mit),
                package("b", "1.0.0", Some("GPL-3.0")),
            ],
            1,
        );
        check(
            "",
            &[package("a", "1.0.0", mit), package("b", "1.0.0", None)],
            1,
        );
    }

    #[test]
    fn what_installs_the_compiler_needs_none() {
        let num_failed = |names: &[&str]| {
            let mut checks = Checks::default();
            let names = names.iter().map(|&name| name.to_owned()).collect();
            check_bootstrap(&names, &mut checks);
            checks.failed()
        };
        assert_eq!(num_failed(&["xtask", "serde"]), 0);
        assert_eq!(num_failed(&["xtask", "cc", "cmake"]), 2);
        assert_eq!(num_failed(&[]), 1);
    }

    #[test]
    fn an_allowance_covers_the_older_version_and_must_be_needed() {
        let allowed = "{ name = \"a\", version = \"9.0.0\", reason = \"x wants it\" }";
        let mit = Some("MIT");
        check(
            allowed,
            &[package("a", "9.0.0", mit), package("a", "10.0.0", mit)],
            0,
        );
        check(allowed, &[package("a", "10.0.0", mit)], 1);
    }
}
