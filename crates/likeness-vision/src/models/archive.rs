//! Taking files out of packages: wheels (zip), npm packages (gzipped tar), Debian packages, and Qt
//! resource archives, which some packages hold.
//!
//! Invariants: only regular files are taken, links and devices are skipped; nothing is written
//! outside the destination; sizes are counted while unpacking, so that a small archive that unpacks
//! to a huge one stops at the limit. What the archive says of its own sizes is not believed.

mod rcc;

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::ops::ControlFlow;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use flate2::read::GzDecoder;

/// How much may be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtractLimits {
    /// Files taken out.
    pub max_files: usize,
    /// Bytes of one file taken out.
    pub max_file_bytes: u64,
    /// Bytes unpacked in all, including what is passed over.
    pub max_total_bytes: u64,
}

impl Default for ExtractLimits {
    /// Room for the largest model and sample package in use, ten times over.
    fn default() -> Self {
        Self {
            max_files: 50_000,
            max_file_bytes: 1 << 30,
            max_total_bytes: 4 << 30,
        }
    }
}

/// Writes the files whose path satisfies `wanted` under `dest`, at the paths they have in the
/// archive. Returns the paths written, in the order of the archive.
///
/// `dest` should be empty: files of the same name are replaced.
pub fn extract(
    archive: &Path,
    wanted: &dyn Fn(&str) -> bool,
    dest: &Path,
    limits: &ExtractLimits,
) -> Result<Vec<PathBuf>, ArchiveError> {
    let mut written = Vec::new();
    visit_files(archive, limits, &mut |name, reader| {
        if !wanted(name) {
            return Ok(ControlFlow::Continue(()));
        }
        if written.len() == limits.max_files {
            return Err(ArchiveError::TooLarge {
                what: "number of files",
                limit: limits.max_files as u64,
            });
        }
        let path = dest.join(safe_path(name)?);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut file = File::create(&path)?;
        copy_bounded(reader, &mut file, limits.max_file_bytes)?;
        written.push(path);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(written)
}

/// Writes the content of one file of the archive to `writer`.
pub fn read_member(
    archive: &Path,
    member: &str,
    writer: &mut dyn Write,
    limits: &ExtractLimits,
) -> Result<(), ArchiveError> {
    let mut found = false;
    visit_files(archive, limits, &mut |name, reader| {
        if name != member {
            return Ok(ControlFlow::Continue(()));
        }
        copy_bounded(reader, writer, limits.max_file_bytes)?;
        found = true;
        Ok(ControlFlow::Break(()))
    })?;
    if found {
        return Ok(());
    }
    Err(ArchiveError::NoMember {
        archive: archive.display().to_string(),
        member: member.to_owned(),
    })
}

type Visit<'a> = dyn FnMut(&str, &mut dyn Read) -> Result<ControlFlow<()>, ArchiveError> + 'a;

/// Calls `visit` with name and content of each regular file, until it breaks.
fn visit_files(
    archive: &Path,
    limits: &ExtractLimits,
    visit: &mut Visit<'_>,
) -> Result<(), ArchiveError> {
    let name = archive.to_string_lossy();
    let ends_with = |ending: &str| name.ends_with(ending);
    if ends_with(".whl") || ends_with(".zip") {
        visit_zip(File::open(archive)?, limits, visit)
    } else if ends_with(".tgz") || ends_with(".tar.gz") {
        let unpacked = GzDecoder::new(BufReader::new(File::open(archive)?));
        visit_tar(unpacked, limits, visit).map(drop)
    } else if ends_with(".deb") {
        visit_deb(archive, limits, visit)
    } else if ends_with(".rcc") {
        rcc::visit_rcc(File::open(archive)?, limits, visit)
    } else {
        Err(ArchiveError::UnknownFormat {
            archive: name.into_owned(),
        })
    }
}

fn visit_zip(
    file: File,
    limits: &ExtractLimits,
    visit: &mut Visit<'_>,
) -> Result<(), ArchiveError> {
    let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(io::Error::from)?;
    let mut left = limits.max_total_bytes;
    for file_idx in 0..archive.len() {
        let member = archive.by_index(file_idx).map_err(io::Error::from)?;
        if !member.is_file() {
            continue;
        }
        let name = member.name().map_err(io::Error::from)?.into_owned();
        // Members that `visit` does not read are not unpacked either, and cost nothing.
        let mut counted = member.take(left);
        let outcome = visit(&name, &mut counted);
        left = counted.limit();
        if left == 0 {
            return Err(too_large_in_all(limits));
        }
        if outcome?.is_break() {
            break;
        }
    }
    Ok(())
}

/// Breaks if `visit` broke, in which case the rest of the stream is unread.
fn visit_tar(
    stream: impl Read,
    limits: &ExtractLimits,
    visit: &mut Visit<'_>,
) -> Result<ControlFlow<()>, ArchiveError> {
    let mut archive = tar::Archive::new(stream.take(limits.max_total_bytes));
    let outcome = visit_tar_entries(&mut archive, visit);
    // At the limit the stream seems to end, which reads as a cut archive: name the real reason.
    if archive.into_inner().limit() == 0 {
        return Err(too_large_in_all(limits));
    }
    outcome
}

fn visit_tar_entries(
    archive: &mut tar::Archive<impl Read>,
    visit: &mut Visit<'_>,
) -> Result<ControlFlow<()>, ArchiveError> {
    for entry in archive.entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        // Debian's names begin with `./`.
        let name = name.strip_prefix("./").unwrap_or(&name);
        if visit(name, &mut entry)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Debian's own tool undoes the outer layers, whose compression varies.
fn visit_deb(
    archive: &Path,
    limits: &ExtractLimits,
    visit: &mut Visit<'_>,
) -> Result<(), ArchiveError> {
    let mut child = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(archive)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ArchiveError::MissingTool { tool: "dpkg-deb" },
            _ => ArchiveError::Io(error),
        })?;
    let stream = child.stdout.take().expect("stdout was asked to be a pipe");
    // The stream is dropped in there, so that the tool cannot block on a full pipe.
    let outcome = visit_tar(stream, limits, visit);
    let status = child.wait()?;
    // A tool that we stopped listening to fails by right.
    if outcome?.is_continue() && !status.success() {
        return Err(ArchiveError::Io(io::Error::other(format!(
            "dpkg-deb failed on `{}`: {status}",
            archive.display()
        ))));
    }
    Ok(())
}

/// Turns a path in an archive into one below the destination.
fn safe_path(name: &str) -> Result<PathBuf, ArchiveError> {
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(ArchiveError::UnsafePath {
                    member: name.to_owned(),
                });
            }
        }
    }
    if path.as_os_str().is_empty() || name.contains(['\0', '\\']) {
        return Err(ArchiveError::UnsafePath {
            member: name.to_owned(),
        });
    }
    Ok(path)
}

