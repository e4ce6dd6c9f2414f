// What is seen where most motions point: whole 8ths of a pixel, and nothing beyond an edge. All of a cell's places at
// once, in integers.
//
// Then all places lie alike between their pixels, 16ths past them. Nothing is rounded on the way to 256ths of a
// grey level, so that every way to compute them gives the same.

#ifndef ELECTION_SIXTEENTHS_H
#define ELECTION_SIXTEENTHS_H

#include "grid.h"

// A cell's first place along an axis, in 16ths of a pixel of the picture.
INLINE int32_t place_16ths(int32_t cell, int32_t displacement_8ths) {
    return 64 * cell + (fours == 1 ? 8 : 0) + displacement_8ths;
}

INLINE v128_t grey_levels(v128_t of_256) {
    v128_t odd = wasm_v128_and(wasm_u16x8_shr(of_256, 8), wasm_u16x8_splat(half_to_even));
    v128_t half = wasm_u16x8_splat((uint16_t)(128 - half_to_even));
    return wasm_u16x8_shr(wasm_i16x8_add(wasm_i16x8_add(of_256, half), odd), 8);
}

INLINE v128_t mixed_16ths(v128_t first, v128_t second, int32_t share) {
    return wasm_i16x8_add(wasm_i16x8_mul(first, wasm_i16x8_splat((int16_t)(16 - share))),
                          wasm_i16x8_mul(second, wasm_i16x8_splat((int16_t)share)));
}

// The first pixel of a cell's places, and how far past it they are.
typedef struct {
    const uint8_t *first;
    int32_t fx, fy;
} Together;

// 2 × 2 places, two pixels apart: the lower four of eight 16-bit numbers.
INLINE v128_t seen_2x2(Together at) {
    const uint8_t *first = at.first;
    v128_t pixels = wasm_v128_load32_zero(first);
    pixels = wasm_v128_load32_lane(first + 2 * width, pixels, 1);
    pixels = wasm_v128_load32_lane(first + width, pixels, 2);
    pixels = wasm_v128_load32_lane(first + 3 * width, pixels, 3);
    v128_t left = wasm_v128_and(pixels, wasm_i16x8_const_splat(255)), right = wasm_u16x8_shr(pixels, 8);
    v128_t mixed_rows = mixed_16ths(left, right, at.fx);
    return grey_levels(mixed_16ths(mixed_rows, wasm_i64x2_shuffle(mixed_rows, mixed_rows, 1, 0), at.fy));
}

// Four places in each of two rows.
INLINE v128_t across_two_rows(const uint8_t *first, int32_t fx) {
    v128_t pixels = wasm_v128_load64_lane(first + width, wasm_v128_load64_zero(first), 1);
    v128_t left = wasm_i8x16_swizzle(pixels, wasm_i8x16_const(0, -1, 1, -1, 2, -1, 3, -1, 8, -1, 9, -1, 10, -1, 11, -1));
    v128_t right = wasm_i8x16_swizzle(pixels, wasm_i8x16_const(1, -1, 2, -1, 3, -1, 4, -1, 9, -1, 10, -1, 11, -1, 12, -1));
    return mixed_16ths(left, right, fx);
}

// 4 × 4 places, a pixel apart: the upper two rows and the lower two.
typedef struct {
    v128_t upper, lower;
} Sixteen;

INLINE Sixteen seen_4x4(Together at) {
    v128_t a = across_two_rows(at.first, at.fx), b = across_two_rows(at.first + 2 * width, at.fx);
    v128_t c = across_two_rows(at.first + 4 * width, at.fx);
    Sixteen seen = {grey_levels(mixed_16ths(a, wasm_i64x2_shuffle(a, b, 1, 2), at.fy)),
                    grey_levels(mixed_16ths(b, wasm_i64x2_shuffle(b, c, 1, 2), at.fy))};
    return seen;
}

INLINE v128_t apart(v128_t seen, const uint8_t *mine) {
    v128_t own = wasm_u16x8_load8x8(mine);
    return wasm_i16x8_sub(wasm_u16x8_max(seen, own), wasm_u16x8_min(seen, own));
}

INLINE uint32_t difference_16ths(const uint8_t *mine, Together at) {
    v128_t sums;
    if (fours == 1) {
        sums = wasm_u32x4_extadd_pairwise_u16x8(apart(seen_2x2(at), mine));
    } else {
        Sixteen seen = seen_4x4(at);
        sums = wasm_u32x4_extadd_pairwise_u16x8(wasm_i16x8_add(apart(seen.upper, mine), apart(seen.lower, mine + 8)));
        sums = wasm_i32x4_add(sums, wasm_i64x2_shuffle(sums, sums, 1, 0));
    }
    return (uint32_t)(wasm_i32x4_extract_lane(sums, 0) + wasm_i32x4_extract_lane(sums, 1));
}

// 0 where a motion is none of these.
INLINE int32_t lie_together(Together *at, const uint8_t *picture, int32_t row, int32_t column, float dx, float dy) {
    dx *= 8.0f, dy *= 8.0f;
    int32_t whole_x = (int32_t)dx, whole_y = (int32_t)dy, reach = fours == 1 ? 3 : 4;
    if ((float)whole_x != dx || (float)whole_y != dy) return 0;
    int32_t x = place_16ths(column, whole_x), y = place_16ths(row, whole_y), left = x >> 4, top = y >> 4;
    if (left < 0 || top < 0 || left >= width - reach || top >= height - reach) return 0;
    at->first = picture + top * width + left, at->fx = x & 15, at->fy = y & 15;
    return 1;
}

#endif
