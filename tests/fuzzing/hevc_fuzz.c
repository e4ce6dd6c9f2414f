/* Damages NAL units of good streams and has the parser read them, natively, under sanitizers.
 *
 * hevc_fuzz SEED COUNT FILE...: each file holds NAL units, each behind its length (4 bytes, big-endian). Prints
 * how many units were damaged, how many units and pictures were read, and how much memory the sequences took. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_UNPOISON_MEMORY_REGION(start, size) ((void)0)
#endif

#include "hevc.h"

Decoder *hevc_create(void *memory, size_t size, int32_t keep_blocks);
void hevc_restart(Decoder *d);
uint8_t *hevc_input(Decoder *d, uint32_t size);
void hevc_start_packet(Decoder *d, uint32_t size, int32_t length_size);
int32_t hevc_next_picture(Decoder *d);
const Cell *hevc_cells(const Decoder *d);
const PictureInfo *hevc_picture(const Decoder *d);

enum { MOST_UNITS = 20000, MEMORY = 64 << 20, LONGEST = 1 << 20 };

typedef struct { const uint8_t *data; uint32_t size; int stream; } Unit;

static Unit units[MOST_UNITS];
static int unit_count, stream_first[256], stream_count;
static uint64_t random_state;
static uint8_t scratch[LONGEST + 16];

static uint32_t below(uint32_t bound) { /* xorshift64* */
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)((random_state * 2685821657736338717u) >> 33) % bound;
}

static void load(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) exit(2);
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    uint8_t *data = malloc((size_t)size);
    if (!data || fread(data, 1, (size_t)size, file) != (size_t)size) exit(2);
    fclose(file);
    stream_first[stream_count] = unit_count;
    for (long at = 0; at + 4 <= size && unit_count < MOST_UNITS;) {
        uint32_t length = (uint32_t)data[at] << 24 | (uint32_t)data[at + 1] << 16 | (uint32_t)data[at + 2] << 8 | data[at + 3];
        units[unit_count++] = (Unit){data + at + 4, length, stream_count};
        at += 4 + (long)length;
    }
    stream_first[++stream_count] = unit_count;
}

/* A unit, damaged in one of the ways that happen, or that somebody means to happen */
static uint32_t damage(const Unit *unit, uint8_t *out) {
    uint32_t size = unit->size < LONGEST / 2 ? unit->size : LONGEST / 2;
    memcpy(out, unit->data, size);
    if (size < 4) return size;
    switch (below(8)) {
    case 0: /* bits flip anywhere */
        for (uint32_t n = 1 + below(8); n; n--) out[below(size)] ^= (uint8_t)(1 << below(8));
        break;
    case 1: /* bits flip in the header */
        for (uint32_t n = 1 + below(4); n; n--) out[below(size < 24 ? size : 24)] ^= (uint8_t)(1 << below(8));
        break;
    case 2: /* the end is missing */
        size = 2 + below(size - 2);
        break;
    case 3: { /* another unit's end */
        const Unit *other = &units[below((uint32_t)unit_count)];
        uint32_t from = below(other->size), keep = below(size);
        uint32_t rest = other->size - from < LONGEST / 2 ? other->size - from : LONGEST / 2;
        memcpy(out + keep, other->data + from, rest);
        size = keep + rest;
        break;
    }
    case 4: { /* another unit altogether: parameter sets of other streams among them */
        const Unit *other = &units[below(2) ? below((uint32_t)unit_count) : stream_first[below((uint32_t)stream_count)] + below(3)];
        size = other->size < LONGEST / 2 ? other->size : LONGEST / 2;
        memcpy(out, other->data, size);
        break;
    }
    case 5: /* another type of unit */
        out[0] = (uint8_t)((out[0] & 0x81) | below(40) << 1);
        break;
    case 6: /* a run of one value */
        memset(out + below(size), below(2) ? 0xff : (int)below(256), 1 + below(size > 16 ? 16 : 1) % size);
        break;
    default: /* noise from some point on */
        for (uint32_t at = 2 + below(size - 2); at < size; at++) out[at] = (uint8_t)below(256);
    }
    return size;
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    random_state = strtoull(argv[1], 0, 10) * 2 + 1;
    long wanted = atol(argv[2]), damaged = 0, fed = 0, pictures = 0, cells = 0;
    size_t most = 0;
    for (int i = 3; i < argc && stream_count < 255; i++) load(argv[i]);
    uint8_t *memory = malloc(MEMORY);
    Decoder *d = 0;
    while (damaged < wanted) {
        if (!d || below(4)) {
            ASAN_UNPOISON_MEMORY_REGION(memory, MEMORY);
            d = hevc_create(memory, MEMORY, 0);
        }
        if (below(8) == 0) hevc_restart(d);
        uint32_t stream = below((uint32_t)stream_count);
        int first = stream_first[stream], last = stream_first[stream + 1];
        int until = first + 4 + (int)below(24);
        for (int i = first; i < last && i < until && damaged < wanted; i++) {
            uint32_t size = units[i].size;
            const uint8_t *data = units[i].data;
            if (below(3) == 0) {
                if (below(8) == 0) continue; /* lost */
                size = damage(&units[i], scratch);
                data = scratch;
                damaged++;
            }
            int lengths = below(3) > 0;
            uint8_t *input = hevc_input(d, size + 4);
            if (!input) continue;
            static const uint8_t start_code[4] = {0, 0, 0, 1};
            uint8_t length[4] = {(uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size};
            memcpy(input, lengths ? length : start_code, 4);
            memcpy(input + 4, data, size);
            hevc_start_packet(d, size + 4, lengths ? 4 : 0);
            fed++;
            while (hevc_next_picture(d)) {
                const PictureInfo *info = hevc_picture(d);
                const Cell *cell = hevc_cells(d);
                pictures++;
                for (int n = info->cells_across * info->cells_down; n > 0; n -= 7) cells += cell[n - 1].mode;
            }
            if (d->arena.used > most) most = d->arena.used;
        }
    }
    printf("damaged %ld, fed %ld, pictures %ld, memory %zu, sum %ld\n", damaged, fed, pictures, most, cells);
    free(memory);
    return 0;
}
