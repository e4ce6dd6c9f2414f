// What an election works on. There is one in a machine's memory.

#ifndef ELECTION_GRID_H
#define ELECTION_GRID_H

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

#endif
