//! Which pictures are near-copies by design, as a file says it; for training and evaluating.
//!
//! ```toml
//! leave_out = ["stickers/*-1f3f[b-f]*"]            # not taken at all
//! [families]                                       # pairs within one: neither copies nor strangers
//! kitchen = ["interiors/pexels-36{…}.jpg", …]
//! ```
//! A glob (`*`, `?`, `[a-f]`, `**`) is held against a picture's name, against its path below the folder
//! that was given, and against that path with the folder's name before it. `*` does not cross a `/`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use glob::{MatchOptions, Pattern};
use serde::Deserialize;

use crate::error::Refusal;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FamiliesFile {
    #[serde(default)]
    leave_out: Vec<String>,
    #[serde(default)]
    families: BTreeMap<String, Vec<String>>,
}

/// Families of pictures, and pictures to leave out.
#[derive(Debug, Default)]
pub(crate) struct Families {
    leave_out: Vec<Pattern>,
    /// In the order of their names.
    families: Vec<Vec<Pattern>>,
}

impl Families {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, has another form, or holds what is no glob.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read `{}`", path.display()))?;
        Self::from_toml(&text)
            .map_err(|error| Refusal::Input.because(format!("`{}`: {error:#}", path.display())))
    }

    /// Leaves out what these globs match as well.
    ///
    /// # Errors
    /// If one is no glob.
    pub(crate) fn also_leave_out(&mut self, globs: &[String]) -> anyhow::Result<()> {
        for glob in globs {
            let pattern = Pattern::new(glob)
                .map_err(|error| Refusal::Input.because(format!("`{glob}` is no glob: {error}")))?;
            self.leave_out.push(pattern);
        }
        Ok(())
    }

    fn from_toml(text: &str) -> anyhow::Result<Self> {
        let file: FamiliesFile = toml::from_str(text)?;
        let compile = |globs: &Vec<String>| -> anyhow::Result<Vec<Pattern>> {
            let pattern =
                |glob: &String| Pattern::new(glob).with_context(|| format!("`{glob}` is no glob"));
            globs.iter().map(pattern).collect()
        };
        Ok(Self {
            leave_out: compile(&file.leave_out)?,
            families: file
                .families
                .values()
                .map(compile)
                .collect::<Result<_, _>>()?,
        })
    }

    /// Returns how many families there are.
    pub(crate) fn len(&self) -> usize {
        self.families.len()
    }

    /// Returns whether a picture is not to be taken. Names are `FOLDER/PATH`.
    pub(crate) fn leaves_out(&self, name: &str) -> bool {
        self.leave_out.iter().any(|glob| is_match(glob, name))
    }

    /// Returns the numbers of the families that a picture is of, ascending.
    pub(crate) fn of(&self, name: &str) -> Vec<usize> {
        let has = |globs: &Vec<Pattern>| globs.iter().any(|glob| is_match(glob, name));
        (0..self.families.len())
            .filter(|&family| has(&self.families[family]))
            .collect()
    }

    /// Returns the globs that match none of `names`: first those that speak of one of the folders that
    /// these pictures lie in or of no folder, then those of other folders.
    pub(crate) fn unmatched(&self, names: &[String]) -> (Vec<String>, Vec<String>) {
        let folder_of = |name: &str| name.split_once('/').map(|(folder, _)| folder.to_owned());
        let folders: std::collections::HashSet<_> =
            names.iter().filter_map(|name| folder_of(name)).collect();
        let globs = self.leave_out.iter().chain(self.families.iter().flatten());
        globs
            .filter(|glob| !names.iter().any(|name| is_match(glob, name)))
            .map(|glob| glob.as_str().to_owned())
            .partition(|glob| folder_of(glob).is_none_or(|folder| folders.contains(&folder)))
    }
}

fn is_match(glob: &Pattern, name: &str) -> bool {
    let options = MatchOptions {
        require_literal_separator: true,
        ..MatchOptions::default()
    };
    let below_folder = name.split_once('/').map_or(name, |(_, path)| path);
    let file_name = name.rsplit('/').next().unwrap_or(name);
    [name, below_folder, file_name]
        .iter()
        .any(|text| glob.matches_with(text, options))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        leave_out = ["*-1f3f[b-f].webp", "rooms/sub/twice.jpg"]
        [families]
        clocks = ["stickers/1f55?.webp"]
        kitchen = ["k[12].jpg", "sub/k3.jpg"]
        round = ["1f550.webp", "1f315.webp"]
    "#;

    #[track_caller]
    fn check(name: &str, families: &[usize], is_left_out: bool) {
        let read = Families::from_toml(FILE).unwrap();
        assert_eq!(read.of(name), families, "{name}");
        assert_eq!(read.leaves_out(name), is_left_out, "{name}");
    }

    #[test]
    fn globs_match_names_and_paths_with_and_without_the_folder() {
        check("stickers/1f551.webp", &[0], false);
        check("stickers/1f550.webp", &[0, 2], false);
        check("others/1f551.webp", &[], false);
        check("stickers/1f44d-1f3fb.webp", &[], true);
        check("rooms/k1.jpg", &[1], false);
        check("rooms/sub/k2.jpg", &[1], false);
        check("rooms/sub/k3.jpg", &[1], false);
        check("rooms/k3.jpg", &[], false);
        check("rooms/sub/twice.jpg", &[], true);
        check("rooms/twice.jpg", &[], false);
    }

    #[test]
    fn globs_that_match_nothing_are_found() {
        let read = Families::from_toml(FILE).unwrap();
        let names = ["rooms/k1.jpg", "rooms/1f315.webp", "rooms/a-1f3fc.webp"];
        let (unknown, of_other_folders) = read.unmatched(&names.map(str::to_owned));
        // `sub/k3.jpg` may be meant as a folder that was not given.
        assert_eq!(unknown, ["rooms/sub/twice.jpg", "1f550.webp"]);
        assert_eq!(of_other_folders, ["stickers/1f55?.webp", "sub/k3.jpg"]);
    }

    #[test]
    fn what_is_no_such_file_is_refused() {
        for text in [
            "famlies = {}",
            "leave_out = [\"a[\"]",
            "[families]\na = \"b\"",
        ] {
            assert!(Families::from_toml(text).is_err(), "{text}");
        }
        assert_eq!(Families::from_toml("").unwrap().len(), 0);
    }

    #[test]
    fn the_families_of_the_samples_can_be_read() {
        let read = Families::from_toml(include_str!("samples/families.toml")).unwrap();
        assert!(read.len() > 10);
        assert!(read.leaves_out("stickers/1f44d-1f3fb.webp"));
    }
}
