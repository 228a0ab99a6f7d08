//! Prints what a close look finds for copies and for hard negatives, one pair a line, tab-separated:
//!
//! ```text
//! cargo run --release -p likeness-vision --example close_look -- SAMPLES/nature SAMPLES/wallpapers-16 > pairs.tsv
//! ```
//! The columns: kind (`copy` or `negative`), name of the edit or of the kind of negatives, share that differs,
//! correlation, blocks, plain share, overlap, difference of colour, evidence, microseconds.

#![expect(clippy::print_stdout, reason = "a command: figures go to stdout")]

use std::error::Error;
use std::time::Instant;

use likeness_vision::edits::{EditList, Negative};
use likeness_vision::geometry::CloseUp;
use likeness_vision::{DecodeLimits, RgbImage, decode};

/// Pixels that a signature is made from.
const MIN_SIDE: u32 = 256;
const FAMILIES: u32 = 10;
const MEMBERS: u32 = 6;

fn main() -> Result<(), Box<dyn Error>> {
    let mut paths = Vec::new();
    for folder in std::env::args().skip(1) {
        for entry in std::fs::read_dir(folder)? {
            paths.push(entry?.path());
        }
    }
    paths.sort();
    let limits = DecodeLimits::default();
    let close_up = |bytes: &[u8]| -> Result<CloseUp, Box<dyn Error>> {
        Ok(CloseUp::of(&decode(bytes, &limits, Some(MIN_SIDE))?.image))
    };
    let other = RgbImage::from_fn(400, 300, |x, y| [(x / 2) as u8, (y / 2) as u8, 90])
        .ok_or("sides are not zero")?;
    for path in &paths {
        let bytes = std::fs::read(path)?;
        let Ok(decoded) = decode(&bytes, &limits, Some(1_024)) else {
            continue;
        };
        let image = decoded.image.fit_within(1_024);
        let original = close_up(&image.encode_jpeg(90))?;
        for list in EditList::ALL {
            for edit in list.edits() {
                let copy = close_up(&edit.apply(&image, &[&other, &other, &other], 1))?;
                show("copy", edit.name(), &original, &copy);
            }
        }
    }
    for kind in Negative::ALL {
        for family in 0..FAMILIES {
            let members: Vec<CloseUp> = (0..MEMBERS)
                .map(|member| close_up(&kind.file(family, member, 1)))
                .collect::<Result<_, _>>()?;
            for (place, first) in members.iter().enumerate() {
                for second in &members[..place] {
                    show("negative", kind.name(), first, second);
                }
            }
            // Copies of the same pictures, for what a copy of a page looks like.
            let pixels = kind.pixels(family, 0, 1);
            for list in EditList::ALL {
                for edit in list.edits() {
                    let copy = close_up(&edit.apply(&pixels, &[&other, &other, &other], 1))?;
                    show(
                        "drawn-copy",
                        &format!("{}-{}", kind.name(), edit.name()),
                        &members[0],
                        &copy,
                    );
                }
            }
        }
    }
    Ok(())
}

fn show(kind: &str, name: &str, first: &CloseUp, second: &CloseUp) {
    let started = Instant::now();
    let look = first.compare(second);
    let micros = started.elapsed().as_micros();
    println!(
        "{kind}\t{name}\t{:.3}\t{:.3}\t{}\t{:.3}\t{:.3}\t{}\t{:.2}\t{micros}",
        look.differing,
        look.correlation,
        look.n_blocks,
        look.plain,
        look.overlap,
        look.colour,
        look.geometric.evidence(),
    );
}
