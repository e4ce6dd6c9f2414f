// Elections: which of several motions makes a cell match the frame shown before best.
//
// This does what NumpyMatch of match.py does with NumPy and OpenCV, to the last bit, in one pass over the cells.
// A cell is looked at in 4 or 16 places, four of them at a time.

#include <stdint.h>
#include <wasm_simd128.h>

enum { ARRAYS = 7, REMEMBERED = 4, MOST_EXTENT = 16384, MOST_CELLS = 4096 };
static const uint16_t NOT_JUDGED = 0xFFFF;
#define FAR 65536.0f
#define INLINE static inline __attribute__((always_inline))
#define APART static __attribute__((noinline))

// How OpenCV's remap reads bytes between pixels. Builds differ: version 4 counts places in 32nds of a pixel and
// rounds halves up; version 5 computes in floats, and multiplies and adds in one step where the processor can.
enum { IN_32NDS, IN_FLOATS, IN_FUSED_FLOATS };

static int32_t rows, columns, cells, fours, height, width, rounding;
static uint16_t half_to_even;
static uint8_t *picture_now, *picture_then, *offered_known, *taken, *samples;
static float *offered_x, *offered_y, *best_x, *best_y, *copy_x, *copy_y, *differences;
static float *places_x, *places_y;
static uint16_t *cost;
// The motions that were judged last in each cell, as many planes of x and as many of y. Those that are none are NaN,
// which is equal to nothing.
static float *judged_x, *judged_y;
static uint8_t *judged_count;

// The cells of a row whose motion is to be judged: where, which motion, and the sum of differences in brightness that
// was found.
static int32_t asked, asked_column[MOST_CELLS + 4];
static float asked_x[MOST_CELLS + 4], asked_y[MOST_CELLS + 4];
static uint32_t found[MOST_CELLS + 4];

extern uint8_t __heap_base;
static uintptr_t heap;

static void *take(uint32_t bytes) {
    void *at = (void *)heap;
    heap += (bytes + 15u) & ~15u;
    return at;
}

// Where a column's or a row's cells are looked at: four places for each of ``fours``, in pixels of the picture.
static void lay_places(float *x, float *y, int32_t side, float step) {
    for (int32_t column = 0; column < columns; column++)
        for (int32_t i = 0; i < 4; i++)
            *x++ = ((float)(column * side + i % side) + 0.5f) * step - 0.5f;
    for (int32_t row = 0; row < rows; row++)
        for (int32_t i = 0; i < 4 * fours; i++)
            *y++ = ((float)(row * side + i / side) + 0.5f) * step - 0.5f;
}

// Lays out the memory for a grid of cells, each looked at in side × side places (2 or 4) of a picture of
// height × width in which it is step_cells wide. 0 where that does not fit.
int32_t election_create(int32_t grid_rows, int32_t grid_columns, int32_t side, int32_t step_cells,
                        int32_t picture_height, int32_t picture_width, int32_t opencv_rounding) {
    if (grid_rows < 1 || grid_columns < 1 || grid_rows > MOST_CELLS || grid_columns > MOST_CELLS) return 0;
    if (picture_height < 1 || picture_width < 1) return 0;
    if (picture_height > MOST_EXTENT || picture_width > MOST_EXTENT || (side != 2 && side != 4)) return 0;
    rows = grid_rows, columns = grid_columns, fours = side * side / 4;
    height = picture_height, width = picture_width;
    cells = rows * columns, rounding = opencv_rounding, half_to_even = rounding != IN_32NDS;
    uint64_t area = (uint64_t)height * (uint64_t)width;
    uint64_t per_cell = (7 + 2 * REMEMBERED) * sizeof(float) + 3 + sizeof(uint16_t) + 4u * (uint32_t)fours;
    uint64_t edges = 4u * sizeof(float) * (uint32_t)rows;
    uint64_t places = sizeof(float) * 4u * (uint32_t)(columns + rows * fours);
    heap = ((uintptr_t)&__heap_base + 15u) & ~(uintptr_t)15u;
    uint64_t needed = 2 * area + per_cell * (uint64_t)cells + edges + places + 4096;
    if (heap + needed > (uint64_t)__builtin_wasm_memory_size(0) << 16) return 0;
    uint32_t plane = (uint32_t)cells * sizeof(float);
    picture_now = take((uint32_t)area);
    picture_then = take((uint32_t)area + 16);
    offered_x = take(2 * plane), offered_y = offered_x + cells;
    offered_known = take((uint32_t)cells);
    best_x = take(2 * plane), best_y = best_x + cells;
    copy_x = take(2 * plane + 4 * (uint32_t)rows * sizeof(float)), copy_y = copy_x + rows * (columns + 2);
    taken = take((uint32_t)cells);
    differences = take(plane);
    cost = take((uint32_t)cells * sizeof(uint16_t));
    judged_x = take(2 * REMEMBERED * plane), judged_y = judged_x + REMEMBERED * cells;
    judged_count = take((uint32_t)cells);
    samples = take((uint32_t)(cells * fours * 4) + 16);
    places_x = take((uint32_t)(columns * 4) * sizeof(float));
    places_y = take((uint32_t)(rows * fours * 4) * sizeof(float));
    lay_places(places_x, places_y, side, (float)step_cells / (float)side);
    return 1;
}

