#!/usr/bin/env python3
"""Prints the table of tests/it/pdq_vectors.rs.

Needs `pip install pdqhash numpy`. The pictures are drawn by the arithmetic of the Rust file, in
32-bit unsigned integers that wrap around.
"""

import numpy
import pdqhash

SHAPES = {
    "Mosaic": [(640, 480), (512, 512), (1024, 768), (333, 777)],
    "NoisyMosaic": [(640, 480), (200, 150), (2100, 300)],
    "Faint": [(640, 480), (320, 200)],
    "Noise": [(64, 64), (100, 37)],
    "Discs": [(640, 480), (768, 1024), (128, 128)],
}


def random_byte(x, y, channel):
    value = (x * numpy.uint32(73856093)) ^ (y * numpy.uint32(19349663))
    value = value ^ numpy.uint32(channel * 83492791 & 0xFFFFFFFF)
    value = value ^ (value >> numpy.uint32(16))
    value = value * numpy.uint32(0x85EBCA6B)
    value = value ^ (value >> numpy.uint32(13))
    value = value * numpy.uint32(0xC2B2AE35)
    value = value ^ (value >> numpy.uint32(16))
    return value >> numpy.uint32(24)


def draw(pattern, width, height):
    y, x = numpy.mgrid[0:height, 0:width].astype(numpy.uint32)
    channels = []
    for channel in range(3):
        square = random_byte(x // 16, y // 16, channel)
        if pattern == "Mosaic":
            channels.append(square)
        elif pattern == "NoisyMosaic":
            channels.append((3 * square + random_byte(x, y, channel + 3)) // 4)
        elif pattern == "Faint":
            channels.append(112 + random_byte(x // 7, y // 9, channel) // 24)
        elif pattern == "Noise":
            channels.append(random_byte(x, y, channel))
        else:
            column, row = x * 5 // width, y * 5 // height
            dx = x.astype(int) - ((2 * column + 1) * width // 10).astype(int)
            dy = y.astype(int) - ((2 * row + 1) * height // 10).astype(int)
            radius = min(width, height) // 10
            disc = dx * dx + dy * dy <= radius * radius
            channels.append(numpy.where(disc, random_byte(column, row, channel), x * 255 // width))
    return numpy.ascontiguousarray(numpy.stack(channels, axis=-1).astype(numpy.uint8))


def main():
    for pattern, shapes in SHAPES.items():
        for width, height in shapes:
            bits, quality = pdqhash.compute(draw(pattern, width, height))
            digits = numpy.packbits(bits.astype(numpy.uint8)).tobytes().hex()
            print(f'    (Pattern::{pattern}, {width}, {height}, "{digits}", {quality}),')


if __name__ == "__main__":
    main()
