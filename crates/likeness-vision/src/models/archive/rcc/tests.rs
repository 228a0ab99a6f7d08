use std::path::PathBuf;

use super::super::{extract, read_member};
use super::*;

/// A file of the tests' archive: path in one folder, flags, content.
type Member<'a> = (&'a str, u16, &'a [u8]);

const MEMBERS: [Member<'_>; 3] = [
    ("one.webp", 0, b"one"),
    ("packed.webp", 1, b"\0\0\0\x09x"),
    ("zwei ä.webp", 0, &[7; 5_000]),
];

fn name(text: &str) -> Vec<u8> {
    let units: Vec<u16> = text.encode_utf16().collect();
    let mut bytes = (units.len() as u16).to_be_bytes().to_vec();
    bytes.extend([0; 4]);
    bytes.extend(units.iter().flat_map(|unit| unit.to_be_bytes()));
    bytes
}

fn node(name: usize, flags: u16, first: u32, second: u32) -> Vec<u8> {
    let mut bytes = (name as u32).to_be_bytes().to_vec();
    bytes.extend(flags.to_be_bytes());
    bytes.extend(first.to_be_bytes());
    bytes.extend(second.to_be_bytes());
    bytes.extend([0; 8]);
    bytes
}

/// Returns an archive of the folder `pictures` with these files: data, names, tree, as Qt's own tool has
/// them.
fn archive(members: &[Member<'_>]) -> Vec<u8> {
    let (mut data, mut names) = (Vec::new(), name("pictures"));
    let mut tree = node(0, IS_FOLDER, 1, 1);
    tree.extend(node(0, IS_FOLDER, members.len() as u32, 2));
    for (file_name, flags, content) in members {
        tree.extend(node(names.len(), *flags, 0, data.len() as u32));
        names.extend(name(file_name));
        data.extend((content.len() as u32).to_be_bytes());
        data.extend_from_slice(content);
    }
    let data_start = 24;
    let names_start = data_start + data.len();
    let tree_start = names_start + names.len();
    let mut bytes = MAGIC.to_vec();
    for number in [VERSION as usize, tree_start, data_start, names_start, 0] {
        bytes.extend((number as u32).to_be_bytes());
    }
    [bytes, data, names, tree].concat()
}

fn unpack(bytes: &[u8], limits: &ExtractLimits) -> Result<Vec<PathBuf>, ArchiveError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.rcc");
    std::fs::write(&path, bytes).unwrap();
    let dest = folder.path().join("out");
    let written = extract(&path, &|_| true, &dest, limits)?;
    let below = |path: &PathBuf| path.strip_prefix(&dest).unwrap().to_owned();
    Ok(written.iter().map(below).collect())
}

#[test]
fn stored_files_come_out_and_compressed_ones_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.rcc");
    std::fs::write(&path, archive(&MEMBERS)).unwrap();
    let (dest, limits) = (folder.path().join("out"), ExtractLimits::default());
    let written = extract(&path, &|_| true, &dest, &limits).unwrap();
    let wanted = ["pictures/one.webp", "pictures/zwei ä.webp"].map(|name| dest.join(name));
    assert_eq!(written, wanted);
    assert_eq!(std::fs::read(&wanted[1]).unwrap(), [7; 5_000]);
    let mut content = Vec::new();
    read_member(&path, "pictures/one.webp", &mut content, &limits).unwrap();
    assert_eq!(content, b"one");
}

#[test]
fn a_torn_archive_is_an_error_wherever_it_is_torn() {
    let whole = archive(&MEMBERS);
    for length in (0..200).chain(whole.len() - 200..whole.len()) {
        let outcome = unpack(&whole[..length], &ExtractLimits::default());
        assert!(
            matches!(outcome, Err(ArchiveError::Io(_))),
            "{length}: {outcome:?}"
        );
    }
}

#[test]
fn wrong_numbers_are_errors_and_never_panics() {
    let members: Vec<Member<'_>> = vec![("a.png", 0, b"a"), ("b.png", 0, b"b")];
    let whole = archive(&members);
    for place in 0..whole.len() {
        for value in [0x00, 0x01, 0x02, 0x7f, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[place] = value;
            // Some bytes are of no consequence; none may end the program.
            if let Ok(written) = unpack(&bytes, &ExtractLimits::default()) {
                assert!(written.len() <= members.len());
            }
        }
    }
    let mut other_version = whole.clone();
    other_version[7] = 2;
    let outcome = unpack(&other_version, &ExtractLimits::default());
    assert!(outcome.unwrap_err().to_string().contains("version"));
}

#[test]
fn a_tree_that_leads_back_into_itself_is_an_error() {
    let mut bytes = archive(&MEMBERS);
    let tree = bytes.len() - 5 * NODE_BYTES;
    // The folder's first child is the root.
    bytes[tree + NODE_BYTES + 10..][..4].copy_from_slice(&0_u32.to_be_bytes());
    let error = unpack(&bytes, &ExtractLimits::default()).unwrap_err();
    assert!(error.to_string().contains("tree"), "{error}");
}

#[test]
fn a_name_that_leads_outside_is_refused() {
    let outcome = unpack(
        &archive(&[("../../evil", 0, b"x")]),
        &ExtractLimits::default(),
    );
    assert!(
        matches!(outcome, Err(ArchiveError::UnsafePath { .. })),
        "{outcome:?}"
    );
}

#[test]
fn every_limit_is_kept() {
    let bytes = archive(&MEMBERS);
    let limits = ExtractLimits::default();
    let too_small = [
        ExtractLimits {
            max_files: 1,
            ..limits
        },
        ExtractLimits {
            max_file_bytes: 4_999,
            ..limits
        },
        ExtractLimits {
            max_total_bytes: 1_000,
            ..limits
        },
    ];
    for limits in too_small {
        let outcome = unpack(&bytes, &limits);
        assert!(
            matches!(outcome, Err(ArchiveError::TooLarge { .. })),
            "{limits:?}: {outcome:?}"
        );
    }
    // Two files of one content count twice.
    let mut members = [("a", 0, &[1_u8; 4_000][..]), ("b", 0, b"")];
    let mut twice = archive(&members);
    let last_content = twice.len() - 12;
    twice[last_content..][..4].fill(0);
    let limits = ExtractLimits {
        max_total_bytes: 7_000,
        ..limits
    };
    assert!(matches!(
        unpack(&twice, &limits),
        Err(ArchiveError::TooLarge { .. })
    ));
    members[0].2 = b"a";
    assert_eq!(unpack(&archive(&members), &limits).unwrap().len(), 2);
}