fn copy_bounded(
    reader: &mut dyn Read,
    writer: &mut dyn Write,
    max_bytes: u64,
) -> Result<(), ArchiveError> {
    // One byte more than allowed tells a file of the largest size from a larger one.
    let n_copied = io::copy(&mut reader.take(max_bytes.saturating_add(1)), writer)?;
    if n_copied > max_bytes {
        return Err(ArchiveError::TooLarge {
            what: "size of a file in bytes",
            limit: max_bytes,
        });
    }
    Ok(())
}

fn too_large_in_all(limits: &ExtractLimits) -> ArchiveError {
    ArchiveError::TooLarge {
        what: "unpacked bytes in all",
        limit: limits.max_total_bytes,
    }
}

/// Why a package could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Reading the archive or writing a file failed; damaged archives end here too.
    #[error("cannot unpack: {0}")]
    Io(#[from] io::Error),
    /// Neither a wheel, nor an npm package, nor a Debian package, nor a Qt resource archive by its name.
    #[error("`{archive}` is neither .whl, .zip, .tgz, .tar.gz, .deb nor .rcc")]
    UnknownFormat {
        /// The file.
        archive: String,
    },
    /// The archive has no such file.
    #[error("`{archive}` has no file `{member}`")]
    NoMember {
        /// The archive.
        archive: String,
        /// The path looked for.
        member: String,
    },
    /// A path would lead out of the destination.
    #[error("refused path `{member}` in an archive")]
    UnsafePath {
        /// The path.
        member: String,
    },
    /// A limit was met.
    #[error("archive refused: {what} exceeds {limit}")]
    TooLarge {
        /// What was counted.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A tool is not installed.
    #[error("`{tool}` not found: it opens Debian packages and comes with Debian's `dpkg`")]
    MissingTool {
        /// The tool.
        tool: &'static str,
    },
}

#[cfg(test)]
pub(crate) mod tests;
