use super::*;

/// Writes a wheel with these members.
pub(crate) fn write_zip(path: &Path, members: &[(&str, &[u8])]) {
    let mut writer = zip::ZipWriter::new(File::create(path).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    for (name, content) in members {
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap();
}

/// Writes an npm package with these members; names are written as given, unsafe ones too.
fn write_tgz(path: &Path, members: &[(&str, &[u8])]) {
    let encoder =
        flate2::write::GzEncoder::new(File::create(path).unwrap(), flate2::Compression::default());
    let mut builder = tar::Builder::new(encoder);
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        // `set_path` refuses what this file wants to test.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(content.len() as u64);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    builder
        .append_link(&mut link, "package/link", "/etc/passwd")
        .unwrap();
    builder.into_inner().unwrap().finish().unwrap();
}

const MEMBERS: &[(&str, &[u8])] = &[
    ("package/one.txt", b"one"),
    ("package/deep/two.bin", &[7; 5_000]),
];

#[test]
fn wanted_files_come_out_of_both_formats_and_links_do_not() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.whl", "a.tgz"] {
        let archive = folder.path().join(name);
        let dest = folder.path().join(format!("{name}-out"));
        if name == "a.whl" {
            write_zip(&archive, MEMBERS);
        } else {
            write_tgz(&archive, MEMBERS);
        }
        let all = extract(&archive, &|_| true, &dest, &ExtractLimits::default()).unwrap();
        let wanted: Vec<_> = MEMBERS.iter().map(|(name, _)| dest.join(name)).collect();
        assert_eq!(all, wanted);
        for ((_, content), path) in MEMBERS.iter().zip(&all) {
            assert_eq!(std::fs::read(path).unwrap(), *content);
        }
        let mut member = Vec::new();
        let limits = ExtractLimits::default();
        read_member(&archive, "package/one.txt", &mut member, &limits).unwrap();
        assert_eq!(member, b"one");
        let missing = read_member(&archive, "one.txt", &mut member, &limits);
        assert!(matches!(missing, Err(ArchiveError::NoMember { .. })));
        let some = extract(&archive, &|name| name.ends_with(".bin"), &dest, &limits).unwrap();
        assert_eq!(some, [dest.join("package/deep/two.bin")]);
    }
}

#[test]
fn paths_that_lead_outside_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for bad in ["../evil", "/etc/evil", "a/../../evil", "a\\..\\evil"] {
        for name in ["a.zip", "a.tgz"] {
            let archive = folder.path().join(name);
            if name == "a.zip" {
                write_zip(&archive, &[(bad, b"x")]);
            } else {
                write_tgz(&archive, &[(bad, b"x")]);
            }
            let dest = folder.path().join("out");
            let outcome = extract(&archive, &|_| true, &dest, &ExtractLimits::default());
            assert!(
                matches!(outcome, Err(ArchiveError::UnsafePath { .. })),
                "{name} {bad}: {outcome:?}"
            );
        }
    }
    assert!(!folder.path().join("evil").exists());
}

#[test]
fn every_limit_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let limits = ExtractLimits::default();
    for name in ["a.zip", "a.tgz"] {
        let archive = folder.path().join(name);
        // A megabyte of zeros packs to about a kilobyte.
        let members: &[(&str, &[u8])] = &[("zeros", &[0; 1 << 20]), ("more", b"m")];
        if name == "a.zip" {
            write_zip(&archive, members);
        } else {
            write_tgz(&archive, members);
        }
        for too_small in [
            ExtractLimits {
                max_files: 1,
                ..limits
            },
            ExtractLimits {
                max_file_bytes: 1 << 19,
                ..limits
            },
            ExtractLimits {
                max_total_bytes: 1 << 19,
                ..limits
            },
        ] {
            let dest = tempfile::tempdir().unwrap();
            let outcome = extract(&archive, &|_| true, dest.path(), &too_small);
            assert!(
                matches!(outcome, Err(ArchiveError::TooLarge { .. })),
                "{name} {too_small:?}: {outcome:?}"
            );
        }
    }
}

#[test]
fn cut_and_foreign_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let limits = ExtractLimits::default();
    for name in ["a.zip", "a.tgz", "a.rar"] {
        let archive = folder.path().join(name);
        std::fs::write(&archive, b"PK\x03\x04 no archive").unwrap();
        assert!(
            extract(&archive, &|_| true, folder.path(), &limits).is_err(),
            "{name}"
        );
    }
}
