//! Six drawings that a copy detector takes for six different pictures.
//!
//! Drawn differently rather than coloured differently: variations of one drawing are near-duplicates
//! to a model that looks at structure.

use likeness_vision::RgbImage;

const WIDTH: u32 = 400;
const HEIGHT: u32 = 300;

/// Returns hills under a sun, a brick wall, rings, houses at night, a flower and a chessboard.
pub(crate) fn all() -> Vec<RgbImage> {
    [landscape, bricks, rings, houses, flower, chessboard]
        .into_iter()
        .map(|colour_at| RgbImage::from_fn(WIDTH, HEIGHT, colour_at).expect("the size is fine"))
        .collect()
}

fn landscape(x: u32, y: u32) -> [u8; 3] {
    let hill = 150.0 + 40.0 * (x as f32 / 50.0).sin();
    if x.abs_diff(300).pow(2) + y.abs_diff(60).pow(2) < 900 {
        [255, 220, 90]
    } else if y as f32 > hill {
        [60, 120, 50]
    } else {
        [90 + (y / 3) as u8, 150 + (y / 4) as u8, 230]
    }
}

fn bricks(x: u32, y: u32) -> [u8; 3] {
    let row = y / 25;
    let shifted = x + row % 2 * 30;
    if y % 25 < 3 || shifted % 60 < 3 {
        [200; 3]
    } else {
        [150 + row as u8 * 5, 60 + (shifted / 60 * 37 % 40) as u8, 50]
    }
}

fn rings(x: u32, y: u32) -> [u8; 3] {
    let ring = (x.abs_diff(150).pow(2) + y.abs_diff(170).pow(2)).isqrt() / 16;
    [ring * 61, ring * 29 + 80, ring * 97 + 30].map(|value| (value % 256) as u8)
}

fn houses(x: u32, y: u32) -> [u8; 3] {
    let house = x / 40;
    let is_lit = x % 10 < 5 && y % 14 < 7 && !(x / 10 * 7 + y / 14 * 13).is_multiple_of(3);
    if y < 60 + house * house * 37 % 150 {
        [20, 20, 60]
    } else if is_lit {
        [250, 230, 120]
    } else {
        [50, 50, 60]
    }
}

fn flower(x: u32, y: u32) -> [u8; 3] {
    let (across, down) = (x as f32 - 200.0, y as f32 - 150.0);
    let petal = 80.0 + 45.0 * (6.0 * down.atan2(across)).cos();
    match across.hypot(down) {
        radius if radius < 35.0 => [240, 200, 40],
        radius if radius < petal => [210, 60, 140],
        _ => [40, 110, 60],
    }
}

fn chessboard(x: u32, y: u32) -> [u8; 3] {
    if ((x + y) / 40 + (x + 1_000 - y) / 40).is_multiple_of(2) {
        [235, 220, 190]
    } else {
        [60, 40, 30]
    }
}
