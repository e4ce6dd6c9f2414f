// What is seen where any motion points: four places at a time, in floats.

#ifndef ELECTION_FLOATS_H
#define ELECTION_FLOATS_H

#include "grid.h"

// Four places along an axis: the pixels before them, and how far past those they are.
typedef struct {
    v128_t pixel, fraction;
} Places;

// Whole floats of less than 2^22 → integers. Added to 1.5 · 2^23 they are the lowest bits, which is quicker than a
// conversion that minds all other floats.
INLINE v128_t whole_numbers(v128_t whole) {
    v128_t large = wasm_f32x4_const_splat(12582912.0f);
    return wasm_i32x4_sub(wasm_f32x4_add(whole, large), large);
}

INLINE Places places_at(v128_t at) {
    Places places;
    // Far outside the picture is as far as further outside.
    at = wasm_f32x4_pmin(wasm_f32x4_pmax(at, wasm_f32x4_const_splat(-FAR)), wasm_f32x4_const_splat(FAR));
    if (rounding == IN_32NDS) {
        at = wasm_f32x4_nearest(wasm_f32x4_mul(at, wasm_f32x4_const_splat(32)));
        at = wasm_f32x4_mul(at, wasm_f32x4_const_splat(1.0f / 32));
    }
    v128_t whole = wasm_f32x4_floor(at);
    places.fraction = wasm_f32x4_sub(at, whole);
    places.pixel = whole_numbers(whole);
    return places;
}

INLINE v128_t mixed(v128_t first, v128_t second, v128_t share) {
    return wasm_f32x4_add(wasm_f32x4_mul(share, wasm_f32x4_sub(second, first)), first);
}

INLINE float fused(float share, float apart, float first) {
    // Exact in a double, so that only the result is rounded.
    return (float)((double)share * (double)apart + (double)first);
}

INLINE float mixed_fused(float a, float b, float c, float d, float x, float y) {
    float upper = fused(x, b - a, a), lower = fused(x, d - c, c);
    return fused(y, lower - upper, upper);
}

APART v128_t mixed_fused_each(v128_t a, v128_t b, v128_t c, v128_t d, v128_t x, v128_t y) {
#define LANE(i)                                                                                                  \
    mixed_fused(wasm_f32x4_extract_lane(a, i), wasm_f32x4_extract_lane(b, i), wasm_f32x4_extract_lane(c, i),     \
                wasm_f32x4_extract_lane(d, i), wasm_f32x4_extract_lane(x, i), wasm_f32x4_extract_lane(y, i))
    return wasm_f32x4_make(LANE(0), LANE(1), LANE(2), LANE(3));
}

// What is seen between four pixels, in whole grey levels.
INLINE v128_t rounded(v128_t a, v128_t b, v128_t c, v128_t d, v128_t x, v128_t y) {
    v128_t both = mixed(mixed(a, b, x), mixed(c, d, x), y);
    if (rounding == IN_32NDS) return wasm_f32x4_floor(wasm_f32x4_add(both, wasm_f32x4_const_splat(0.5f)));
    v128_t whole = wasm_f32x4_nearest(both);
    if (rounding == IN_FLOATS) return whole;
    // Floats that are rounded once too often are another whole number only where they are next to a half.
    v128_t off = wasm_f32x4_abs(wasm_f32x4_sub(both, whole));
    if (wasm_v128_any_true(wasm_f32x4_gt(off, wasm_f32x4_const_splat(0.499f))))
        whole = wasm_f32x4_nearest(mixed_fused_each(a, b, c, d, x, y));
    return whole;
}

INLINE v128_t floats(v128_t words) { return wasm_f32x4_convert_i32x4(words); }

INLINE v128_t within(v128_t at, int32_t extent) {
    return wasm_i32x4_min(wasm_i32x4_max(at, wasm_i32x4_const_splat(0)), wasm_i32x4_splat(extent - 1));
}

INLINE v128_t bytes_at(const uint8_t *picture, v128_t row, v128_t column) {
    v128_t at = wasm_i32x4_add(wasm_i32x4_mul(row, wasm_i32x4_splat(width)), column);
    return floats(wasm_i32x4_make(picture[wasm_i32x4_extract_lane(at, 0)], picture[wasm_i32x4_extract_lane(at, 1)],
                                  picture[wasm_i32x4_extract_lane(at, 2)], picture[wasm_i32x4_extract_lane(at, 3)]));
}