// Where an array begins. A motion is two planes, x and then y, in pixels of the frame.
const void *election_array(int32_t number) {
    const void *arrays[ARRAYS] = {picture_now, picture_then, offered_x, offered_known, best_x, taken, differences};
    return number >= 0 && number < ARRAYS ? arrays[number] : 0;
}

// ---- Any motion: four places at a time, in floats ----

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

// ---- Most motions: whole 8ths of a pixel, and nothing beyond an edge; all of a cell's places in integers ----
//
// Then all places lie alike between their pixels, 16ths past them. Nothing is rounded on the way to 256ths of a
// grey level, so that every way to compute them gives the same.

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

// Finds the differences of the cells that are asked for.
APART void judge(int32_t row) {
    for (int32_t i = 0; i < asked; i++) {
        int32_t column = asked_column[i];
        Together at;
        if (lie_together(&at, picture_then, row, column, asked_x[i], asked_y[i]))
            found[i] = difference_16ths(samples + (row * columns + column) * fours * 4, at);
        else
            found[i] = difference_anywhere(row, column, asked_x[i], asked_y[i]);
    }
}

INLINE v128_t to_bytes(v128_t numbers) { return wasm_u8x16_narrow_i16x8(numbers, numbers); }

// What the frame itself looks like in a cell.
INLINE void sample(int32_t row, int32_t column) {
    uint8_t *mine = samples + (row * columns + column) * fours * 4;
    Together at;
    if (!lie_together(&at, picture_now, row, column, 0.0f, 0.0f)) {
        for (int32_t four = 0; four < fours; four++, mine += 4) {
            v128_t seen = whole_numbers(seen_anywhere(picture_now, row, column, four, 0.0f, 0.0f));
            wasm_v128_store32_lane(mine, to_bytes(wasm_u16x8_narrow_i32x4(seen, seen)), 0);
        }
    } else if (fours == 1) {
        wasm_v128_store32_lane(mine, to_bytes(seen_2x2(at)), 0);
    } else {
        Sixteen seen = seen_4x4(at);
        wasm_v128_store(mine, wasm_u8x16_narrow_i16x8(seen.upper, seen.lower));
    }
}

// Asks for a cell, or leaves what the next one overwrites.
INLINE void ask(int32_t column, float x, float y, int32_t wanted) {
    asked_column[asked] = column, asked_x[asked] = x, asked_y[asked] = y;
    asked += wanted;
}

INLINE void remember(int32_t cell, float x, float y) {
    int32_t at = (judged_count[cell]++ % REMEMBERED) * cells + cell;
    judged_x[at] = x, judged_y[at] = y;
}

INLINE v128_t are_equal(const float *x, const float *y, v128_t to_x, v128_t to_y) {
    return wasm_v128_and(wasm_f32x4_eq(wasm_v128_load(x), to_x), wasm_f32x4_eq(wasm_v128_load(y), to_y));
}

// Which of four cells are to judge a motion: not those where it is the best, or was judged before. Then it cannot be
// better than the best.
INLINE v128_t are_new(int32_t cell, v128_t x, v128_t y) {
    v128_t old = are_equal(best_x + cell, best_y + cell, x, y);
    for (int32_t i = 0; i < REMEMBERED; i++)
        old = wasm_v128_or(old, are_equal(judged_x + i * cells + cell, judged_y + i * cells + cell, x, y));
    v128_t costs = wasm_u32x4_load16x4(cost + cell);
    return wasm_v128_or(wasm_v128_not(old), wasm_i32x4_eq(costs, wasm_i32x4_const_splat(NOT_JUDGED)));
}

// Begins with two new pictures: nothing moves, and nothing is judged.
void election_begin(void) {
    for (int32_t row = 0, cell = 0; row < rows; row++) {
        for (int32_t column = 0; column < columns; column++, cell++) {
            sample(row, column);
            best_x[cell] = best_y[cell] = 0.0f;
            cost[cell] = NOT_JUDGED;
            judged_count[cell] = 0;
        }
    }
    for (int32_t i = 0; i < 2 * REMEMBERED * cells; i++) judged_x[i] = __builtin_nanf("");
}

