// Elections: which of several motions makes a cell match the frame shown before best.
//
// This does what NumpyMatch of match.py does with NumPy and OpenCV, to the last bit, in one pass over the cells.
// A cell is looked at in 4 or 16 places, four of them at a time.

#include "floats.h"
#include "grid.h"
#include "sixteenths.h"

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