// Brightness at four places. Beyond an edge the picture goes on as it is there.
APART v128_t looked_at(const uint8_t *picture, Places x, Places y) {
    v128_t one = wasm_i32x4_const_splat(1);
    v128_t left = within(x.pixel, width), right = within(wasm_i32x4_add(x.pixel, one), width);
    v128_t top = within(y.pixel, height), bottom = within(wasm_i32x4_add(y.pixel, one), height);
    return rounded(bytes_at(picture, top, left), bytes_at(picture, top, right), bytes_at(picture, bottom, left),
                   bytes_at(picture, bottom, right), x.fraction, y.fraction);
}

// Whether four places lie a fixed number of pixels apart, and their neighbours before an edge.
INLINE int32_t lie_so(v128_t pixel, v128_t steps, int32_t extent) {
    int32_t first = wasm_i32x4_extract_lane(pixel, 0), last = wasm_i32x4_extract_lane(pixel, 3);
    v128_t so = wasm_i32x4_eq(pixel, wasm_i32x4_add(wasm_i32x4_splat(first), steps));
    return first >= 0 && last < extent - 1 && wasm_i32x4_all_true(so);
}

#define SPREAD(pixels, a, b, c, d)                                                                               \
    floats(wasm_i8x16_swizzle(pixels, wasm_i8x16_const(a, -1, -1, -1, b, -1, -1, -1, c, -1, -1, -1, d, -1, -1, -1)))

// The same as looked_at, with few reads, for a cell's four places as they lie mostly.
INLINE v128_t looked_at_together(const uint8_t *picture, Places x, Places y) {
    const uint8_t *first = picture + wasm_i32x4_extract_lane(y.pixel, 0) * width + wasm_i32x4_extract_lane(x.pixel, 0);
    if (fours == 1) {
        if (!lie_so(x.pixel, wasm_i32x4_const(0, 2, 0, 2), width) ||
            !lie_so(y.pixel, wasm_i32x4_const(0, 0, 2, 2), height))
            return looked_at(picture, x, y);
        v128_t pixels = wasm_v128_load32_zero(first);
        pixels = wasm_v128_load32_lane(first + 2 * width, pixels, 1);
        pixels = wasm_v128_load32_lane(first + width, pixels, 2);
        pixels = wasm_v128_load32_lane(first + 3 * width, pixels, 3);
        return rounded(SPREAD(pixels, 0, 2, 4, 6), SPREAD(pixels, 1, 3, 5, 7), SPREAD(pixels, 8, 10, 12, 14),
                       SPREAD(pixels, 9, 11, 13, 15), x.fraction, y.fraction);
    }
    if (!lie_so(x.pixel, wasm_i32x4_const(0, 1, 2, 3), width) || !lie_so(y.pixel, wasm_i32x4_const(0, 0, 0, 0), height))
        return looked_at(picture, x, y);
    v128_t pixels = wasm_v128_load64_lane(first + width, wasm_v128_load64_zero(first), 1);
    return rounded(SPREAD(pixels, 0, 1, 2, 3), SPREAD(pixels, 1, 2, 3, 4), SPREAD(pixels, 8, 9, 10, 11),
                   SPREAD(pixels, 9, 10, 11, 12), x.fraction, y.fraction);
}

// Four of a cell's places, moved by a motion.
INLINE v128_t seen_anywhere(const uint8_t *picture, int32_t row, int32_t column, int32_t four, float dx, float dy) {
    v128_t x = wasm_f32x4_add(wasm_v128_load(places_x + 4 * column), wasm_f32x4_splat(dx * 0.5f));
    v128_t y = wasm_f32x4_add(wasm_v128_load(places_y + 4 * (row * fours + four)), wasm_f32x4_splat(dy * 0.5f));
    return looked_at_together(picture, places_at(x), places_at(y));
}

APART uint32_t difference_anywhere(int32_t row, int32_t column, float dx, float dy) {
    const uint8_t *mine = samples + (row * columns + column) * fours * 4;
    uint32_t sum = 0;
    for (int32_t four = 0; four < fours; four++, mine += 4) {
        v128_t own = wasm_u16x8_extend_low_u8x16(wasm_v128_load32_zero(mine));
        v128_t seen = seen_anywhere(picture_then, row, column, four, dx, dy);
        v128_t apart = wasm_f32x4_abs(wasm_f32x4_sub(seen, floats(wasm_u32x4_extend_low_u16x8(own))));
        apart = wasm_f32x4_add(apart, wasm_i32x4_shuffle(apart, apart, 2, 3, 0, 1));
        apart = whole_numbers(wasm_f32x4_add(apart, wasm_i32x4_shuffle(apart, apart, 1, 0, 3, 2)));
        sum += (uint32_t)wasm_i32x4_extract_lane(apart, 0);
    }
    return sum;
}

#endif