// The cells of a row take the motions they were asked for where those are better.
INLINE void elect(int32_t row) {
    judge(row);
    for (int32_t i = 0; i < asked; i++) {
        int32_t cell = row * columns + asked_column[i];
        remember(cell, asked_x[i], asked_y[i]);
        if (found[i] >= cost[cell]) continue;
        cost[cell] = (uint16_t)found[i];
        best_x[cell] = asked_x[i], best_y[cell] = asked_y[i];
        taken[cell] = 1;
    }
    asked = 0;
}

// Offers motions to a row of cells, or to those that are known.
INLINE void offer_row(int32_t row, const float *x, const float *y, const uint8_t *known) {
    for (int32_t column = 0; column < columns; column += 4) {
        int32_t cell = row * columns + column, left = columns - column;
        v128_t wanted = are_new(cell, wasm_v128_load(x + column), wasm_v128_load(y + column));
        uint32_t bits = wasm_i32x4_bitmask(wanted) & (left < 4 ? (1u << left) - 1 : 15u);
        for (int32_t i = 0; i < 4; i++) {
            int32_t it_is = bits >> i & 1;
            if (known) it_is &= i < left && known[column + i];
            ask(column + i, x[column + i], y[column + i], it_is);
        }
    }
    elect(row);
}

// Takes the offered motion where it matches better than the best so far, and says where. masked: only where it is
// known.
void election_offer(int32_t masked) {
    for (int32_t cell = 0; cell < cells; cell++) taken[cell] = 0;
    for (int32_t row = 0; row < rows; row++) {
        int32_t first = row * columns;
        offer_row(row, offered_x + first, offered_y + first, masked ? offered_known + first : 0);
    }
}

// Replaces every cell's motion by the offered one, and judges it anew.
void election_restart(void) {
    for (int32_t row = 0, cell = 0; row < rows; row++) {
        for (int32_t column = 0; column < columns; column++, cell++) {
            float x = offered_x[cell], y = offered_y[cell];
            int32_t other = cost[cell] == NOT_JUDGED || x != best_x[cell] || y != best_y[cell];
            if (other) {
                cost[cell] = NOT_JUDGED;
                for (int32_t i = 0; i < REMEMBERED; i++) judged_x[i * cells + cell] = __builtin_nanf("");
            }
            ask(column, x, y, other);
        }
        elect(row);
    }
}

// A plane with one more column at each side: the grid's edges meet.
INLINE void copy_around(const float *from, float *to) {
    for (int32_t row = 0; row < rows; row++, from += columns, to += columns + 2) {
        to[0] = from[columns - 1], to[columns + 1] = from[0];
        __builtin_memcpy(to + 1, from, (uint32_t)columns * sizeof(float));
    }
}

// Offers each cell the motion of a neighbour, so many rows and columns before it.
static void offer_neighbour(int32_t mixed_rowsbefore, int32_t columns_before) {
    copy_around(best_x, copy_x), copy_around(best_y, copy_y);
    for (int32_t row = 0; row < rows; row++) {
        int32_t other = row - mixed_rowsbefore;
        other = other < 0 ? rows - 1 : other == rows ? 0 : other;
        int32_t first = other * (columns + 2) + 1 - columns_before;
        offer_row(row, copy_x + first, copy_y + first, 0);
    }
}

// Offers each cell the motions of the eight around it, one after the other, as match.py does.
void election_neighbours(void) {
    static const int8_t around[8][2] = {{0, 1}, {0, -1}, {1, 0}, {-1, 0}, {1, 1}, {1, -1}, {-1, 1}, {-1, -1}};
    for (int32_t i = 0; i < 8; i++) offer_neighbour(around[i][0], around[i][1]);
}

// The mean difference in brightness of every cell to where the offered motion points.
void election_differences(void) {
    float each = 0.25f / (float)fours;
    for (int32_t row = 0, cell = 0; row < rows; row++) {
        for (int32_t column = 0; column < columns; column++)
            ask(column, offered_x[cell + column], offered_y[cell + column], 1);
        judge(row);
        for (asked = 0; asked < columns; asked++) differences[cell++] = (float)found[asked] * each;
        asked = 0;
    }
}

// The brightness of the picture before at the offered places themselves, one a cell: to find out how OpenCV rounds.
void election_look(void) {
    for (int32_t cell = 0; cell < cells; cell++) {
        Places x = places_at(wasm_f32x4_splat(offered_x[cell])), y = places_at(wasm_f32x4_splat(offered_y[cell]));
        differences[cell] = wasm_f32x4_extract_lane(looked_at(picture_then, x, y), 0);
    }
}
